import * as pulumi from "@pulumi/pulumi";
import { checkImageSettings, type ImageSettings } from "../../core/image-settings";
import type { RegistryConnection } from "../../core/registry-connection";
import { SettingsError } from "../../core/settings";
import type { Fleet } from "../builders/fleet";
import { isPlain, withoutOutputs } from "../plain";
import type { EcrAccessArgs, RegistryConnectionArgs } from "../registry/repository";
import type { KeyPairArgs, MultiPlatformImageArgs } from "./args";
import type { CacheSourceArgs, CacheTargetArgs } from "./cache-args";

/**
 * The arguments after the check: structure plain and complete, values that may come from other resources as Pulumi
 * inputs.
 */
export interface ResolvedSettings
    extends Pick<
        ImageSettings,
        | "platforms"
        | "network"
        | "noCache"
        | "pull"
        | "ssh"
        | "emulation"
        | "buildTimeout"
        | "test"
        | "scan"
        | "exports"
    > {
    fleet: Fleet;
    repository: pulumi.Output<string>;
    connection: pulumi.Output<RegistryConnection>;
    /** False where it is sure that no password was given. */
    mayHaveCredentials: boolean;
    checkRegistry: boolean;
    /** Set where the registry needs a login of its own. */
    ecr: EcrAccessArgs | undefined;
    context: pulumi.Input<string>;
    contexts: Record<string, pulumi.Input<string>>;
    dockerfile: MultiPlatformImageArgs["dockerfile"];
    target: pulumi.Input<string> | undefined;
    buildArgs: Record<string, pulumi.Input<string>>;
    secrets: Record<string, pulumi.Input<string>>;
    labels: Record<string, pulumi.Input<string>>;
    annotations: Record<string, pulumi.Input<string>>;
    addHosts: pulumi.Input<string>[];
    cacheFrom: CacheSourceArgs[];
    cacheTo: CacheTargetArgs[];
    version: string | undefined;
    tags: string[];
    immutableTags: string[];
    immutable: ImageSettings["immutable"];
    /** The folder may come from another resource. */
    gitTags: (Omit<NonNullable<ImageSettings["gitTags"]>, "folder"> & { folder: pulumi.Input<string> }) | undefined;
    attestSbom: boolean;
    sign: MultiPlatformImageArgs["sign"];
    revision: string | undefined;
}

/** A `SigningKey` is a key pair and more; only the pair is looked at. */
export function signOf(sign: MultiPlatformImageArgs["sign"]): MultiPlatformImageArgs["sign"] {
    if (!sign || !pulumi.Resource.isInstance(sign.key)) return sign;
    const { privateKey, password, publicKey } = sign.key as pulumi.Resource & KeyPairArgs;
    return { ...sign, key: { privateKey, password, publicKey } };
}

/** Which resources there are is decided while the program runs: an output can't bring a login with it. */
function seen(connection: RegistryConnection): RegistryConnection {
    if (!connection.ecr) return connection;
    throw new pulumi.RunError(
        "the repository's connection is an output as a whole, and has ecr in it; give a plain table with outputs inside: " +
            'connection: { ecr: { region: stack.requireOutput("region") } }',
    );
}

/** @throws SettingsError with every problem at once. */
export function resolveSettings(name: string, args: MultiPlatformImageArgs): ResolvedSettings {
    const { fleet, repository, transform, ...rest } = { ...args, sign: signOf(args.sign) };
    const target = typeof repository === "object" && "name" in repository ? repository : { name: repository };
    const subject = `MultiPlatformImage ${JSON.stringify(name)}`;
    // Platforms, tests and gates are plain in the arguments' types, so the check leaves them plain, too.
    const checked = checkImageSettings(subject, withoutOutputs({ ...rest, repository: target.name })) as ImageSettings;
    const connection = ("connection" in target && target.connection) || {};
    const ecr = isPlain<RegistryConnectionArgs>(connection) ? connection.ecr : undefined;
    if (ecr && "username" in connection && connection.username !== undefined) {
        const path = "repository.connection.username";
        const expected = "one of them: ECR's token takes the place of name and password";
        throw new SettingsError(subject, [{ path, found: "set together with ecr", expected }]);
    }
    if (checked.scan !== false && checked.scan.scanner === "ecr" && !ecr) {
        const expected = "a repository in ECR (EcrRepository, or connection.ecr), or another scanner";
        throw new SettingsError(subject, [{ path: "scan.scanner", found: "ecr scans only what is in ECR", expected }]);
    }
    const wantsCertificate = isPlain<RegistryConnectionArgs>(connection) && connection.clientCertificate !== undefined;
    if (checked.scan !== false && checked.scan.scanner === "trivy" && wantsCertificate) {
        const found = "trivy has no setting for a registry's client certificate";
        throw new SettingsError(subject, [{ path: "scan.scanner", found, expected: "grype" }]);
    }
    return {
        ...checked,
        fleet,
        repository: pulumi.output(target.name),
        connection: pulumi.secret(isPlain(connection) ? connection : pulumi.output(connection).apply(seen)),
        checkRegistry: "check" in target && target.check === true,
        mayHaveCredentials:
            !isPlain(connection) || connection.username !== undefined || connection.mirrorCredentials !== undefined,
        ecr,
        context: args.context,
        contexts: args.contexts ?? {},
        dockerfile: args.dockerfile,
        target: args.target,
        buildArgs: args.buildArgs ?? {},
        secrets: args.secrets ?? {},
        labels: args.labels ?? {},
        annotations: args.annotations ?? {},
        addHosts: args.addHosts ?? [],
        // As they were given: a cache's name may come from another resource.
        cacheFrom: args.cacheFrom ?? [],
        cacheTo: args.cacheTo ?? [],
        version: checked.version,
        gitTags: checked.gitTags && { ...checked.gitTags, folder: args.gitTags?.folder ?? args.context },
        attestSbom: checked.sbom !== false,
        sign: rest.sign,
        revision: checked.revision,
    };
}
