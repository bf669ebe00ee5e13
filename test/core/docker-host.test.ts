import fc from "fast-check";
import { parse } from "smol-toml";
import { describe, expect, it } from "vitest";
import { dockerPlatform, driverOption, planDockerBuilder, SETTINGS_VARIABLE } from "../../core/docker-host";
import { type DockerHostSettings, dockerHostSettings, parseDockerEndpoint } from "../../core/docker-host-settings";
import { parseSettings } from "../../core/settings";
import type { Size } from "../../core/size";

const check = (value: unknown) => parseSettings("docker", dockerHostSettings(), value);

describe("a Docker host's settings", () => {
    it("may all be left out, and all be set", () => {
        expect(check({})).toEqual({});
        const all = {
            image: "registry.room:5000/moby/buildkit:v0.33.1",
            ...{ instance: "ci", network: "host", memory: "8 GiB", memorySwap: "unlimited", cpus: 1.5 },
            ...{ cpuShares: 512, cpuset: "0-3,6", cgroupParent: "/builds", restart: "always", remove: true },
            ...{ env: { HTTPS_PROXY: "http://proxy.room:3128" }, maxParallelism: 4 },
            ...{ reservedSpace: "10%", maxUsedSpace: "100 GB", minFreeSpace: "5%" },
            registries: { "registry.room:5000": { http: true, mirrors: ["mirror.room/hub"] } },
        };
        expect(check(all)).toEqual(all);
    });

    it.each<[string, unknown, string]>([
        ["an image with a scheme", { image: "https://registry/x" }, 'image: "https://registry/x" is an address'],
        ["an image in capitals", { image: "registry:5000/BuildKit" }, "image: "],
        ["an empty image", { image: "" }, "image: empty"],
        ["an instance in capitals", { instance: "CI" }, 'instance: "CI" is not a name'],
        ["an instance that starts with a digit", { instance: "1" }, 'instance: "1" is not a name'],
        ["another container's network", { network: "container:x" }, 'network: "container:x" is not a network'],
        ["memory in Docker's words", { memory: "1g" }, 'did you mean "1 GB"?'],
        [
            "too little memory",
            { memory: "4 MiB" },
            'memory: 4 MiB is too little for BuildKit; expected at least "64 MiB"',
        ],
        ["swap alone", { memorySwap: "1 GiB" }, "memorySwap: set without memory"],
        ["less swap than memory", { memory: "2 GiB", memorySwap: "1 GiB" }, "memorySwap: less than memory, 2 GiB"],
        ["no CPUs", { cpus: 0 }, "cpus: 0 is out of range"],
        ["CPUs as text", { cpus: "2" }, "cpus: found text"],
        ["no number", { cpus: Number.NaN }, "cpus: NaN is out of range"],
        ["a share of one", { cpuShares: 1 }, "cpuShares: 1 is out of range"],
        ["CPUs backwards", { cpuset: "3-1" }, 'cpuset: "3-1" names no CPUs'],
        ["CPUs that are none", { cpuset: "all" }, 'cpuset: "all" names no CPUs'],
        ["a control group upwards", { cgroupParent: "/a/../b" }, "cgroupParent: "],
        ["an unknown restart", { restart: "allways" }, 'did you mean "always"?'],
        ["a variable that is ours", { env: { BUILDFLEET_SETTINGS: "x" } }, "kept for buildfleet itself"],
        ["a variable that is none", { env: { "A=B": "x" } }, '"A=B" is not a variable\'s name'],
        ["a variable of several lines", { env: { A: "x\ny" } }, "env.A: several lines"],
        ["no parallelism", { maxParallelism: 0 }, "maxParallelism: 0 is out of range"],
        ["space without a unit", { maxUsedSpace: "100" }, 'maxUsedSpace: "100" is no disk space'],
        [
            "a registry with a scheme",
            { registries: { "http://r:5000": { http: true } } },
            '"http://r:5000" is not a registry',
        ],
        ["a mirror with a scheme", { registries: { r: { mirrors: ["https://m"] } } }, '"https://m" is not a mirror'],
        [
            "HTTP with an authority",
            { registries: { "r:1": { http: true, caPem: "x" } } },
            "caPem: set together with http",
        ],
        ["an unknown setting", { memroy: "1 GiB" }, 'did you mean "memory"?'],
    ])("refuse %s", (_case, value, message) => {
        expect(() => check(value)).toThrow(message);
    });

    it("refuse a password in a variable, and do not repeat it", () => {
        const problem = (() => {
            try {
                check({ env: { HTTPS_PROXY: "http://ci:hunter2@proxy:3128" } });
                return "";
            } catch (error) {
                return String(error);
            }
        })();
        expect(problem).toContain("env.HTTPS_PROXY: an address with a password");
        expect(problem).not.toContain("hunter2");
    });

    it.each(["unix:///var/run/docker.sock", "ssh://ci@arm-1.room", "ssh://arm-1:2222", "ssh://root@[fd00::1]:22"])(
        "take %s as a daemon",
        (endpoint) => expect(parseDockerEndpoint(endpoint)).toBe(endpoint),
    );

    it.each<[string, string]>([
        ["tcp://arm-1:2375", "use ssh://user@host"],
        ["/var/run/docker.sock", 'write "unix:///var/run/docker.sock"'],
        ["ssh://ci@arm-1/run/docker.sock", "is not a Docker daemon"],
        ["ssh://-oProxyCommand=x", "is not a Docker daemon"],
        ["docker-container://x", "is not a Docker daemon"],
    ])("refuse %s as a daemon", (endpoint, message) => {
        expect(() => parseDockerEndpoint(endpoint)).toThrow(message);
    });
});

