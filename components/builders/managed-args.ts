import type * as pulumi from "@pulumi/pulumi";
import type { DiskSpace } from "../../core/buildkitd-settings";
import type { Duration } from "../../core/duration";
import type { Size } from "../../core/size";
import type { BuildkitReleaseArgs } from "../../resources/buildkit-release";
import type { CertificateArgs } from "../../resources/certificate";
import type { ManagedHostArgs } from "../../resources/managed-host";
import type { NodeRegistry } from "../registry/node-registry";
import type { SshArgs } from "../ssh-args";
import type { Transform } from "../transform";

/** A Linux machine with systemd and an SSH server. */
export interface FleetHostArgs {
    /** How it is reached by SSH, as root or as a user who becomes root by sudo. */
    ssh: SshArgs;
    /** Its processor's; a machine with another one is refused. */
    architecture: "amd64" | "arm64";
    /** Name or address at which clients reach BuildKit; default `ssh.host`. */
    address?: pulumi.Input<string>;
    /** What it builds; default its own architecture. Others are emulated; 32-bit ARM counts as an arm64 host's own. */
    platforms?: string[];
    /** Build steps at a time; default 4. */
    maxParallelism?: number;
    /** Builds at a time, over all programs and machines; default no limit. */
    maxBuilds?: number;
    /** The most that BuildKit and all its build steps use together; default no limit. Needs cgroup v2. */
    memory?: Size;
    /** Cores, also parts of one, that they use together; default no limit. Needs cgroup v2. */
    cpus?: number;
    /**
     * Of several builders on one machine, this one's name: up to 12 letters and digits, `team2`. It has its own BuildKit, caches,
     * settings, certificate, limits, `port` and `buildNetwork`, and comes and goes without the others. Another name is another
     * builder; the first one of a machine needs none.
     */
    instance?: string;
    /** On which BuildKit answers clients; default 8372. */
    port?: number;
    /** In place of the fleet's, as several builders of one machine need; rootless ones may have the same. */
    buildNetwork?: string;
    /**
     * Whether BuildKit and its build steps run as a user of their own, in a user namespace: who breaks out of a build step is nobody
     * on the machine. Default: BuildKit runs as root. It needs rootlesskit, slirp4netns and uidmap on the machine, which is refused
     * without; see docs/onprem.md for what it costs. Changing it empties the caches.
     */
    rootless?: boolean;
}

/** BuildKit's release tarball of one architecture. */
export interface ManagedArtifactArgs {
    /** `http://mirror.room/buildkit-v0.33.1.linux-arm64.tar.gz`; the hosts get it from there. */
    url: pulumi.Input<string>;
    /** 64 hexadecimal digits; other bytes are refused. */
    sha256: pulumi.Input<string>;
}

export interface ManagedBuildkitArgs {
    /** Default `0.33.1`. */
    version?: string;
    /** By architecture; default GitHub's, which the hosts have to reach then. */
    artifacts?: Record<string, ManagedArtifactArgs>;
}

/** What garbage collection keeps of the caches: sizes (`"20 GB"`) or parts of the disk (`"60%"`). */
export interface ManagedGcArgs {
    /** Never reclaimed below this; default `10%`. */
    reservedSpace?: DiskSpace;
    /** Reclaimed above this; default `60%`. */
    maxUsedSpace?: DiskSpace;
    /** Reclaimed until so much is free; default `15%`. */
    minFreeSpace?: DiskSpace;
}

export interface ManagedDrainArgs {
    /** How long a change waits for running builds; default `15 minutes`. Then it is given up, and the builds go on. */
    timeout?: Duration;
}

export interface ManagedFleetArgs {
    /** The machines, by the names of their nodes: `arm-1`. */
    hosts: Record<string, FleetHostArgs>;
    /** How the nodes reach registries, by `host[:port]`; default HTTPS. `RegistryConnection.nodeSettings` is one. */
    registries?: pulumi.Input<Record<string, pulumi.Input<NodeRegistry>>>;
    buildkit?: ManagedBuildkitArgs;
    gc?: ManagedGcArgs;
    drain?: ManagedDrainArgs;
    /** Addresses of the build steps' containers, CIDR; default `198.18.0.0/16`. Builds can't reach machines of these addresses. */
    buildNetwork?: string;
    transform?: ManagedFleetTransform;
}

/** Last word on a child's arguments. */
export interface ManagedFleetTransform {
    host?: Transform<ManagedHostArgs>;
    certificate?: Transform<CertificateArgs>;
    buildkitRelease?: Transform<BuildkitReleaseArgs>;
}
