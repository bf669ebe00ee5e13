import { stringify } from "smol-toml";
import { buildkitdProblems, isPercentage, mirrorHost } from "./buildkitd-checks";
import type { BuildkitdRegistry, BuildkitdSettings, BuildkitdSpace, DiskSpace } from "./buildkitd-settings";
import { type Duration, parseDuration } from "./duration";
import { SettingsError } from "./problems";
import { parseSize, type Size } from "./size";

export type { BuildkitdRegistry, BuildkitdSettings } from "./buildkitd-settings";

/**
 * Writes `buildkitd.toml` (BuildKit 0.33, docs/buildkitd.toml.md). The OCI worker is switched on and containerd's off, so that
 * a daemon never picks up a containerd that happens to run on the machine. A registry's mirrors each get a block.
 *
 * @throws SettingsError naming every setting that the daemon would refuse, or worse, take the wrong way.
 */
export function buildkitdToml(settings: BuildkitdSettings): string {
    const problems = buildkitdProblems(settings);
    if (problems.length > 0) {
        throw new SettingsError("buildkitd", problems);
    }
    const { root, grpc, log, history, otel } = settings;
    const registry = registryBlocks(settings.registry ?? {});
    const document = defined({
        root,
        grpc: defined({ address: grpc.address, tls: grpc.tls && defined({ ...grpc.tls }) }),
        log: log && defined({ ...log }),
        history: history && defined({ maxAge: seconds(history.maxAge), maxEntries: history.maxEntries }),
        otel: otel && { socketPath: otel.socketPath },
        worker: { oci: ociWorker(settings.worker ?? {}), containerd: { enabled: false } },
        registry: Object.keys(registry).length === 0 ? undefined : registry,
    });
    return `${stringify(document)}\n`;
}

function ociWorker(worker: NonNullable<BuildkitdSettings["worker"]>): Record<string, unknown> {
    const { maxParallelism, gc = true, gcpolicy, reservedSpace, maxUsedSpace, minFreeSpace, ...same } = worker;
    return defined({
        enabled: true,
        ...same,
        gc,
        ...space({ reservedSpace, maxUsedSpace, minFreeSpace }),
        "max-parallelism": maxParallelism,
        gcpolicy: gcpolicy?.map(({ all, filters, keepDuration, ...sizes }) =>
            defined({ all, filters, keepDuration: seconds(keepDuration), ...space(sizes) }),
        ),
    });
}

/** A mirror without a block of its own would be asked with BuildKit's defaults; writing the empty block makes that visible. */
function registryBlocks(registries: Record<string, BuildkitdRegistry>): Record<string, Record<string, unknown>> {
    const blocks: Record<string, Record<string, unknown>> = {};
    for (const { mirrors = [] } of Object.values(registries)) {
        for (const mirror of mirrors) {
            blocks[mirrorHost(mirror)] = {};
        }
    }
    for (const [host, registry] of Object.entries(registries)) {
        blocks[host] = defined({ ...registry });
    }
    return blocks;
}

/** BuildKit takes sizes as bytes (its own "GB" are powers of 1024), or as percents of the disk. */
function space(sizes: BuildkitdSpace): Record<string, unknown> {
    const { reservedSpace, maxUsedSpace, minFreeSpace } = sizes;
    const inBytes = (size: DiskSpace | undefined) =>
        size === undefined || isPercentage(size) ? size : parseSize(size as Size);
    return defined({
        reservedSpace: inBytes(reservedSpace),
        maxUsedSpace: inBytes(maxUsedSpace),
        minFreeSpace: inBytes(minFreeSpace),
    });
}

function seconds(duration: Duration | undefined): number | undefined {
    return duration === undefined ? undefined : Math.round(parseDuration(duration) / 1000);
}

/** The same without what is not set: TOML has no value for "not set". */
function defined<T extends Record<string, unknown>>(table: T): Record<string, unknown> {
    return Object.fromEntries(Object.entries(table).filter(([, value]) => value !== undefined));
}
