import * as pulumi from "@pulumi/pulumi";
import { describe, expect, it } from "vitest";
import { ManagedFleet, type ManagedFleetArgs } from "../../index";
import { declare, find, inventory } from "../support/declared";

const sha256 = "0123456789abcdef".repeat(4);
const artifacts = {
    amd64: { url: "http://mirror.room/buildkit-amd64.tar.gz", sha256 },
    arm64: { url: "http://mirror.room/buildkit-arm64.tar.gz", sha256 },
};
const HOST_KEY = `ssh-ed25519 ${"A".repeat(68)}`;
const args: ManagedFleetArgs = {
    hosts: {
        "arm-1": {
            ssh: { host: "10.1.0.7", user: "builder", privateKey: "PRIVATE", hostKey: HOST_KEY },
            architecture: "arm64",
            memory: "16 GiB",
            cpus: 7.5,
            maxBuilds: 3,
        },
        "x86-1": { ssh: { host: "x86-1.room" }, architecture: "amd64", address: "fd00::7" },
    },
    buildkit: { version: "0.33.1", artifacts },
    registries: {
        "registry.room:5000": {
            caPem: "CA",
            clientCertificate: { certificate: "C", privateKey: pulumi.secret("KEY") },
        },
    },
};
const declareFleet = (given: ManagedFleetArgs = args) =>
    declare(() => {
        const { nodes, client, registries } = new ManagedFleet("room", given);
        return { nodes, client, registries };
    });

