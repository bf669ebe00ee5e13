import { buildkitdToml } from "./buildkitd-toml";
import { sha256 } from "./digest";
import type { DockerHostSettings } from "./docker-host-settings";
import { type NodeRegistryFile, nodeRegistries } from "./node-registries";
import { parseSize } from "./size";

/** Variable in the container's environment that tells what it was made from. */
export const SETTINGS_VARIABLE = "BUILDFLEET_SETTINGS";
/** Microseconds; the kernel's own default (Documentation/scheduler/sched-bwc.rst). */
const CPU_PERIOD = 100_000;

/** What buildx is told, so that its docker-container driver makes the builder that the settings describe. */
export interface DockerBuilderPlan {
    /** The node's name in buildx's store. */
    instance: string;
    /** Names of what the driver makes from it (docker/buildx: driver/docker-container/driver.go). */
    container: string;
    volume: string;
    /** `--driver-opt`s; one is {@link SETTINGS_VARIABLE}. */
    options: Record<string, string>;
    /** `buildkitd.toml`; it names `files` in {@link DockerBuilderPlan.folder}. */
    configuration: string;
    files: NodeRegistryFile[];
    /** Changes with everything above: a container with another one is made anew. */
    fingerprint: string;
}

/**
 * Settings as the driver's options and files.
 *
 * @param folder where the files will be for buildx, which copies them into the container
 * @param read the content of a file that `registries.*.ca` names; default: it counts by its path alone
 */
export function planDockerBuilder(
    node: string,
    settings: DockerHostSettings,
    folder: string,
    read: (path: string) => string = (path) => path,
): DockerBuilderPlan {
    const registries = inOrder(settings.registries ?? {});
    const { registry, files } = nodeRegistries(registries, folder);
    const configuration = buildkitdToml({
        // Its own default, which `buildctl dial-stdio` in the container dials.
        grpc: { address: ["unix:///run/buildkit/buildkitd.sock"] },
        worker: workerOf(settings),
        registry,
    });
    const limits = driverOptions(settings);
    const ownFiles = Object.values(registries).flatMap(({ ca = [] }) => ca.map(read));
    // The folder is another one each time, and no part of what is made.
    const content = [limits, configuration.replaceAll(`${folder}/`, ""), files, ownFiles];
    const fingerprint = sha256(Buffer.from(JSON.stringify(content))).slice("sha256:".length, "sha256:".length + 32);
    const instance = settings.instance ?? `buildfleet-${node.toLowerCase().replace(/[^a-z0-9._-]/g, "-")}`;
    const container = containerOf(instance);
    return {
        ...{ instance, container, volume: `${container}_state` },
        ...{ configuration, files, fingerprint },
        options: { ...limits, [`env.${SETTINGS_VARIABLE}`]: fingerprint },
    };
}

/** With the names of all tables in order: the same settings are the same text. */
function inOrder<T>(value: T): T {
    if (typeof value !== "object" || value === null || Array.isArray(value)) return value;
    const names = Object.keys(value).sort() as (keyof T)[];
    return Object.fromEntries(names.map((name) => [name, inOrder(value[name])])) as T;
}

/** The container's name, as the driver makes it of the node's. */
export const containerOf = (instance: string): string => `buildx_buildkit_${instance}`;

function workerOf({ maxParallelism, reservedSpace, maxUsedSpace, minFreeSpace }: DockerHostSettings) {
    return defined({ maxParallelism, reservedSpace, maxUsedSpace, minFreeSpace });
}

function driverOptions(settings: DockerHostSettings): Record<string, string> {
    const { image, network, memory, memorySwap, cpus, cpuShares, cpuset, cgroupParent, restart } = settings;
    const quota = cpus === undefined ? {} : { "cpu-period": CPU_PERIOD, "cpu-quota": Math.round(cpus * CPU_PERIOD) };
    const options = defined({
        ...{ image, network, ...quota, "cpu-shares": cpuShares, "cpuset-cpus": cpuset },
        ...{ "cgroup-parent": cgroupParent, "restart-policy": restart },
        memory: memory === undefined ? undefined : parseSize(memory),
        "memory-swap":
            memorySwap === undefined || memorySwap === "unlimited" ? memorySwap && -1 : parseSize(memorySwap),
        ...Object.fromEntries(Object.entries(settings.env ?? {}).map(([name, value]) => [`env.${name}`, value])),
    });
    return inOrder(Object.fromEntries(Object.entries(options).map(([name, value]) => [name, String(value)])));
}

function defined<T extends object>(value: T): { [K in keyof T]?: Exclude<T[K], undefined> } {
    return Object.fromEntries(Object.entries(value).filter(([, one]) => one !== undefined)) as {
        [K in keyof T]?: Exclude<T[K], undefined>;
    };
}

/**
 * One `--driver-opt`: buildx reads each as a line of comma-separated values (tonistiigi/go-csvvalue), so one with a comma or a
 * quote in it is quoted as a whole.
 */
export function driverOption(name: string, value: string): string {
    const text = `${name}=${value}`;
    return /[",]/.test(text) ? `"${text.replaceAll('"', '""')}"` : text;
}

/** What Docker calls an architecture (`uname -m`), as a platform. */
export function dockerPlatform(os: string, architecture: string): string {
    const known: Record<string, string> = { x86_64: "amd64", aarch64: "arm64", armv7l: "arm/v7", armv6l: "arm/v6" };
    return `${os}/${known[architecture] ?? architecture}`;
}
