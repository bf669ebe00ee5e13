import * as pulumi from "@pulumi/pulumi";
import { buildkitdToml } from "../../core/buildkitd-toml";
import { checkLimits, type LimitSettings, limitsOf } from "../../core/limits";
import { type NodeRegistrySettings, nodeRegistries } from "../../core/node-registries";
import { Platform } from "../../core/platform";
import type { Size } from "../../core/size";
import type { BuilderClient, BuilderNode } from "../../resources/buildx-builder";
import { Certificate } from "../../resources/certificate";
import { CertificateAuthority } from "../../resources/certificate-authority";
import { LocalProcess, type LocalProcessArgs } from "../../resources/local-process";
import type { NodeRegistry } from "../registry/node-registry";
import { applyTransform, type Transform } from "../transform";
import type { Fleet } from "./fleet";

export interface LocalFleetArgs {
    /** Platforms to build for; default `linux/amd64` and `linux/arm64`. */
    platforms?: string[];
    /** Nodes per platform, where it is more than one: `{"linux/arm64": 2}`. */
    nodes?: Record<string, number>;
    /** How the nodes reach registries, by `host[:port]`; default HTTPS. `LocalRegistry.nodeSettings` is one. */
    registries?: pulumi.Input<Record<string, pulumi.Input<NodeRegistry>>>;
    /** Build steps at a time on each node; default 4. */
    maxParallelism?: pulumi.Input<number>;
    /** Builds at a time on each node, over all programs that use it; the others wait. Default no limit. */
    maxBuilds?: pulumi.Input<number>;
    /** The most memory that a node and all its build steps take together, such as `"4 GiB"`; default no limit. */
    memory?: Size;
    /** The most CPU time that a node and all its build steps take together, in CPUs, such as 1.5; default no limit. */
    cpus?: number;
    /** Folder for configuration, logs and caches, relative to the stack's program; default `.buildfleet/fleet/<name>`. */
    folder?: string;
    transform?: LocalFleetTransform;
}

/** Last word on a child's arguments. */
export interface LocalFleetTransform {
    node?: Transform<LocalProcessArgs>;
}

/**
 * BuildKit on this machine: one daemon per platform, each with a root, a port and a certificate of its own, which lets
 * in clients of the fleet's authority only. Needs root, `buildkitd` and `runc`. A platform of another architecture
 * is emulated, so images say `emulation: "allow"`; `linux/arm/v7` counts as what an arm64 machine runs itself. `memory` and `cpus` are limits of the kernel's control groups, made by systemd,
 * or by hand where there is none; a machine that has neither for them is refused.
 *
 * ```ts
 * const registry = new LocalRegistry("registry");
 * const fleet = new LocalFleet("builders", { registries: registry.nodeSettings });
 * ```
 */
export class LocalFleet extends pulumi.ComponentResource implements Fleet {
    readonly nodes: pulumi.Output<pulumi.Unwrap<BuilderNode>[]>;
    readonly client: pulumi.Output<pulumi.Unwrap<BuilderClient>>;
    readonly registries: pulumi.Output<Record<string, NodeRegistrySettings>>;

    /** @throws SettingsError for limits that are none, before anything is declared. */
    constructor(name: string, args: LocalFleetArgs = {}, options?: pulumi.ComponentResourceOptions) {
        const { memory, cpus } = args;
        const limits = checkLimits(`LocalFleet ${JSON.stringify(name)}`, { memory, cpus }) as LimitSettings;
        super("buildfleet:index:LocalFleet", name, {}, options);
        const parent = { parent: this };
        const authority = new CertificateAuthority(`${name}-ca`, { commonName: `${name} builders` }, parent);
        const client = new Certificate(
            `${name}-client`,
            { authority: pairOf(authority), commonName: `${name} client`, usage: "client" },
            parent,
        );
        const nodes = nodeNames(args).map(({ node, platform }) => {
            const process = createNode(`${name}-${node}`, node, name, { ...args, ...limits }, authority, parent);
            return {
                name: node,
                endpoint: pulumi.interpolate`tcp://${process.address}`,
                platforms: [platform],
                // The name in its certificate: another node that got the same port does not pass for it.
                serverName: node,
                ...(args.maxBuilds === undefined ? {} : { maxBuilds: args.maxBuilds }),
            };
        });
        this.nodes = pulumi.output(nodes);
        this.client = pulumi.output({
            ca: authority.trustBundle,
            certificate: client.certificate,
            privateKey: client.privateKey,
        });
        this.registries = pulumi.output(args.registries ?? {});
        this.registerOutputs({ nodes: this.nodes });
    }
}

