import type { BuildkitdGcPolicy, BuildkitdRegistry, BuildkitdSettings, BuildkitdSpace } from "./buildkitd-settings";
import { parseDuration } from "./duration";
import type { Problem } from "./problems";
import { isRegistry, isRepositoryName } from "./reference";
import { faultIn } from "./schema";
import { parseSize, sizeExpected } from "./size";

/** Everything in a daemon's settings that it would refuse, ignore in silence, or that would open it to strangers. */
export function buildkitdProblems({ grpc, worker = {}, registry = {}, history = {} }: BuildkitdSettings): Problem[] {
    return [
        ...addressProblems(grpc),
        ...spaceProblems(worker, "worker"),
        ...(worker.maxParallelism === undefined || isPositive(worker.maxParallelism)
            ? []
            : [
                  {
                      path: "worker.maxParallelism",
                      found: `${worker.maxParallelism}`,
                      expected: "a whole number from 1",
                  },
              ]),
        ...(worker.gcpolicy ?? []).flatMap((policy, index) => gcProblems(policy, `worker.gcpolicy[${index}]`)),
        ...Object.entries(registry).flatMap(([host, block]) => registryProblems(host, block)),
        ...durationProblems(history.maxAge, "history.maxAge"),
    ];
}

/** `60%`: a whole part of the disk. */
export function isPercentage(size: string): boolean {
    return /^(?:100|[1-9]?\d)%$/.test(size);
}

/** The host of a mirror, which may go on with a path: `mirror:5000/docker.io`. */
export function mirrorHost(mirror: string): string {
    return mirror.split("/")[0] ?? mirror;
}

function addressProblems(grpc: BuildkitdSettings["grpc"]): Problem[] {
    const path = "grpc.address";
    if (grpc.address.length === 0) {
        return [{ path, found: "empty", expected: 'an address such as "tcp://0.0.0.0:1234"' }];
    }
    return grpc.address.flatMap((address, index) => {
        const [, scheme, rest = ""] = /^(tcp|unix|fd):\/\/(.+)$/.exec(address) ?? [];
        if (scheme === undefined || (scheme === "tcp" && !/:\d+$/.test(rest))) {
            const expected = 'an address such as "tcp://0.0.0.0:1234" or "unix:///run/buildkit/buildkitd.sock"';
            return [{ path: `${path}[${index}]`, found: `${JSON.stringify(address)} is not an address`, expected }];
        }
        // Who reaches the daemon runs commands on the machine: over a network, only who has a client certificate.
        if (scheme === "tcp" && !isLoopback(rest) && grpc.tls?.ca === undefined) {
            const found = `${JSON.stringify(address)} is open to everybody who reaches it`;
            return [{ path: `${path}[${index}]`, found, expected: "grpc.tls with cert, key and ca" }];
        }
        return [];
    });
}

function isLoopback(address: string): boolean {
    return /^(?:127(?:\.\d+){3}|localhost|\[::1\]):\d+$/.test(address);
}

function registryProblems(host: string, { http, insecure, ca, keypair, mirrors = [] }: BuildkitdRegistry): Problem[] {
    const path = `registry[${JSON.stringify(host)}]`;
    const problems: Problem[] = [];
    if (!isRegistry(host)) {
        problems.push({ path, found: "not a registry", expected: 'host[:port], such as "registry.example.com:5000"' });
    }
    if (http && insecure) {
        const hint = "plain HTTP has no certificate to skip: keep one of the two";
        problems.push({ path, found: "http with insecure", expected: "http or insecure", hint });
    }
    if (http && ((ca ?? []).length > 0 || (keypair ?? []).length > 0)) {
        const hint = "plain HTTP uses no certificates: leave out http, or ca and keypair";
        problems.push({ path, found: "http with certificates", expected: "http or certificates", hint });
    }
    for (const [index, mirror] of mirrors.entries()) {
        const [name, ...folders] = mirror.split("/");
        const right = isRegistry(name ?? "") && (folders.length === 0 || isRepositoryName(folders.join("/")));
        if (!right) {
            const found = `${JSON.stringify(mirror)} is not a mirror`;
            problems.push({
                path: `${path}.mirrors[${index}]`,
                found,
                expected: "host[:port][/path], without https://",
            });
        }
    }
    return problems;
}

function gcProblems(policy: BuildkitdGcPolicy, path: string): Problem[] {
    return [...spaceProblems(policy, path), ...durationProblems(policy.keepDuration, `${path}.keepDuration`)];
}

function spaceProblems(space: BuildkitdSpace, path: string): Problem[] {
    const { reservedSpace, maxUsedSpace, minFreeSpace } = space;
    const problems = Object.entries({ reservedSpace, maxUsedSpace, minFreeSpace }).flatMap(([name, size]) => {
        const fault = size === undefined || isPercentage(size) ? undefined : faultIn(() => parseSize(size));
        const expected = `${sizeExpected}, or a part of the disk such as "60%"`;
        return fault === undefined ? [] : [{ ...fault, path: `${path}.${name}`, expected }];
    });
    const [reserved, most] = [bytesOf(reservedSpace), bytesOf(maxUsedSpace)];
    if (problems.length === 0 && reserved !== undefined && most !== undefined && reserved > most) {
        const found = `${reservedSpace} is more than maxUsedSpace, ${maxUsedSpace}`;
        problems.push({ path: `${path}.reservedSpace`, found, expected: "at most maxUsedSpace" });
    }
    return problems;
}

/** A size in bytes; nothing for a part of a disk whose size is not known here. */
function bytesOf(size: string | undefined): number | undefined {
    return size === undefined || isPercentage(size) || faultIn(() => parseSize(size)) ? undefined : parseSize(size);
}

function durationProblems(duration: string | undefined, path: string): Problem[] {
    const fault = duration === undefined ? undefined : faultIn(() => parseDuration(duration));
    return fault === undefined ? [] : [{ ...fault, path }];
}

function isPositive(value: number): boolean {
    return Number.isInteger(value) && value >= 1;
}
