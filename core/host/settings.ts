import type { BuildkitdRegistry, DiskSpace } from "../buildkitd-settings";

/** The port on which a builder's BuildKit answers clients, over mutual TLS only, unless another one is set. */
export const BUILDKIT_PORT = 8372;

/** EC2 takes at most so many bytes of user data, before base64 (EC2 user guide, "Run commands at launch": 16 KB). */
export const USER_DATA_LIMIT = 16_384;

/** Everything that makes one Linux machine a builder. What is secret is not here: the machine fetches it at boot. */
export interface HostSettings {
    /** The fleet's name; a dimension of the metrics, and part of what the journal says. */
    fleet: string;
    /** The node's name; also the name in its server certificate. */
    node: string;
    /** Of the machine. */
    architecture: "amd64" | "arm64";
    /** Free text, part of the user data: a new one replaces the machine. */
    release: string;
    buildkit: BuildkitArtifact;
    cache: HostCache;
    gc: { reservedSpace: DiskSpace; maxUsedSpace: DiskSpace; minFreeSpace: DiskSpace };
    /** A disk fuller than so many percent is pruned by a timer, whatever BuildKit's own accounting says. From 1 to 99. */
    pruneAbovePercent: number;
    /** Build steps at a time. From 1. */
    maxParallelism: number;
    /** IPv4 network of the build steps' containers, as CIDR: `10.201.0.0/16`. It must not overlap with what builds have to reach. */
    bridgeSubnet: string;
    /** By `host[:port]`, as in buildkitd.toml; paths are paths on the machine. */
    registries: Record<string, BuildkitdRegistry>;
    /** Certificates of authorities, PEM by file name; written to `/etc/buildfleet/ca/<name>` for `registries[…].ca`. */
    authorities?: Record<string, string>;
    /** Where the machine gets key, certificate and CA from. */
    tls: HostTls;
    /** Powers the machine off after so long without a build. Never, when unset. */
    idle?: { stopAfterSeconds: number };
    /** How long a drain waits for running builds before it ends them. */
    drainTimeoutSeconds: number;
    /** CloudWatch's embedded metric format, written to a log stream named like the node. None, when unset. */
    metrics?: { logGroup: string; namespace: string; everySeconds: number };
    /** None, when unset. */
    limits?: HostLimits;
    /** Name of this builder among others on the machine (`names.ts`); unset for the one that has no name. */
    instance?: string;
    /** On which BuildKit answers clients; {@link BUILDKIT_PORT} when unset. */
    port?: number;
    /** BuildKit and its build steps run as a user of their own, in a user namespace (`rootless.ts`). Only where `tls` is `files`. */
    rootless?: boolean;
    /** In place of `https://<service>.<region>.amazonaws.com`, for all services: a VPC endpoint's URL. */
    awsEndpoint?: string;
}

/** BuildKit's release tarball (`bin/buildkitd`, `bin/buildctl`, `bin/buildkit-runc`, `bin/buildkit-cni-*`). */
export interface BuildkitArtifact {
    /** `0.33.1`; names the folder that it is unpacked to. */
    version: string;
    /** Of this machine's architecture; `sha256` is 64 hexadecimal digits. */
    artifact: { url: string; sha256: string };
}

/**
 * Where BuildKit's cache lives: on an EBS volume of its own, on the machine's instance storage (lost when it stops), or in a
 * folder of the root file system.
 */
export type HostCache = { kind: "volume"; volumeId: string } | { kind: "instance-store" } | { kind: "folder" };

/**
 * One SecureString parameter that holds private key, certificate and CA bundle, PEM, in this order; or files that whoever manages
 * the machine writes there.
 */
export type HostTls = SsmTls | { kind: "files" };

/** A parameter of AWS Systems Manager. */
export interface SsmTls {
    kind: "ssm";
    /** `/buildfleet/project/stack/fleet/node/tls`. */
    parameter: string;
    /** How often a new version is looked for. */
    pollSeconds: number;
}

/** A builder on EC2. */
export type Ec2HostSettings = HostSettings & { tls: SsmTls };

/** The most that BuildKit and all its build steps use together. */
export interface HostLimits {
    /** Bytes; no limit when unset. */
    memoryBytes?: number;
    /** Cores, also parts of one; no limit when unset. */
    cpus?: number;
}
