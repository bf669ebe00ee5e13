import * as pulumi from "@pulumi/pulumi";
import type { Severity } from "../../core/verdict";
import type { PlatformImage } from "../../resources/image-index/operations";
import type { ImageExport, MultiPlatformImageArgs } from "./args";
import { type BuiltPlatform, buildPlatforms, createIndex } from "./build";
import { createExports } from "./exports";
import { createGates, type Gates } from "./gates";
import { release } from "./release";
import { resolveSettings } from "./resolve";
import { withGitTags } from "./tags";

/** What was found in one platform's image. */
export interface PlatformVulnerabilities {
    counts: Record<Severity, number>;
    /** -1 where the scanner does not say (ECR). */
    packages: number;
    /** `grype 0.120.1` */
    scannedBy: string;
    /** `public` or `advisories`. */
    source: string;
    /** Number of the organization's own advisories it was scanned against; 0 for the public database. */
    advisories: number;
}

/** The bill of materials of one platform's image. */
export interface PlatformSbom {
    /** Of the SPDX document, which is attested to the image. */
    digest: string;
    packages: number;
}

/** What whoever pulls the image needs to verify it. */
export interface ImageSignature {
    /** PEM; empty where an identity signed without a key of its own. */
    publicKey: string;
    /** The digests that are signed: the index, then its children. */
    digests: string[];
}

/**
 * An image for several platforms, each built on a machine of its own architecture, released as one index, and only
 * when every platform has passed its test and its scan and everything is signed, attested and verified. Until then no
 * tag points at it, and a failure leaves every tag where it was.
 *
 * ```ts
 * const image = new MultiPlatformImage("app", {
 *     fleet,
 *     repository: registry.repository("app"),
 *     context: "../service",
 *     platforms: ["linux/amd64", "linux/arm64"],
 *     version: "1.4.2",
 *     sign: { key: "awskms:///alias/images" },
 * });
 * export const ref = image.ref;
 * ```
 *
 * @throws SettingsError with every problem of the arguments at once, before anything is declared.
 */
export class MultiPlatformImage extends pulumi.ComponentResource {
    /** `repository@sha256:…`, known only once every gate has passed. */
    readonly ref: pulumi.Output<string>;
    /** Of the index. */
    readonly digest: pulumi.Output<string>;
    /** The tags that point at it. */
    readonly tags: pulumi.Output<string[]>;
    /** Per platform: digest, size (bytes), node, emulated, build duration (ms). */
    readonly platforms: pulumi.Output<Record<string, PlatformImage>>;
    /** Per platform; empty when `scan` is false. */
    readonly vulnerabilities: pulumi.Output<Record<string, PlatformVulnerabilities>>;
    /** Per platform; empty when no bill of materials was made. */
    readonly sbom: pulumi.Output<Record<string, PlatformSbom>>;
    /** Of what was written for `exports`, in their order: path, digest, size (bytes). */
    readonly exports: pulumi.Output<pulumi.Unwrap<ImageExport>[]>;
    /** Absent when `sign` is false. */
    readonly signature: pulumi.Output<ImageSignature | undefined>;

    constructor(name: string, args: MultiPlatformImageArgs, options?: pulumi.ComponentResourceOptions) {
        const settings = resolveSettings(name, args);
        super("buildfleet:index:MultiPlatformImage", name, {}, options);
        const scope = withGitTags({ name, settings, transform: args.transform ?? {}, options: { parent: this } });
        const built = buildPlatforms(scope);
        const index = createIndex(scope, built);
        const gates = built.map((platform) => createGates(scope, platform));
        const released = release(scope, index, built, gates);

        this.ref = released.ref;
        this.digest = index.digest;
        this.tags = released.tags;
        this.platforms = index.platforms;
        this.vulnerabilities = pulumi.output(perPlatform(built, gates, vulnerabilitiesOf));
        this.sbom = pulumi.output(perPlatform(built, gates, sbomOf));
        this.exports = pulumi.output(createExports(scope, built, released.ref));
        this.signature = pulumi.output(released.signature);
        this.registerOutputs({
            ref: this.ref,
            digest: this.digest,
            tags: this.tags,
            platforms: this.platforms,
            vulnerabilities: this.vulnerabilities,
            sbom: this.sbom,
            exports: this.exports,
            signature: this.signature,
        });
    }
}

function perPlatform<T>(built: BuiltPlatform[], gates: Gates[], describe: (gate: Gates) => T | undefined) {
    const entries = built.map(({ platform }, i) => [platform, gates[i] && describe(gates[i])] as const);
    return Object.fromEntries(entries.filter((entry): entry is [string, T & {}] => entry[1] !== undefined));
}

function vulnerabilitiesOf({ scan }: Gates) {
    if (!scan) return undefined;
    const { counts, packages, scannedBy, source, advisories } = scan;
    return { counts, packages, scannedBy, source, advisories };
}

function sbomOf({ sbom }: Gates) {
    return sbom && { digest: sbom.spdx.digest, packages: sbom.packages };
}
