import * as pulumi from "@pulumi/pulumi";
import { describe, expect, it } from "vitest";
import { Emulation, type EmulationArgs, RegistryServer, type RegistryServerArgs, SettingsError } from "../../index";
import { declare, find, inventory } from "../support/declared";

const SHA256 = "a".repeat(64);
const server: RegistryServerArgs = {
    ssh: { host: "store.room", privateKey: pulumi.secret("key") },
    address: "store.room:5000",
    artifact: { url: "https://mirror.room/registry.tar.gz", sha256: SHA256 },
};

/** The problems of bad arguments, and that nothing was declared for them. */
async function problems(program: () => unknown): Promise<string[]> {
    let found: string[] = [];
    const { resources } = await declare(() => {
        try {
            program();
        } catch (error) {
            if (!(error instanceof SettingsError)) throw error;
            found = error.problems.map(({ path, found: what }) => `${path}: ${what}`);
        }
    });
    expect(inventory(resources)).toEqual([]);
    return found;
}

describe("a RegistryServer", () => {
    it("is a service with a certificate of an authority of its own, which builds and nodes trust", async () => {
        const { resources, result } = await declare(() => {
            const room = new RegistryServer("Room 1", { ...server, users: { ci: pulumi.secret("long-enough") } });
            const { name, connection } = room.repository("team/app");
            return { name, connection, nodes: room.nodeSettings, address: room.address, ca: room.ca };
        });
        expect(inventory(resources)).toEqual([
            "Certificate Room 1-certificate",
            "CertificateAuthority Room 1-ca",
            "RegistryService Room 1-service",
            "buildfleet:index:RegistryServer Room 1",
        ]);
        const { inputs, secrets, parent } = find(resources, "Room 1-service");
        expect(parent).toBe("Room 1");
        expect(inputs).toMatchObject({
            ssh: { host: "store.room", user: "root", sudo: false, privateKey: "key" },
            name: "room-1",
            port: 5000,
            storage: "/var/lib/buildfleet-registry/room-1",
            tls: { certificate: "certificate Room 1-certificate", privateKey: "key Room 1-certificate" },
            users: { ci: "long-enough" },
            garbageCollection: { schedule: "Sun 03:17", quietSeconds: 3600 },
            removeData: false,
        });
        expect(secrets).toEqual(["ssh.privateKey", "tls", "users"]);
        expect(find(resources, "Room 1-certificate").inputs).toMatchObject({
            dnsNames: ["store.room"],
            usage: "server",
        });
        expect(result).toMatchObject({
            name: "store.room:5000/team/app",
            connection: { ca: "ca and the one before", username: "ci", password: "long-enough" },
            nodes: { "store.room:5000": { http: false, caPem: "ca and the one before" } },
            address: "store.room:5000",
            ca: "ca and the one before",
        });
    });

    it("has an address in its certificate where it is called by one", async () => {
        const { resources } = await declare(() => void new RegistryServer("a", { ...server, address: "10.0.0.7:443" }));
        expect(find(resources, "a-certificate").inputs).toMatchObject({ ipAddresses: ["10.0.0.7"], dnsNames: [] });
    });

    it("speaks plain HTTP, or shows somebody else's certificate, and declares no authority then", async () => {
        const { resources, result } = await declare(() => {
            const tls = { certificate: "theirs", privateKey: "key" };
            new RegistryServer("a", { ...server, tls, garbageCollection: false, deleteData: true });
            return new RegistryServer("b", { ...server, plainHttp: true }).nodeSettings;
        });
        expect(inventory(resources)).toEqual([
            "RegistryService a-service",
            "RegistryService b-service",
            "buildfleet:index:RegistryServer a",
            "buildfleet:index:RegistryServer b",
        ]);
        expect(find(resources, "a-service").inputs).toMatchObject({ removeData: true, tls: { certificate: "theirs" } });
        expect(find(resources, "a-service").inputs.garbageCollection).toBeUndefined();
        expect(find(resources, "b-service").inputs.tls).toBeUndefined();
        expect(result).toEqual({ "store.room:5000": { http: true } });
    });

    it.each<[string, object, string[]]>([
        ["an address without a port", { address: "store.room" }, ['address: "store.room" has no port']],
        ["a URL", { address: "http://store.room:5000" }, ['address: "http://store.room:5000" is a URL']],
        ["port 0", { address: "store.room:0" }, ['address: "store.room:0" has no port']],
        [
            "two ways to speak",
            { plainHttp: true, tls: { certificate: "a", privateKey: "b" } },
            ["tls: set together with plainHttp"],
        ],
        ["a short password", { users: { ci: "short" } }, ["users.ci: it has 5 bytes"]],
        ["a password that bcrypt would cut", { users: { ci: "x".repeat(73) } }, ["users.ci: it has 73 bytes"]],
        [
            "a user that htpasswd takes for two",
            { users: { "a:b": "long-enough" } },
            ['users["a:b"]: "a:b" is not a user\'s name'],
        ],
        ["a client without a password", { client: "bo" }, ['client: "bo" has no password']],
        [
            "storage that the service can't see",
            { storage: "/home/registry" },
            ['storage: "/home/registry" is closed to the service'],
        ],
        ["storage that is a disk's root", { storage: "/srv" }, ['storage: "/srv" is not a folder of its own']],
        [
            "storage that leaves its folder",
            { storage: "/srv/../etc" },
            ['storage: "/srv/../etc" is not a folder of its own'],
        ],
        [
            "a calendar with a line break",
            { garbageCollection: { schedule: "Sun 03:17\nOnBootSec=1" } },
            ['garbageCollection.schedule: "Sun 03:17\\nOnBootSec=1" is not a calendar event'],
        ],
        [
            "a pause of nothing",
            { garbageCollection: { quiet: "1 second" } },
            ['garbageCollection.quiet: "1 second" is out of range'],
        ],
        [
            "a sum that is none",
            { artifact: { ...server.artifact, sha256: "abc" } },
            ['artifact.sha256: "abc" is not a SHA-256 checksum'],
        ],
        [
            "a password in a URL",
            { artifact: { ...server.artifact, url: "https://a:b@c/d" } },
            ["artifact.url: an address with a password"],
        ],
        ["a user in the host's name", { ssh: { host: "root@store" } }, ['ssh.host: "root@store" is not a host']],
        ["all at once", { address: "x", storage: "/srv", users: { ci: "a" } }, ["address", "users.ci", "storage"]],
    ])("refuses %s", async (_what, changed, expected) => {
        const found = await problems(() => new RegistryServer("a", { ...server, ...changed } as RegistryServerArgs));
        expect(found.map((line, i) => (expected[i]?.includes(":") ? line : line.split(":")[0]))).toEqual(expected);
    });
});

