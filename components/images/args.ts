import type * as dockerBuild from "@pulumi/docker-build";
import type * as pulumi from "@pulumi/pulumi";
import type { Duration } from "../../core/duration";
import type { Severity } from "../../core/verdict";
import type { AttestationArgs } from "../../resources/attestation";
import type { BuildxBuilderArgs } from "../../resources/buildx-builder";
import type { GitTagsResourceArgs } from "../../resources/git-tags";
import type { ArchiveFormat, ImageArchiveArgs } from "../../resources/image-archive";
import type { ImageIndexArgs } from "../../resources/image-index";
import type { PlatformTestArgs } from "../../resources/platform-test";
import type { RegistryCheckArgs } from "../../resources/registry-check";
import type { RegistryLoginArgs } from "../../resources/registry-login";
import type { SbomArgs } from "../../resources/sbom";
import type { SignatureArgs } from "../../resources/signature";
import type { TagPromotionArgs } from "../../resources/tag-promotion";
import type { VerificationArgs } from "../../resources/verification";
import type { VulnerabilityScanArgs } from "../../resources/vulnerability-scan";
import type { Fleet } from "../builders/fleet";
import type { Repository } from "../registry/repository";
import type { Transform } from "../transform";
import type { CacheSourceArgs, CacheTargetArgs } from "./cache-args";
import type { GitTagsArgs } from "./git-tags-args";

/** A Dockerfile given as text. */
export interface InlineDockerfile {
    inline: pulumi.Input<string>;
}

/** An SSH agent, or keys, for `RUN --mount=type=ssh`. */
export interface SshAgent {
    /** `default`, or the id the Dockerfile names. */
    id: string;
    /** Sockets or keys; default the agent of `SSH_AUTH_SOCK`. */
    paths?: string[];
}

/** What each platform's image must do on its own node before it is released. */
export interface TestArgs {
    /** The program and its arguments, run without a shell; exit code 0 passes. */
    command: string[];
    /** Where it runs; default all platforms. */
    platforms?: string[];
    /** Default `5 minutes`. */
    timeout?: Duration;
}

/** The list of packages attested to each platform's image. */
export interface BillOfMaterialsArgs {
    /** Default `spdx-json`, and nothing else yet. */
    format?: "spdx-json";
}

/** A decision to live with a finding for a while. */
export interface IgnoreArgs {
    /** `CVE-2026-0001` */
    id: string;
    /** Only in this package; default in all. */
    package?: string;
    reason: string;
    /** Last day (UTC) on which it holds: `2026-12-31`. After it, `up` refuses until it is renewed or removed. */
    until: string;
}

/** The scanner's public database. */
export interface ScanDatabaseArgs {
    /** An older one refuses; default `5 days`. */
    maxAge?: Duration;
}

/** What the scan of each platform refuses. */
export interface ScanArgs {
    /**
     * Default `grype`. `ecr` is ECR's own scan, for repositories there: it tells neither packages nor, when it is basic, fixes, so
     * `noPackages` and `unfixed` stay at `fail`. An image that it can't read is refused.
     */
    scanner?: "grype" | "trivy" | "ecr";
    /** Findings of this severity and worse refuse; default `high`. */
    failOn?: Severity | "none";
    ignore?: IgnoreArgs[];
    /** What a finding without a fix does; default `fail`. */
    unfixed?: "fail" | "ignore";
    /** What an image in which no package was found does; default `fail`. */
    noPackages?: "fail" | "allow";
    /** Folder of the organization's own advisories, scanned against in place of the public database. */
    advisories?: string;
    /** `offline`: the advisories are used only where the public database can't be reached; default `always`. */
    advisoriesUse?: "always" | "offline";
    database?: ScanDatabaseArgs;
}

/** A cosign key pair; the private half is encrypted with the password. Both are secrets. */
export interface KeyPairArgs {
    privateKey: pulumi.Input<string>;
    password: pulumi.Input<string>;
    /** PEM. What the signatures are verified with before a tag moves. */
    publicKey: pulumi.Input<string>;
}

/** An OIDC identity signs, with a certificate of Fulcio's; needs sigstore's public services. */
export interface KeylessArgs {
    /** Who signs, as the certificate names them. */
    identity: string;
    /** The issuer of the identity's token. */
    issuer: string;
    /** Where the token comes from; default found out. */
    provider?: "github-actions" | "google" | "spiffe" | "filesystem" | "buildkite-agent" | "envvar";
}

/** The released image as a file or folder on the machine that runs Pulumi. */
export interface ExportArgs {
    /**
     * - `docker`: a tar for `docker load`.
     * - `oci`: a tar of an OCI image layout; `oci-folder` the layout as a folder.
     * - `tar`: the root file system as a tar; `local` the same as a folder, owned by who runs Pulumi.
     */
    format: ArchiveFormat;
    /** Relative to the stack's program. It must be free, or hold the very same. */
    path: string;
    /** Needed where several are built, but for `oci` and `oci-folder`, which have all by default. */
    platform?: string;
    /** Under which `docker load` has it; default the repository with the version, or the first of the tags. */
    name?: string;
}

