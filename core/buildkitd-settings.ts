import type { Duration } from "./duration";
import type { Size } from "./size";

/** Disk space: a size, or a part of the disk (`"60%"`). */
export type DiskSpace = Size | `${number}%`;

/** What garbage collection keeps. `du` undercounts on some file systems, so leave `maxUsedSpace` at 60–70 % of the disk. */
export interface BuildkitdSpace {
    /** Never reclaimed below this. */
    reservedSpace?: DiskSpace;
    /** Reclaimed above this. */
    maxUsedSpace?: DiskSpace;
    /** Reclaimed until so much of the disk is free, though not below `reservedSpace`. */
    minFreeSpace?: DiskSpace;
}

/** One step of garbage collection; BuildKit goes through them in order. */
export interface BuildkitdGcPolicy extends BuildkitdSpace {
    /** Also what is shared or internal. */
    all?: boolean;
    /** Only records that match, such as `type==exec.cachemount`. */
    filters?: string[];
    /** Only what was not used for so long. */
    keepDuration?: Duration;
}

/** How the daemon reaches one registry. */
export interface BuildkitdRegistry {
    /** Plain HTTP instead of HTTPS. */
    http?: boolean;
    /** HTTPS without checking the certificate; never together with `http`. */
    insecure?: boolean;
    /** Paths of PEM files to trust in addition. */
    ca?: string[];
    /** Paths of client certificates. */
    keypair?: { key: string; cert: string }[];
    /** `host[:port][/path]`, asked first. A mirror that needs settings of its own (`http`, `ca`) has its own entry. */
    mirrors?: string[];
}

/** The part of BuildKit's configuration that this library sets. */
export interface BuildkitdSettings {
    /** Where all state is kept. */
    root?: string;
    grpc: {
        /** `tcp://0.0.0.0:1234`, `unix:///run/buildkit/buildkitd.sock`. */
        address: string[];
        /** Paths of PEM files; with `ca`, only clients with a certificate of that authority are let in. */
        tls?: { cert: string; key: string; ca?: string };
    };
    log?: { format?: "json" | "text"; level?: "error" | "warn" | "info" | "debug" | "trace" };
    worker?: BuildkitdSpace & {
        /** Build steps at a time on this node. */
        maxParallelism?: number;
        /** `bridge` needs the CNI plugins; `host` lets build steps reach all that the machine reaches. */
        networkMode?: "auto" | "host" | "bridge" | "cni";
        /** Name of the bridge that `networkMode: "bridge"` makes; at most 15 characters. */
        bridgeName?: string;
        /** Its IPv4 network, as CIDR: `10.10.0.0/16`. */
        bridgeSubnet?: string;
        /** Folder of the CNI plugins, for a BuildKit that came without its own (`buildkit-cni-bridge` and others on its PATH). */
        cniBinaryPath?: string;
        /** Network namespaces kept ready for build steps. */
        cniPoolSize?: number;
        /** Whether caches are collected at all. Default true. */
        gc?: boolean;
        gcpolicy?: BuildkitdGcPolicy[];
        rootless?: boolean;
        /** `auto`, `overlayfs`, `native`, `fuse-overlayfs`. */
        snapshotter?: string;
        /** Path of an OCI runtime in place of `buildkit-runc` or `runc`. */
        binary?: string;
        /** What the worker says it builds; found out by itself when unset. */
        platforms?: string[];
        labels?: Record<string, string>;
        /** Control group of the build steps, from the root: `/builds.slice`. */
        defaultCgroupParent?: string;
    };
    /** By `host[:port]`. */
    registry?: Record<string, BuildkitdRegistry>;
    /** Path of the socket through which build steps send traces; two daemons on one machine need one each. */
    otel?: { socketPath: string };
    history?: { maxAge?: Duration; maxEntries?: number };
}
