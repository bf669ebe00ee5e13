import * as pulumi from "@pulumi/pulumi";
import { checkImageSettings, type ImageSettings } from "../../core/image-settings";
import type { RegistryConnection } from "../../core/registry-connection";
import { Unresolved } from "../../core/settings";
import type { Fleet } from "../builders/fleet";
import type { MultiPlatformImageArgs } from "./args";

/**
 * The arguments after the check: structure plain and complete, values that may come from other resources as Pulumi
 * inputs.
 */
export interface ResolvedSettings
    extends Pick<
        ImageSettings,
        "platforms" | "network" | "noCache" | "pull" | "cacheFrom" | "cacheTo" | "ssh" | "emulation" | "test" | "scan"
    > {
    fleet: Fleet;
    repository: pulumi.Output<string>;
    connection: pulumi.Output<RegistryConnection>;
    /** False where it is sure that no password was given. */
    mayHaveCredentials: boolean;
    context: pulumi.Input<string>;
    contexts: Record<string, pulumi.Input<string>>;
    dockerfile: MultiPlatformImageArgs["dockerfile"];
    target: pulumi.Input<string> | undefined;
    buildArgs: Record<string, pulumi.Input<string>>;
    secrets: Record<string, pulumi.Input<string>>;
    labels: Record<string, pulumi.Input<string>>;
    annotations: Record<string, pulumi.Input<string>>;
    addHosts: pulumi.Input<string>[];
    version: string | undefined;
    tags: string[];
    immutableTags: string[];
    attestSbom: boolean;
    sign: MultiPlatformImageArgs["sign"];
    revision: string | undefined;
}

/** Values of other resources are not known while the program runs; the schema lets a mark for them pass. */
function withoutOutputs(value: unknown): unknown {
    if (!isPlain(value)) return new Unresolved();
    if (Array.isArray(value)) return value.map(withoutOutputs);
    if (typeof value !== "object" || value === null) return value;
    return Object.fromEntries(Object.entries(value).map(([key, item]) => [key, withoutOutputs(item)]));
}

/** A `SigningKey` is a key pair and more; only the pair is looked at. */
function signOf(sign: MultiPlatformImageArgs["sign"]): MultiPlatformImageArgs["sign"] {
    if (!sign || typeof sign.key !== "object" || !pulumi.Resource.isInstance(sign.key)) return sign;
    const { privateKey, password, publicKey } = sign.key;
    return { ...sign, key: { privateKey, password, publicKey } };
}

const isPlain = <T>(input: pulumi.Input<T>): input is T =>
    !pulumi.Output.isInstance(input) && !(input instanceof Promise);

/** @throws SettingsError with every problem at once. */
export function resolveSettings(name: string, args: MultiPlatformImageArgs): ResolvedSettings {
    const { fleet, repository, transform, ...rest } = { ...args, sign: signOf(args.sign) };
    const target = typeof repository === "object" && "name" in repository ? repository : { name: repository };
    // Platforms, tests and gates are plain in the arguments' types, so the check leaves them plain, too.
    const checked = checkImageSettings(
        `MultiPlatformImage ${JSON.stringify(name)}`,
        withoutOutputs({ ...rest, repository: target.name }),
    ) as ImageSettings;
    const connection = ("connection" in target && target.connection) || {};
    return {
        ...checked,
        fleet,
        repository: pulumi.output(target.name),
        connection: pulumi.secret(connection),
        mayHaveCredentials: !isPlain(connection) || connection.username !== undefined,
        context: args.context,
        contexts: args.contexts ?? {},
        dockerfile: args.dockerfile,
        target: args.target,
        buildArgs: args.buildArgs ?? {},
        secrets: args.secrets ?? {},
        labels: args.labels ?? {},
        annotations: args.annotations ?? {},
        addHosts: args.addHosts ?? [],
        version: checked.version,
        attestSbom: checked.sbom !== false,
        sign: rest.sign,
        revision: checked.revision,
    };
}