/** What was written for one of the `exports`. */
export interface ImageExport {
    format: ArchiveFormat;
    /** As it was given. */
    path: pulumi.Output<string>;
    /** Of the file; of a folder, that of a listing with path, permissions and digest of each file. */
    digest: pulumi.Output<string>;
    /** Bytes, of all files. */
    size: pulumi.Output<number>;
}

/** Exactly one of them. */
export interface SignArgs {
    /**
     * A key in a KMS (`awskms:///alias/images`, `gcpkms://`, `azurekms://`, `hashivault://`), which may be an output (an
     * `ImageSigningKey`'s), or a key pair.
     */
    key?: pulumi.Input<string> | KeyPairArgs;
    keyless?: KeylessArgs;
}

/** Last word on a child's arguments; the second argument is the child's name. */
export interface ImageTransform {
    /** Only where the arguments have `gitTags`. */
    git?: Transform<GitTagsResourceArgs>;
    builder?: Transform<BuildxBuilderArgs>;
    /** Only where the repository's `connection` has `ecr`. */
    login?: Transform<RegistryLoginArgs>;
    /** Only where the repository has `check`, as a `RegistryConnection`'s has. */
    registry?: Transform<RegistryCheckArgs>;
    image?: Transform<dockerBuild.ImageArgs>;
    index?: Transform<ImageIndexArgs>;
    test?: Transform<PlatformTestArgs>;
    sbom?: Transform<SbomArgs>;
    scan?: Transform<VulnerabilityScanArgs>;
    attestation?: Transform<AttestationArgs>;
    signature?: Transform<SignatureArgs>;
    verification?: Transform<VerificationArgs>;
    promotion?: Transform<TagPromotionArgs>;
    /** The second argument is made of the path. */
    export?: Transform<ImageArchiveArgs>;
}

export interface MultiPlatformImageArgs {
    /** The machines. */
    fleet: Fleet;
    /** Where it is released: a `Repository`, or `registry/path` alone. */
    repository: pulumi.Input<string> | Repository;
    /** `linux/amd64`, `linux/arm64`, …; the order is the index's. */
    platforms: string[];
    /** Folder, relative to the stack's program, or a Git or HTTPS address. */
    context: pulumi.Input<string>;
    /** Further contexts by name (`FROM name`, `COPY --from=name`): paths, addresses, `docker-image://…`. */
    contexts?: Record<string, pulumi.Input<string>>;
    /** Path, relative to the stack's program, or text; default `Dockerfile` in the context. */
    dockerfile?: pulumi.Input<string> | InlineDockerfile;
    /** Stage; default the last. */
    target?: pulumi.Input<string>;
    /** Never secrets: they stay readable in the image's history. */
    buildArgs?: Record<string, pulumi.Input<string>>;
    /** For `RUN --mount=type=secret,id=…`; they reach the build through the environment, and no layer. */
    secrets?: Record<string, pulumi.Input<string>>;
    ssh?: SshAgent[];
    /** Of the images' configuration. */
    labels?: Record<string, pulumi.Input<string>>;
    /** Of the index and of each platform's manifest. */
    annotations?: Record<string, pulumi.Input<string>>;
    /** `name:address` */
    addHosts?: pulumi.Input<string>[];
    /** Network of RUN steps; default `default`, what the node gives. */
    network?: "default" | "none" | "host";
    /** Default false. */
    noCache?: boolean;
    /** Look up every base image again; rebuilds on every `up`. Default false. */
    pull?: boolean;
    cacheFrom?: CacheSourceArgs[];
    cacheTo?: CacheTargetArgs[];
    /** SemVer: `1.4.2` is tagged `1.4.2`, `1.4`, `1` and `latest`, each only where nothing higher is released. */
    version?: string;
    /** Further tags. */
    tags?: string[];
    /** Tags that may be set once and never moved. */
    immutableTags?: string[];
    /**
     * The same by kind: every full version's tag (`1.4.2`, `2.0.0-rc.1`), every commit's (`sha-0123456789ab`). Default none.
     */
    immutable?: ("versions" | "commits")[];
    /** Tags from the Git work tree that is built from; default none. */
    gitTags?: GitTagsArgs;
    /** Whether a node of another architecture may emulate a platform; default `refuse`. */
    emulation?: "refuse" | "allow";
    /**
     * After which a platform's build has failed; default `2 hours`. A node whose network is gone may say nothing at all: its
     * client would wait for as long as the operating system does, over SSH for ever.
     */
    buildTimeout?: Duration;
    /**
     * Default: what the image starts with must be an executable of the platform's architecture. A command is run in
     * addition. `false` switches both off.
     */
    test?: TestArgs | false;
    /** Default: SPDX, attested to each platform's image. */
    sbom?: BillOfMaterialsArgs | false;
    /** Default: grype, public database, refuses from `high` on. */
    scan?: ScanArgs | false;
    /** Default none. They are written when every gate has passed. */
    exports?: ExportArgs[];
    /** Who signs. `false` releases without a signature, and has to be written. */
    sign: SignArgs | false;
    /** Git commit of the source, for the provenance. */
    revision?: string;
    transform?: ImageTransform;
}