describe("ManagedFleet", () => {
    it("has an authority, a client, and per host a certificate and the host", async () => {
        const { resources, result } = await declareFleet();
        expect(inventory(resources)).toEqual(
            [
                "buildfleet:index:ManagedFleet room",
                "CertificateAuthority room-ca",
                "Certificate room-client",
                ...["arm-1", "x86-1"].flatMap((host) => [`Certificate room-${host}-cert`, `ManagedHost room-${host}`]),
            ].sort(),
        );
        expect(result.nodes).toEqual([
            {
                ...{ name: "arm-1", endpoint: "tcp://10.1.0.7:8372", platforms: ["linux/arm64"], serverName: "arm-1" },
                maxBuilds: 3,
            },
            { name: "x86-1", endpoint: "tcp://[fd00::7]:8372", platforms: ["linux/amd64"], serverName: "x86-1" },
        ]);
        expect(result.client).toMatchObject({ ca: "ca and the one before", privateKey: "key room-client" });
    });

    it("gives each host what is its own, and keeps keys secret", async () => {
        const { resources } = await declareFleet();
        const arm = find(resources, "room-arm-1");
        expect(arm.inputs).toMatchObject({
            ssh: { host: "10.1.0.7", user: "builder", privateKey: "PRIVATE", hostKey: HOST_KEY, sudo: true },
            host: "10.1.0.7",
            settings: {
                node: "arm-1",
                architecture: "arm64",
                buildkit: { version: "0.33.1", artifact: artifacts.arm64 },
                drainTimeoutSeconds: 900,
                limits: { memoryBytes: 16 * 2 ** 30, cpus: 7.5 },
            },
            tls: { certificate: "certificate room-arm-1-cert", ca: "ca and the one before" },
            registries: { "registry.room:5000": { caPem: "CA" } },
        });
        expect(arm.inputs.owner).toMatch(/^[^/]+\/[^/]+\/room\/arm-1$/);
        expect(arm.secrets.sort()).toEqual(["registries", "ssh", "tls"]);
        expect(arm.secretOutputs.sort()).toEqual(["registries", "ssh", "tls"]);
        const x86 = find(resources, "room-x86-1").inputs;
        expect(x86.ssh).toEqual({ host: "x86-1.room", user: "root", sudo: false });
        expect(x86.settings.limits).toBeUndefined();
        expect(find(resources, "room-arm-1-cert").inputs).toMatchObject({ usage: "server", dnsNames: ["arm-1"] });
    });

    it.each<[unknown, string]>([
        [{ hosts: {} }, "hosts: empty"],
        [{ hosts: { Arm: args.hosts["arm-1"] } }, 'hosts.Arm: "Arm" is not a host\'s name'],
        [
            host({ ssh: { host: "root@arm-1" } }),
            'hosts.arm.ssh.host: "root@arm-1" is not a host; the user has a setting',
        ],
        [host({ ssh: { host: "-oProxyCommand=x" } }), "hosts.arm.ssh.host"],
        [host({ ssh: { host: "a", port: 0 } }), "hosts.arm.ssh.port: 0 is out of range"],
        [host({ ssh: { host: "a", user: "-l" } }), "hosts.arm.ssh.user"],
        [
            host({ ssh: { host: "a", hostKey: `a ${HOST_KEY}` } }),
            "hosts.arm.ssh.hostKey: not a host's public key; leave the host's name out",
        ],
        [host({ ssh: { host: "a", hostKey: "-----BEGIN OPENSSH PRIVATE KEY-----" } }), "this is a private key"],
        [host({ ssh: { host: "a", privateKey: 7 } }), "hosts.arm.ssh.privateKey: found a number"],
        [host({ ssh: { host: "a", pasword: "x" } }), "hosts.arm.ssh.pasword: not a setting"],
        [host({ architecture: "x86_64" }), 'hosts.arm.architecture: "x86_64" is not one of the choices'],
        [host({ memory: "100 MB" }), "hosts.arm.memory: 100 MB is too little"],
        [host({ cpus: 0 }), "hosts.arm.cpus"],
        [host({ maxBuilds: 0 }), "hosts.arm.maxBuilds: 0 is out of range"],
        [
            { ...args, buildkit: { artifacts: { arm64: artifacts.arm64 } } },
            'buildkit.artifacts.amd64: missing; expected {url, sha256}: "x86-1" is amd64',
        ],
        [{ ...args, buildkit: { version: "v0.33.1" } }, 'did you mean "0.33.1"?'],
        [
            { ...args, buildkit: { artifacts: { ...artifacts, amd64: { url: "ftp://x", sha256 } } } },
            "buildkit.artifacts.amd64.url",
        ],
        [{ ...args, drain: { timeout: "1 second" } }, "drain.timeout: 1 second is out of range"],
        [{ ...args, gc: { maxUsedSpace: "much" } }, "gc.maxUsedSpace"],
        [{ ...args, buildNetwork: "10.0.0.0" }, "buildNetwork"],
        [{ ...args, registries: { "https://x": {} } }, "registries"],
        [{ hosts: { a: args.hosts["arm-1"], b: args.hosts["arm-1"] } }, 'hosts.b.ssh.host: the same machine as "a"'],
        [host({ instance: "Team-2" }), 'hosts.arm.instance: "Team-2" is not an instance'],
        [host({ instance: "thirteenchars" }), "hosts.arm.instance"],
        [host({ port: 80 }), "hosts.arm.port: 80 is out of range"],
        [host({ buildNetwork: "fd00::/48" }), 'hosts.arm.buildNetwork: "fd00::/48" is IPv6'],
        [host({ rootless: true, buildNetwork: "10.1.0.0/25" }), "hosts.arm.buildNetwork: 10.1.0.0/25 is too small"],
    ])("refuses %j before it declares anything", async (given, message) => {
        await expect(declareFleet(given as ManagedFleetArgs)).rejects.toThrow(message);
    });

    it("has several builders on one machine, each with its own port, network and names", async () => {
        const { resources, result } = await declareFleet({
            hosts: {
                one: on("10.1.0.7"),
                two: on("10.1.0.7", { instance: "two", port: 8373, buildNetwork: "10.9.0.0/16" }),
                three: on("10.1.0.7", { instance: "three", port: 8374, rootless: true }),
                four: on("10.1.0.7", { instance: "four", port: 8375, rootless: true }),
            },
            buildkit: { artifacts },
        });
        const settings = (node: string) => find(resources, `room-${node}`).inputs.settings;
        expect(settings("one")).toMatchObject({ bridgeSubnet: "198.18.0.0/16" });
        for (const name of ["instance", "port", "rootless"]) expect(settings("one")).not.toHaveProperty(name);
        expect(settings("two")).toMatchObject({ instance: "two", port: 8373, bridgeSubnet: "10.9.0.0/16" });
        expect(settings("four")).toMatchObject({ instance: "four", port: 8375, rootless: true });
        expect(result.nodes.map(({ endpoint }) => endpoint)).toEqual(
            [8372, 8373, 8374, 8375].map((port) => `tcp://10.1.0.7:${port}`),
        );
    });

    it("refuses builders of one machine that are in each other's way, all at once", async () => {
        const hosts = {
            a: on("m", { instance: "a" }),
            b: on("m", { instance: "a", buildNetwork: "198.18.128.0/17" }),
            c: on("m", { instance: "c", port: 8373, buildNetwork: "10.9.0.0/16" }),
            elsewhere: on("n", { instance: "a" }),
            gateway: { ...on("m"), ssh: { host: "m", port: 2222 } },
        };
        const error = await declareFleet({ hosts, buildkit: { artifacts } }).catch((caught) => caught as Error);
        expect(String(error)).toMatch(/ManagedFleet "room": 3 problems/);
        expect(String(error)).toContain(
            'hosts.b.instance: "a", as "a" on the same machine; expected a name of its own',
        );
        expect(String(error)).toContain('hosts.b.port: 8372, as "a" on the same machine');
        expect(String(error)).toContain('hosts.b.buildNetwork: 198.18.128.0/17 overlaps with 198.18.0.0/16 of "a"');
    });

    it("tells all problems at once, and no secret", async () => {
        const bad = host({ ssh: { host: "", privateKey: { key: "PRIVATE" } }, architecture: "arm", cpus: "all" });
        const error = await declareFleet(bad as ManagedFleetArgs).catch((caught) => caught as Error);
        expect(String(error)).toMatch(/ManagedFleet "room": 4 problems/);
        expect(String(error)).not.toContain("PRIVATE");
    });
});

const on = (host: string, changed: object = {}) => ({ ssh: { host }, architecture: "arm64" as const, ...changed });

/** A fleet of one host, with something of it replaced. */
function host(changed: object) {
    return { hosts: { arm: { ssh: { host: "arm-1.room" }, architecture: "arm64", ...changed } } };
}
