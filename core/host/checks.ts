import { FormatError } from "../problems";
import { quote } from "../text";
import { INSTANCE } from "./names";
import type { HostSettings } from "./settings";

/**
 * Refuses what would end up as a file's name, a unit's number or a command's word and is none. What users write is checked
 * where they write it, with a path; this is the last door before a machine's disk.
 *
 * @throws FormatError for the first such value.
 */
export function hostProblem(settings: HostSettings): void {
    const { buildkit, cache, authorities = {}, tls, idle, metrics } = settings;
    text(buildkit.version, /^\w[\w.+-]{0,63}$/, 'a version such as "0.33.1"');
    text(buildkit.artifact.sha256, /^[0-9a-f]{64}$/, "64 hexadecimal digits in lower case");
    text(buildkit.artifact.url, /^https?:\/\/[^\s\p{Cc}]+$/u, "an http or https URL");
    if (cache.kind === "volume") {
        text(cache.volumeId, /^vol-[0-9a-f]{8,17}$/, 'a volume id such as "vol-0123456789abcdef0"');
    }
    if (settings.instance !== undefined) text(settings.instance, INSTANCE, 'an instance such as "team2"');
    for (const name of Object.keys(authorities)) {
        text(name, /^\w[\w.-]{0,127}$/, 'a file name such as "registry.pem"');
    }
    for (const value of texts(settings)) {
        text(value, /^[^\0]*$/, "a text without NUL characters");
    }
    const numbers = [
        ...(tls.kind === "ssm" ? [tls.pollSeconds] : []),
        settings.drainTimeoutSeconds,
        settings.pruneAbovePercent,
        settings.maxParallelism,
        ...(settings.port === undefined ? [] : [settings.port]),
    ];
    for (const value of [
        ...numbers,
        ...(idle ? [idle.stopAfterSeconds] : []),
        ...(metrics ? [metrics.everySeconds] : []),
    ]) {
        if (!Number.isSafeInteger(value) || value < 1) {
            throw new FormatError(`${value} is not a number of the host's settings`, "a whole number from 1");
        }
    }
}

function texts({ fleet, node, release, tls, metrics, awsEndpoint = "", authorities = {} }: HostSettings): string[] {
    const inMetrics = metrics ? [metrics.logGroup, metrics.namespace] : [];
    return [
        fleet,
        node,
        release,
        ...(tls.kind === "ssm" ? [tls.parameter] : []),
        awsEndpoint,
        ...inMetrics,
        ...Object.values(authorities),
    ];
}

function text(value: string, pattern: RegExp, expected: string): void {
    if (!pattern.test(value)) {
        throw new FormatError(`${quote(value)} can't be in a host's settings`, expected);
    }
}