describe("an Emulation", () => {
    it("is a set of handlers on a host, asked for in this stack's name", async () => {
        const { resources, result } = await declare(() => {
            const emulators = { "linux/aarch64": { url: "https://mirror.room/qemu", sha256: SHA256 } };
            const ssh = { host: "x86-1.room", user: "ops" };
            return new Emulation("on x86", { ssh, platforms: ["linux/arm64", "linux/riscv64"], emulators }).handlers;
        });
        expect(inventory(resources)).toEqual(["BinfmtHandlers on x86-handlers", "buildfleet:index:Emulation on x86"]);
        expect(find(resources, "on x86-handlers").inputs).toMatchObject({
            ssh: { host: "x86-1.room", user: "ops", sudo: true },
            platforms: ["linux/arm64", "linux/riscv64"],
            emulators: { "linux/arm64": { url: "https://mirror.room/qemu", sha256: SHA256 } },
            owner: "shop_dev_on-x86",
        });
        expect(Object.keys(result)).toEqual(["linux/arm64", "linux/riscv64"]);
    });

    it("is this machine's without a host", async () => {
        const { resources } = await declare(() => void new Emulation("here", { platforms: ["linux/arm64"] }));
        expect(find(resources, "here-handlers").inputs.ssh).toBeUndefined();
    });

    it("goes through a host's Docker daemon where it is told to", async () => {
        const docker = {
            endpoint: "ssh://ops@x86-1.room",
            image: `registry.room:5000/tonistiigi/binfmt@sha256:${SHA256}`,
        };
        const { resources } = await declare(() => void new Emulation("room", { docker, platforms: ["linux/arm64"] }));
        const { inputs } = find(resources, "room-handlers");
        expect(inputs).toMatchObject({ docker, platforms: ["linux/arm64"], emulators: {} });
        expect(inputs.ssh).toBeUndefined();
    });

    it.each<[string, object, string[]]>([
        ["nothing", { platforms: [] }, ["platforms: empty"]],
        [
            "what no emulator runs",
            { platforms: ["windows/amd64"] },
            ['platforms[0]: "windows/amd64" can\'t be emulated'],
        ],
        [
            "one architecture twice",
            { platforms: ["linux/arm/v6", "linux/arm/v7"] },
            ["platforms[1]: the same as item 0"],
        ],
        [
            "an emulator for nothing",
            { emulators: { "linux/s390x": { url: "https://m/q", sha256: SHA256 } } },
            ['emulators["linux/s390x"]: this platform is not emulated here'],
        ],
        [
            "a public emulator without TLS",
            { emulators: { "linux/arm64": { url: "http://example.com/q", sha256: SHA256 } } },
            ['emulators["linux/arm64"].url: "example.com" is public, and http:// is not'],
        ],
        ["a slip", { platform: ["linux/arm64"] }, ["platform: not a setting"]],
        [
            "an installer that is named by a tag, and a daemon that is none",
            { docker: { endpoint: "/var/run/docker.sock", image: "registry.room/binfmt:latest" } },
            [
                'docker.endpoint: "/var/run/docker.sock" is not a Docker daemon',
                'docker.image: "registry.room/binfmt:latest" names no digest',
            ],
        ],
        [
            "two ways to the host, and emulators that the image has",
            {
                ssh: { host: "x86-1" },
                docker: { endpoint: "ssh://x86-1", image: `binfmt@sha256:${SHA256}` },
                emulators: { "linux/arm64": { url: "https://m/q", sha256: SHA256 } },
            },
            ["ssh: set together with docker", "emulators: set together with docker"],
        ],
    ])("refuses %s", async (_what, changed, expected) => {
        const args = { platforms: ["linux/arm64"], ...changed } as EmulationArgs;
        expect(await problems(() => new Emulation("a", args))).toEqual(expected);
    });
});
