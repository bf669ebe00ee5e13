import type { HostNames } from "./names";
import { rootlessEnvironment } from "./rootless";
import type { HostSettings } from "./settings";

/**
 * The settings as the scripts read them (`. /etc/buildfleet/host.env`): every value in single quotes, where a shell takes all
 * characters as they are.
 */
export function hostEnvironment(settings: HostSettings, units: readonly string[], { scripts }: HostNames): string {
    const { buildkit, cache, tls, idle, metrics } = settings;
    const values: Record<string, string | number> = {
        FLEET: settings.fleet,
        NODE: settings.node,
        ARCHITECTURE: settings.architecture,
        RELEASE: settings.release,
        UNITS: units.join(" "),
        BUILDKIT_VERSION: buildkit.version,
        BUILDKIT_URL: buildkit.artifact.url,
        BUILDKIT_SHA256: buildkit.artifact.sha256,
        CACHE_KIND: cache.kind,
        CACHE_VOLUME: cache.kind === "volume" ? cache.volumeId : "",
        BRIDGE_SUBNET: settings.bridgeSubnet,
        PRUNE_ABOVE_PERCENT: settings.pruneAbovePercent,
        TLS_PARAMETER: tls.kind === "ssm" ? tls.parameter : "",
        IDLE_SECONDS: idle?.stopAfterSeconds ?? "",
        DRAIN_SECONDS: settings.drainTimeoutSeconds,
        LOG_GROUP: metrics?.logGroup ?? "",
        METRICS_NAMESPACE: metrics?.namespace ?? "",
        AWS_ENDPOINT: settings.awsEndpoint?.replace(/\/+$/, "") ?? "",
        ...rootlessEnvironment(settings),
    };
    const lines = Object.entries(values).map(([name, value]) => `${name}=${shellQuote(`${value}`)}\n`);
    return `# This builder's settings, for the scripts in ${scripts}.\n${lines.join("")}`;
}

/** A text as one word of a shell. The only character that ends single quotes is put between two pairs of them. */
function shellQuote(text: string): string {
    return `'${text.replaceAll("'", "'\\''")}'`;
}