/** `amd64`; `arm64-1`, `arm64-2` where a platform has several. */
function nodeNames({ platforms = ["linux/amd64", "linux/arm64"], nodes = {} }: LocalFleetArgs) {
    const counts = new Map(Object.entries(nodes).map(([platform, count]) => [`${Platform.parse(platform)}`, count]));
    return platforms.map(Platform.parse).flatMap((platform) => {
        const count = counts.get(`${platform}`) ?? 1;
        const base = platform.slug.replace(/^linux-/, "");
        return Array.from({ length: count }, (_, i) => ({
            node: count === 1 ? base : `${base}-${i + 1}`,
            platform: `${platform}`,
        }));
    });
}

/** The pair alone: a resource among the inputs would be sent as a reference to it. */
const pairOf = ({ certificate, privateKey }: CertificateAuthority) => ({ certificate, privateKey });

function createNode(
    resourceName: string,
    node: string,
    fleet: string,
    args: LocalFleetArgs,
    authority: CertificateAuthority,
    parent: pulumi.CustomResourceOptions,
): LocalProcess {
    const server = new Certificate(
        `${resourceName}-cert`,
        {
            authority: pairOf(authority),
            commonName: node,
            usage: "server",
            dnsNames: [node, "localhost"],
            ipAddresses: ["127.0.0.1"],
        },
        parent,
    );
    const limits = limitsOf(args);
    const folder = `${args.folder ?? `.buildfleet/fleet/${fleet}`}/${node}`;
    const process = {
        command: "buildkitd",
        arguments: ["--config", "{folder}/buildkitd.toml"],
        folder,
        dataFolder: `${folder}-cache`,
        files: pulumi
            .all([
                args.registries ?? {},
                args.maxParallelism ?? 4,
                authority.trustBundle,
                server.certificate,
                server.privateKey,
            ])
            .apply(([registries, maxParallelism, ca, certificate, privateKey]) => ({
                ...configuration(registries, maxParallelism, limits !== undefined),
                "ca.pem": ca,
                "cert.pem": certificate,
                "key.pem": privateKey,
            })),
        ...(limits ? { limits } : {}),
    };
    return new LocalProcess(resourceName, applyTransform(args.transform?.node, process), parent);
}

/**
 * `buildkitd.toml` and the files of registries that it names, by name. `{folder}`, `{data}`, `{socket}`, `{port}` and `{group}` are filled in
 * where the daemon is started.
 */
function configuration(registries: Record<string, NodeRegistrySettings>, maxParallelism: number, isLimited: boolean) {
    const { registry, files } = nodeRegistries(registries, "{folder}");
    const text = buildkitdToml({
        root: "{data}",
        otel: { socketPath: "{socket}" },
        grpc: {
            address: ["tcp://127.0.0.1:65535"],
            tls: { cert: "{folder}/cert.pem", key: "{folder}/key.pem", ca: "{folder}/ca.pem" },
        },
        worker: {
            ...{ maxParallelism, networkMode: "host", reservedSpace: "2 GB", maxUsedSpace: "60%", minFreeSpace: "5%" },
            // Else runc puts the steps beside the daemon's group, where its limits do not reach.
            ...(isLimited ? { defaultCgroupParent: "/{group}" } : {}),
        },
        registry,
    });
    return {
        "buildkitd.toml": text.replace("tcp://127.0.0.1:65535", "tcp://127.0.0.1:{port}"),
        ...Object.fromEntries(files.map(({ name, content }) => [name, content])),
    };
}
