import type * as pulumi from "@pulumi/pulumi";
import type { DiskSpace } from "../../core/buildkitd-settings";
import type { Size } from "../../core/size";

/** How the BuildKit in a container reaches one registry; what a `RegistryConnection`'s `nodeSettings` has for each. */
export interface DockerHostRegistry {
    /** Plain HTTP; default false. */
    http?: pulumi.Input<boolean>;
    /** Files of private authorities, PEM, on the machine that runs the program: buildx copies them. Default the system's. */
    ca?: pulumi.Input<pulumi.Input<string>[]>;
    /** Registries asked first, `host[:port][/path]`; default none. */
    mirrors?: pulumi.Input<pulumi.Input<string>[]>;
    /** PEM of private authorities, besides `ca`. */
    caPem?: pulumi.Input<string>;
    /** For a registry that asks for one. */
    clientCertificate?: pulumi.Input<{ certificate: pulumi.Input<string>; privateKey: pulumi.Input<string> }>;
}

/**
 * A Docker daemon on which buildx's `docker-container` driver runs BuildKit: a privileged container and a volume for the cache,
 * shared by all builders of one `instance`. A container that is gone, stopped, or was made of other settings is made anew by the next
 * `up`, after the builds in it are done; the cache stays.
 */
export interface DockerHost {
    /**
     * BuildKit's image. The Docker daemon pulls it, with this machine's credentials: a plain-HTTP registry must be among that
     * daemon's `insecure-registries`, a private authority in its `/etc/docker/certs.d`. Name it by digest, so that every host runs the
     * same. Default buildx's own, `moby/buildkit:buildx-stable-1`, from the internet.
     */
    image?: pulumi.Input<string>;
    /**
     * What tells several builders on one daemon apart: the container is `buildx_buildkit_<instance>`. Programs that share a host
     * share a builder where they say the same here, and then its settings must be the same, too. Default `buildfleet-<node's name>`.
     */
    instance?: pulumi.Input<string>;
    /** `host`, `bridge`, `none` or a Docker network; default Docker's own. */
    network?: pulumi.Input<string>;
    /** The most memory that the builder and its build steps take: `"8 GiB"`; default no limit. */
    memory?: pulumi.Input<Size>;
    /** The most memory and swap together; default twice the memory. */
    memorySwap?: pulumi.Input<Size | "unlimited">;
    /** The most CPU time, in CPUs: `1.5`; default no limit. */
    cpus?: pulumi.Input<number>;
    /** Weight against other containers; default Docker's, 1024. */
    cpuShares?: pulumi.Input<number>;
    /** The CPUs it runs on: `"0-3"`; default all. */
    cpuset?: pulumi.Input<string>;
    /** Control group that the container's is put under; default buildx's, `/docker/buildx`. */
    cgroupParent?: pulumi.Input<string>;
    /** When Docker starts it again; default `unless-stopped`. */
    restart?: pulumi.Input<"no" | "on-failure" | "always" | "unless-stopped">;
    /** Variables of the daemon, such as `HTTPS_PROXY`; never secrets. */
    env?: pulumi.Input<Record<string, pulumi.Input<string>>>;
    /** Build steps at a time; default BuildKit's, no limit. */
    maxParallelism?: pulumi.Input<number>;
    /** Cache that is never reclaimed; a size or a part of the disk (`"10%"`). Default BuildKit's, as for the next two. */
    reservedSpace?: pulumi.Input<DiskSpace>;
    /** Cache above this is reclaimed. */
    maxUsedSpace?: pulumi.Input<DiskSpace>;
    /** Cache is reclaimed until so much of the disk is free, though not below `reservedSpace`. */
    minFreeSpace?: pulumi.Input<DiskSpace>;
    /** How BuildKit reaches registries, by `host[:port]`; default HTTPS. A `RegistryConnection`'s `nodeSettings` fits. */
    registries?: pulumi.Input<Record<string, pulumi.Input<DockerHostRegistry>>>;
    /**
     * Whether container and cache go with the last builder of this machine's buildx store that is on them. Default no: programs on other
     * machines may build there.
     */
    remove?: pulumi.Input<boolean>;
}
