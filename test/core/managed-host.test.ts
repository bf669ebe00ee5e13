import fc from "fast-check";
import { parse as parseToml } from "smol-toml";
import { describe, expect, it } from "vitest";
import { overlap, parseCidr, within } from "../../core/cidr";
import {
    driftOf,
    hostNames,
    hostScript,
    INSTANCE,
    type ManagedHostPlan,
    type ManagedSettings,
    planManagedHost,
    readFacts,
} from "../../core/host";
import { rootlessNetworks } from "../../core/host/rootless";

const settings: ManagedSettings = {
    fleet: "room",
    node: "arm-1",
    architecture: "arm64",
    buildkit: {
        version: "0.33.1",
        artifact: { url: "http://mirror.room/buildkit.tar.gz", sha256: "0123456789abcdef".repeat(4) },
    },
    gc: { reservedSpace: "10%", maxUsedSpace: "60%", minFreeSpace: "15%" },
    pruneAbovePercent: 85,
    maxParallelism: 4,
    bridgeSubnet: "198.18.0.0/16",
    drainTimeoutSeconds: 900,
};
const secrets = {
    tls: { certificate: "CERTIFICATE", privateKey: "TLS KEY", ca: "CA" },
    registries: {
        "registry.room:5000": {
            caPem: "REGISTRY CA",
            clientCertificate: { certificate: "C", privateKey: "CLIENT KEY" },
        },
    },
};
const plan = (changed: Partial<ManagedSettings> = {}) => planManagedHost({ ...settings, ...changed }, secrets);
const contentOf = ({ files }: ManagedHostPlan, path: string) => files.find((file) => file.path === path)?.content;

/** What look.sh tells of a machine that is as planned. */
function told({ manifest, active, enabled, startDigest, tlsVersion, artifact }: ManagedHostPlan): string[] {
    const files = manifest.trim().split("\n");
    return [
        ...["machine aarch64", "system Debian GNU/Linux 12 (bookworm)", "owner p/s/room/arm-1"],
        ...files.map((line) => {
            const [sha256, mode = "", ...path] = line.split(" ");
            return `file ${mode.slice(1)} ${sha256} ${path.join(" ")}`;
        }),
        ...active.map((unit) => `unit ${unit} active ${enabled.includes(unit) ? "enabled" : "static"}`),
        ...[`link tls ${tlsVersion}`, `link buildkit ${artifact}`, `started ${startDigest}`],
    ];
}

