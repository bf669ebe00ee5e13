import { describe, expect, it } from "vitest";
import { LocalFleet, type LocalFleetArgs, LocalRegistry, type LocalRegistryArgs, SettingsError } from "../../index";
import { declare, find, inventory } from "../support/declared";

const declareFleet = (args?: LocalFleetArgs) =>
    declare(() => {
        const { nodes, client } = new LocalFleet("builders", args);
        return { nodes, client };
    });

const nodeResources = (node: string) => [`Certificate builders-${node}-cert`, `LocalProcess builders-${node}`];
const ONCE = [
    "buildfleet:index:LocalFleet builders",
    "CertificateAuthority builders-ca",
    "Certificate builders-client",
];

describe("LocalFleet", () => {
    it.each<[LocalFleetArgs, Record<string, string>]>([
        [{}, { amd64: "linux/amd64", arm64: "linux/arm64" }],
        [{ platforms: ["linux/arm64"] }, { arm64: "linux/arm64" }],
        [
            { platforms: ["linux/amd64", "linux/aarch64"], nodes: { "linux/arm64": 3 } },
            { amd64: "linux/amd64", "arm64-1": "linux/arm64", "arm64-2": "linux/arm64", "arm64-3": "linux/arm64" },
        ],
        [{ platforms: ["linux/arm/v7"], nodes: { "linux/arm/v7": 1 } }, { "arm-v7": "linux/arm/v7" }],
    ])("%j has the nodes %j", async (args, nodes) => {
        const { resources, result } = await declareFleet(args);
        expect(inventory(resources)).toEqual([...Object.keys(nodes).flatMap(nodeResources), ...ONCE].sort());
        expect(Object.fromEntries(result.nodes.map(({ name, platforms }) => [name, platforms]))).toEqual(
            Object.fromEntries(Object.entries(nodes).map(([name, platform]) => [name, [platform]])),
        );
        const parents = resources.filter(({ name }) => name !== "builders").map(({ parent }) => parent);
        expect(new Set(parents)).toEqual(new Set(["builders"]));
    });

    it("gives each node a certificate, folders and a cache of its own", async () => {
        const { resources, result } = await declareFleet({ folder: "state/fleet" });
        for (const node of ["amd64", "arm64"]) {
            expect(find(resources, `builders-${node}-cert`).inputs).toMatchObject({
                commonName: node,
                usage: "server",
                dnsNames: [node, "localhost"],
                ipAddresses: ["127.0.0.1"],
            });
            const { inputs, secrets } = find(resources, `builders-${node}`);
            expect(inputs).toMatchObject({
                command: "buildkitd",
                folder: `state/fleet/${node}`,
                dataFolder: `state/fleet/${node}-cache`,
            });
            expect(inputs.files).toMatchObject({
                "ca.pem": "ca and the one before",
                "cert.pem": `certificate builders-${node}-cert`,
                "key.pem": `key builders-${node}-cert`,
            });
            expect(secrets).toEqual(["files"]);
            expect(result.nodes.find(({ name }) => name === node)).toMatchObject({
                endpoint: expect.stringMatching(/^tcp:\/\/127\.0\.0\.1:\d+$/),
                serverName: node,
            });
        }
    });

    it("lets in clients of its own authority only", async () => {
        const { resources, result } = await declareFleet();
        const { "buildkitd.toml": toml } = find(resources, "builders-amd64").inputs.files;
        expect(toml).toContain('ca = "{folder}/ca.pem"');
        expect(toml).toContain('address = [ "tcp://127.0.0.1:{port}" ]');
        expect(find(resources, "builders-client").inputs.usage).toBe("client");
        expect(result.client).toEqual({
            ca: "ca and the one before",
            certificate: "certificate builders-client",
            privateKey: "key builders-client",
        });
    });

    it("tells every node how registries are reached, and how much it may do at a time", async () => {
        const { resources } = await declareFleet({
            registries: { "registry.example.com:5000": { http: true } },
            maxParallelism: 2,
        });
        for (const node of ["amd64", "arm64"]) {
            const { "buildkitd.toml": toml } = find(resources, `builders-${node}`).inputs.files;
            expect(toml).toMatch(/\[registry\."registry\.example\.com:5000"\]\nhttp = true/);
            expect(toml).toContain("max-parallelism = 2");
        }
    });

    it("keeps the authority's key secret on its way", async () => {
        const { resources } = await declareFleet();
        expect(find(resources, "builders-ca").secretOutputs).toEqual(["privateKey", "next"]);
        expect(find(resources, "builders-client").secrets).toEqual(["authority"]);
    });

    it("limits what a node and its steps take, where it is asked to, and says nothing of it elsewhere", async () => {
        const limited = await declareFleet({ memory: "4 GiB", cpus: 1.5 });
        for (const node of ["amd64", "arm64"]) {
            const { limits, files } = find(limited.resources, `builders-${node}`).inputs;
            expect(limits).toEqual({ memory: 4 * 2 ** 30, cpus: 1.5 });
            expect(files["buildkitd.toml"]).toContain('defaultCgroupParent = "/{group}"');
        }
        const { inputs } = find((await declareFleet()).resources, "builders-amd64");
        expect(inputs).not.toHaveProperty("limits");
        expect(inputs.files["buildkitd.toml"]).not.toMatch(/cgroup/i);
        const refused = await declareFleet({ memory: "1 MiB", cpus: 0 }).catch((error) => error);
        expect(refused).toBeInstanceOf(SettingsError);
        expect(refused.message).toMatch(/memory: 1 MiB is too little.*cpus: 0 is out of range/s);
    });

    it("transform has the last word on nodes", async () => {
        const { resources } = await declareFleet({
            transform: { node: (args) => ({ ...args, environment: { HTTPS_PROXY: "http://proxy:3128" } }) },
        });
        expect(find(resources, "builders-arm64").inputs.environment).toEqual({ HTTPS_PROXY: "http://proxy:3128" });
    });
});

describe("LocalRegistry", () => {
    const declareRegistry = (args?: LocalRegistryArgs) =>
        declare(() => {
            const registry = new LocalRegistry("images", args);
            return {
                address: registry.address,
                nodes: registry.nodeSettings,
                repository: registry.repository("team/app"),
            };
        });

    it("is one process, whose images outlive it", async () => {
        const { resources, result } = await declareRegistry();
        expect(inventory(resources)).toEqual(["LocalProcess images", "buildfleet:index:LocalRegistry images"]);
        const { inputs, parent } = find(resources, "images", "LocalProcess");
        expect(parent).toBe("images");
        expect(inputs).toMatchObject({ command: "registry", port: 5000, keepData: true, readinessPath: "/v2/" });
        expect(inputs.files["config.yml"]).toContain("addr: 127.0.0.1:{port}");
        expect(result).toEqual({
            address: "127.0.0.1:5000",
            nodes: { "127.0.0.1:5000": { http: true } },
            repository: { name: "127.0.0.1:5000/team/app", connection: { plainHttp: true } },
        });
    });

    it("takes port, folders and transform", async () => {
        const { resources, result } = await declareRegistry({
            port: 5050,
            storage: "bytes",
            folder: "process",
            transform: { process: (args) => ({ ...args, readinessSeconds: 5 }) },
        });
        const { inputs } = find(resources, "images", "LocalProcess");
        expect(inputs).toMatchObject({ port: 5050, dataFolder: "bytes", folder: "process", readinessSeconds: 5 });
        expect(result.address).toBe("127.0.0.1:5050");
    });
});
