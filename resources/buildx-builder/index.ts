import * as pulumi from "@pulumi/pulumi";
import { OperationsResource } from "../dynamic";
import type { DockerHost } from "./docker-host";

export type { DockerHost, DockerHostRegistry } from "./docker-host";

/** The instance that a node is, for one that may be stopped while nobody builds. */
export interface Ec2Machine {
    /** `i-0123456789abcdef0` */
    instanceId: pulumi.Input<string>;
    /** `eu-central-1` */
    region: pulumi.Input<string>;
    /** How long a stopped one may take until BuildKit answers, in seconds; default 180. */
    wakeTimeoutSeconds?: pulumi.Input<number>;
    /**
     * Reach it through a port forwarding of AWS Systems Manager's Session Manager instead of by its address; default no. Needs
     * `session-manager-plugin` (newer than 1.2.497.0) on PATH. Of the endpoint only the port counts then.
     */
    tunnel?: pulumi.Input<boolean>;
}

/** A machine that runs BuildKit. */
export interface BuilderNode {
    /** Unique in its fleet; shown in outputs and errors. */
    name: pulumi.Input<string>;
    /**
     * `tcp://host:port` (mutual TLS), `unix:///path`, or what BuildKit's clients reach by a command: `ssh://[user@]host[:port]`
     * (`buildctl` on that user's PATH), `docker-container://name[?context=…]`, `kube-pod://pod[?namespace=…&container=…&context=…]`.
     */
    endpoint: pulumi.Input<string>;
    /** What it may be asked to build: `["linux/arm64"]`; default what it says itself that it runs. */
    platforms?: pulumi.Input<pulumi.Input<string>[]>;
    /** Name in its certificate, where that is not the host's. */
    serverName?: pulumi.Input<string>;
    /**
     * Its instance on EC2. A stopped one is started when a builder is registered on it, and waited for; previews only look.
     * Default none: a machine that does not answer is left out.
     */
    ec2?: pulumi.Input<Ec2Machine>;
    /**
     * The endpoint is a Docker daemon's, `unix:///var/run/docker.sock` or `ssh://[user@]host[:port]`, on which buildx's `docker-container`
     * driver runs BuildKit. Needs the `docker` CLI, and for `ssh://` one on the host, too. Default none.
     */
    docker?: pulumi.Input<DockerHost>;
    /** Builds at a time on this node, over all programs and machines; the others wait. Default no limit. */
    maxBuilds?: pulumi.Input<number>;
}

/** What lets a client in to the nodes; PEM. */
export interface BuilderClient {
    /** Authorities whose nodes are trusted. */
    ca: pulumi.Input<string>;
    certificate: pulumi.Input<string>;
    /** A secret. */
    privateKey: pulumi.Input<string>;
}

export interface BuildxBuilderArgs {
    /** Name in buildx's store. Keep it: another name rebuilds every image built under it. */
    name: pulumi.Input<string>;
    platform: pulumi.Input<string>;
    /** The candidates; those that declare the platform are probed. */
    nodes: pulumi.Input<pulumi.Input<BuilderNode>[]>;
    /** Client certificate for `tcp://` nodes; default none. */
    client?: pulumi.Input<BuilderClient>;
    /** Whether a node of another architecture may emulate the platform; default `refuse`. */
    emulation?: pulumi.Input<"refuse" | "allow">;
    /** What is spread over the nodes: equal keys go to the same node while it lives. Default the name. */
    placementKey?: pulumi.Input<string>;
}

const hasKey = (nodes: pulumi.Unwrap<BuilderNode>[]) =>
    nodes.some(({ docker }) =>
        Object.values(docker?.registries ?? {}).some(({ clientCertificate }) => clientCertificate?.privateKey),
    );

/** Nodes as they were given; a secret where one of them has a private key for a registry, as the `client` is. */
export function secretKeys(
    nodes: pulumi.Input<pulumi.Input<BuilderNode>[]>,
): pulumi.Output<pulumi.Unwrap<BuilderNode>[]> {
    const known = pulumi.output(nodes) as pulumi.Output<pulumi.Unwrap<BuilderNode>[]>;
    return known.apply((all) => (hasKey(all) ? pulumi.secret(all) : pulumi.output(all)));
}

/**
 * One platform's builder in buildx's store, pinned to one healthy node. Its registration heals itself: a lost store, a lost
 * or rotated certificate, a node that moved or died are mended by the next `up`, under the same name.
 */
export class BuildxBuilder extends OperationsResource {
    declare readonly name: pulumi.Output<string>;
    /** The node it points at. */
    declare readonly nodeName: pulumi.Output<string>;
    declare readonly endpoint: pulumi.Output<string>;
    /** True where the node's own architecture is another one. */
    declare readonly emulated: pulumi.Output<boolean>;
    /** The node's own platform, as its daemon says. */
    declare readonly nativePlatform: pulumi.Output<string>;

    constructor(name: string, args: BuildxBuilderArgs, options?: pulumi.CustomResourceOptions) {
        super(
            "BuildxBuilder",
            name,
            {
                emulation: "refuse",
                placementKey: args.name,
                ...args,
                nodes: secretKeys(args.nodes),
                ...(args.client ? { client: pulumi.secret(args.client) } : {}),
            },
            ["nodeName", "endpoint", "emulated", "nativePlatform"],
            ["client"],
            options,
        );
    }
}