describe("a host that is managed over SSH", () => {
    it("has its keys in files of root's alone, and buildkitd.toml names them", () => {
        const { files } = plan();
        const secretFiles = files.filter(({ content }) => /KEY/.test(content) && !/^#/.test(content));
        expect(secretFiles.map(({ mode }) => mode)).toEqual(["0600", "0600"]);
        const toml = parseToml(contentOf(plan(), "/etc/buildfleet/buildkitd.toml") ?? "") as {
            registry: Record<string, { ca: string[]; keypair: { key: string; cert: string }[] }>;
        };
        const { ca, keypair } = toml.registry["registry.room:5000"] ?? { ca: [], keypair: [] };
        const named = [...ca, ...keypair.flatMap(({ key, cert }) => [key, cert])];
        expect(named.map((path) => contentOf(plan(), path))).toEqual(["REGISTRY CA", "CLIENT KEY", "C"]);
    });

    it("has nothing that only EC2 has", () => {
        const paths = plan().files.map(({ path }) => path);
        expect(paths.filter((path) => /watch|metrics|idle|poll|activate|ready$/.test(path))).toEqual([]);
        expect(contentOf(plan(), "/usr/local/libexec/buildfleet/tls.sh")).not.toContain("aws_call");
    });

    it("limits BuildKit and its build steps together", () => {
        const limited = plan({ limits: { memoryBytes: 2 ** 34, cpus: 7.5 } });
        const slice = contentOf(limited, "/etc/systemd/system/buildfleet.slice");
        expect(slice).toContain(`[Slice]\nMemoryMax=${2 ** 34}\nMemorySwapMax=0\nCPUQuota=750%\n`);
        const service = contentOf(limited, "/etc/systemd/system/buildkitd.service.d/limits.conf");
        expect(service).toBe("[Service]\nSlice=buildfleet.slice\n");
        const toml = contentOf(limited, "/etc/buildfleet/buildkitd.toml");
        expect(toml).toContain('defaultCgroupParent = "/buildfleet.slice"');
        expect(contentOf(plan(), "/etc/buildfleet/buildkitd.toml")).not.toContain("Cgroup");
    });

    it("is started anew for what BuildKit reads at its start, and for nothing else", () => {
        const { startDigest } = plan();
        for (const changed of [{ drainTimeoutSeconds: 5 }, { pruneAbovePercent: 50 }, { fleet: "other" }]) {
            expect(plan(changed)).toMatchObject({ startDigest });
        }
        const artifact = { ...settings.buildkit.artifact, sha256: "f".repeat(64) };
        for (const changed of [
            { maxParallelism: 5 },
            { bridgeSubnet: "10.9.0.0/16" },
            { limits: { cpus: 1 } },
            { buildkit: { ...settings.buildkit, artifact } },
        ]) {
            expect(plan(changed).startDigest).not.toBe(startDigest);
        }
        const other = planManagedHost(settings, { ...secrets, tls: { ...secrets.tls, certificate: "RENEWED" } });
        expect(other.startDigest).not.toBe(startDigest);
    });
});

describe("an instance", () => {
    const instance = { instance: "two", port: 8373 };

    /** Names of a machine's first builder: files, units, devices, its port. */
    const OTHERS = [
        /\/(?:etc|run|opt|libexec)\/buildfleet(?![\w?])/,
        /\/(?:lib|run)\/buildkit(?![\w-])/,
        /buildkitd[.]service/,
        /buildfleet-(?!registry)/,
        /buildfleet[.]slice|buildfleet0|8372|^User=buildfleet$/m,
    ];

    it.each([{}, { rootless: true }, { limits: { cpus: 1 } }])("has no name of the first one's with %j", (changed) => {
        const { files, names, enabled, active } = plan({ ...instance, ...changed });
        for (const script of ["apply.sh", "claims.sh", "look.sh", "uninstall.sh"])
            files.push({ path: `/${script}`, mode: "0755", content: hostScript(script, names) });
        for (const text of [...enabled, ...active]) expect(text).toContain("_two");
        for (const pattern of OTHERS) {
            const found = files.filter(({ path, content }) => pattern.test(`${path}\n${content}`));
            expect(found.map(({ path }) => [path, pattern])).toEqual([]);
        }
    });

    it("has what its user wrote as it was written", () => {
        const url = "http://mirror.room/opt/buildfleet/buildfleet-8372.tar.gz";
        const buildkit = { ...settings.buildkit, artifact: { ...settings.buildkit.artifact, url } };
        const written = contentOf(plan({ ...instance, buildkit }), "/etc/buildfleet_two/host.env");
        expect(written).toContain(`BUILDKIT_URL='${url}'`);
    });

    it("shares no file, unit, device or part of a slice with another one", () => {
        const name = fc.stringMatching(INSTANCE);
        fc.assert(
            fc.property(fc.option(name, { nil: undefined }), name, (one, other) => {
                fc.pre(one !== other);
                const [a, b] = [hostNames({ instance: one }), hostNames({ instance: other })];
                expect(b.bridge.length).toBeLessThanOrEqual(15);
                // systemd puts a-b.slice into a.slice.
                expect(b.slice).not.toMatch(/-/);
                for (const field of [
                    "configuration",
                    "scripts",
                    "root",
                    "sockets",
                    "slice",
                    "bridge",
                    "user",
                ] as const) {
                    expect(a[field]).not.toBe(b[field]);
                    expect(a[field].startsWith(`${b[field]}/`) || b[field].startsWith(`${a[field]}/`)).toBe(false);
                }
                for (const unit of ["buildkitd.service", "buildfleet-drain.service", "buildfleet-change"])
                    expect(a.rename(unit)).not.toBe(b.rename(unit));
            }),
        );
    });
});

describe("a builder without root", () => {
    it("is in the slice as a whole, and has two halves of the network", () => {
        const toml = contentOf(plan({ rootless: true, limits: { cpus: 1 } }), "/etc/buildfleet/buildkitd.toml");
        expect(toml).toContain("rootless = true");
        expect(toml).toContain('bridgeSubnet = "198.18.0.0/17"');
        expect(toml).not.toContain("defaultCgroupParent");
        const { files } = plan({ rootless: true });
        expect(files.map(({ path }) => path)).toContain("/usr/local/libexec/buildfleet/rootless.sh");
        expect(contentOf(plan({ rootless: true }), "/etc/systemd/system/buildkitd.service.d/rootless.conf")).toBe(
            "[Service]\nEnvironment=ROOTLESS_NETWORK=198.18.128.0/17\n",
        );
    });

    it("has networks that are in the given one, and not in each other", () => {
        fc.assert(
            fc.property(fc.nat(255), fc.nat(255), fc.integer({ min: 16, max: 24 }), (a, b, prefix) => {
                const whole = parseCidr(`10.${a}.${prefix === 24 ? b : 0}.0/${prefix}`);
                const halves = Object.values(rootlessNetworks(whole.text)).map(parseCidr);
                const [one = whole, other = whole] = halves;
                expect(within(one, whole) && within(other, whole) && !overlap(one, other)).toBe(true);
            }),
        );
        expect(() => rootlessNetworks("10.0.0.0/25")).toThrow("too small");
    });
});

describe("drift", () => {
    it("is none on a machine that is as planned", () => {
        expect(driftOf(plan(), readFacts(told(plan()).join("\n")))).toEqual([]);
    });

    it("is seen whatever one line is another one, is missing, or is there besides", () => {
        const lines = told(plan());
        const facts = (some: string[]) => readFacts(some.join("\n"));
        // Who and what the machine is, is looked at before.
        fc.assert(
            fc.property(fc.integer({ min: 3, max: lines.length - 1 }), fc.boolean(), (at, drop) => {
                const line = lines[at] ?? "";
                const words = line.split(" ");
                const place = words[0] === "file" || words[0] === "unit" || words[0] === "link" ? 2 : 1;
                const other = words.map((word, i) => (i === place ? "other" : word)).join(" ");
                const changed = drop ? lines.filter((_, i) => i !== at) : lines.map((it, i) => (i === at ? other : it));
                expect(driftOf(plan(), facts(changed))).toHaveLength(1);
            }),
        );
        const drop = facts([...lines, "file 644 abc /etc/systemd/system/buildkitd.service.d/override.conf"]);
        expect(driftOf(plan(), drop)).toEqual(["/etc/systemd/system/buildkitd.service.d/override.conf is not ours"]);
        expect(driftOf(plan(), facts([...lines, "refusing update"]))).toHaveLength(1);
        // A drain for another reason, and a unit on its way up, end by themselves.
        const busy = lines.map((line) =>
            line.replace("unit buildkitd.service active", "unit buildkitd.service activating"),
        );
        expect(driftOf(plan(), facts([...busy, "refusing stop"]))).toEqual([]);
    });

    it("is not guessed from what is not understood", () => {
        expect(() => readFacts("machine x86_64\nbash: warning")).toThrow('the machine said "bash: warning"');
    });
});