/** How buildx reads one `--driver-opt` (docker/buildx: builder.go, csvToMap): fields of CSV, each `name=value`. */
function readOption(text: string): Record<string, string> {
    const parts: string[] = [];
    let rest = text;
    while (rest !== "") {
        const [whole = "", quoted, bare = ""] = /^(?:"((?:[^"]|"")*)"|([^",]*))(?:,|$)/.exec(rest) ?? [];
        if (whole === "") throw new Error(`not CSV: ${rest}`);
        parts.push(quoted === undefined ? bare : quoted.replaceAll('""', '"'));
        rest = rest.slice(whole.length);
    }
    return Object.fromEntries(parts.map((part) => [part.split("=")[0] ?? "", part.slice(part.indexOf("=") + 1)]));
}

const settings = fc.record(
    {
        image: fc.constantFrom("registry:5000/buildkit:1", "registry:5000/buildkit:2"),
        network: fc.constantFrom("host", "bridge"),
        memory: fc.integer({ min: 64, max: 4096 }).map((n): Size => `${n} MiB`),
        cpus: fc.integer({ min: 1, max: 64 }).map((n) => n / 4),
        cpuset: fc.constantFrom("0", "0,2", "0-3"),
        env: fc.dictionary(fc.stringMatching(/^[A-Z_]{1,8}$/), fc.string({ maxLength: 12 })),
        maxParallelism: fc.integer({ min: 1, max: 256 }),
        registries: fc.dictionary(
            fc.stringMatching(/^[a-z]{1,8}:5000$/),
            fc.oneof(
                fc.constant({ http: true, mirrors: ["m:1", "a:1"] }),
                fc.record({ caPem: fc.string({ minLength: 1 }) }),
            ),
        ),
    },
    { requiredKeys: [] },
) as fc.Arbitrary<DockerHostSettings>;

/** The same with the names of all tables in an order. */
function ordered<T>(value: T, direction: 1 | -1): T {
    if (typeof value !== "object" || value === null || Array.isArray(value)) return value;
    const entries = Object.entries(value).map(([name, inner]): [string, unknown] => [name, ordered(inner, direction)]);
    return Object.fromEntries(entries.sort(([left], [right]) => direction * (left < right ? -1 : 1))) as T;
}

describe("the builder that is made of them", () => {
    it("has limits in the driver's units, and names that the driver makes", () => {
        const plan = planDockerBuilder(
            "Arm 1",
            { memory: "1 GiB", memorySwap: "unlimited", cpus: 0.5, cpuset: "0,2" },
            "/f",
        );
        expect(plan).toMatchObject({
            instance: "buildfleet-arm-1",
            container: "buildx_buildkit_buildfleet-arm-1",
            volume: "buildx_buildkit_buildfleet-arm-1_state",
        });
        expect(plan.options).toEqual({
            ...{ "cpu-period": "100000", "cpu-quota": "50000", "cpuset-cpus": "0,2" },
            ...{ memory: "1073741824", "memory-swap": "-1", [`env.${SETTINGS_VARIABLE}`]: plan.fingerprint },
        });
    });

    it("is told from one of other settings, and from no other: where its files lie and their order do not count", () => {
        fc.assert(
            fc.property(settings, settings, (one, two) => {
                const print = (value: DockerHostSettings, folder: string) =>
                    planDockerBuilder("n", value, folder).fingerprint;
                expect(print(one, "/a")).toBe(print(JSON.parse(JSON.stringify(one)), "/somewhere/else"));
                expect(print(one, "/a")).toBe(print(ordered(one, -1), "/a"));
                const essence = (value: DockerHostSettings) =>
                    JSON.stringify(ordered({ env: {}, registries: {}, ...value }, 1));
                if (essence(one) !== essence(two)) expect(print(one, "/a")).not.toBe(print(two, "/a"));
            }),
        );
    });

    it("changes when a file of an authority does", () => {
        const value = { registries: { "r:1": { ca: ["/etc/room.pem"] } } };
        const print = (content: string) => planDockerBuilder("n", value, "/f", () => content).fingerprint;
        expect(print("a")).not.toBe(print("b"));
    });

    it("has its registries in buildkitd.toml, with every file that it names", () => {
        fc.assert(
            fc.property(settings, (value) => {
                const { configuration, files } = planDockerBuilder("n", value, "/folder");
                const { registry = {} } = parse(configuration) as { registry?: Record<string, { ca?: string[] }> };
                expect(Object.keys(registry)).toEqual(expect.arrayContaining(Object.keys(value.registries ?? {})));
                const named = Object.values(registry).flatMap(({ ca = [] }) => ca);
                expect(named.sort()).toEqual(files.map(({ name }) => `/folder/${name}`).sort());
            }),
        );
    });

    it("reaches buildx whole, whatever commas and quotes a value has", () => {
        fc.assert(
            fc.property(fc.string(), (value) => {
                expect(readOption(driverOption("env.A", value))).toEqual({ "env.A": value });
            }),
        );
    });

    it.each([
        ["x86_64", "linux/amd64"],
        ["aarch64", "linux/arm64"],
        ["armv7l", "linux/arm/v7"],
        ["riscv64", "linux/riscv64"],
    ])("runs where Docker says %s: %s", (architecture, platform) => {
        expect(dockerPlatform("linux", architecture)).toBe(platform);
    });
});
