import { describe, expect, it } from "vitest";
import { onpremSettings, parseOnpremSettings } from "../../core/onprem-settings";
import { SettingsError } from "../../core/problems";

const now = new Date("2026-11-22T12:00:00Z");
const parse = (value: unknown) => parseOnpremSettings("buildfleet:settings", value, { now });

function problemsOf(value: unknown): string[] {
    try {
        parse(value);
    } catch (error) {
        if (error instanceof SettingsError) return error.problems.map(({ path }) => path);
        throw error;
    }
    return [];
}

const room = {
    registry: { address: "registry.room:5000", plainHttp: true },
    builders: { external: { nodes: [{ name: "x86-1", endpoint: "ssh://ci@x86-1.room" }] } },
};

/** Each is wrong by itself; the path is where that is told. */
const wrong: Record<string, unknown> = {
    registry: {
        address: "http://registry.room:5000",
        ca: "room-ca.pem",
        username: "ci",
        pathPrefix: "/Team/",
        mirors: [],
    },
    mirror: {
        images: { a: "not an image", b: { source: "debian:12", platforms: ["linux/arm65"] }, c: { nmae: "x" } },
        from: { folder: "a", archive: "b", contents: "sha256:1" },
        platforms: ["linux/amd64", "linux/amd64"],
        referrers: "yes",
    },
    builders: {
        external: {
            nodes: [
                { name: "-", endpoint: "tcp://x86-1.room", platforms: [] },
                { name: "b", endpoint: "http://arm-1.room", maxBuilds: 0 },
                { name: "b", endpoint: "ssh://-oProxyCommand=x@arm-1.room" },
                { name: "c", endpoint: "unix:///run/b.sock", serverName: "c" },
                { name: "d", endpoint: "tcp://arm-2.room:1234", platforms: ["linux/amd64/v9"] },
            ],
            client: { ca: "ca.pem", certificate: "cert.pem" },
        },
    },
    emulation: "maybe",
    image: {
        context: 1,
        platforms: ["linux/x87"],
        version: "1.4",
        tags: ["a b", "latest", "latest"],
        repository: "Hello World",
        mirrored: { BASE: "nothing" },
        buildArgs: { A: 1 },
        contxt: ".",
    },
    scan: {
        failOn: "awful",
        ignore: [{ id: "x", reason: "", until: "2026-11-01" }],
        unfixed: "maybe",
        noPackages: 3,
        database: { maxAge: "soon" },
    },
    sign: { key: "aws:alias" },
    regsitry: {},
};

const server = {
    ssh: "x86-1",
    address: "x86-1.room:5000",
    artifact: { url: "https://files.room/registry", sha256: "a".repeat(64) },
};
const managed = { hosts: { "x86-1": { architecture: "amd64", ssh: { host: "10.0.0.7", user: "ops" } } } };

describe("a room without a registry", () => {
    it("gets one on a managed host, by its name, or on any other", () => {
        const { registryServer, registry } = parse({ registryServer: server, builders: { managed } });
        expect(registry).toBeUndefined();
        expect(registryServer).toMatchObject({
            ssh: { host: "10.0.0.7", user: "ops" },
            users: {},
            garbageCollection: { schedule: "Sun 03:17" },
        });
        const elsewhere = { ...server, ssh: { host: "store.room" } };
        expect(parse({ ...room, registry: undefined, registryServer: elsewhere }).registryServer?.ssh).toEqual({
            host: "store.room",
            user: "root",
        });
    });

    it("has its wrong settings told with all others, and has one registry", () => {
        expect(problemsOf({ ...room, registryServer: server })).toEqual(["registryServer", "registryServer.ssh"]);
        const others = {
            ssh: "arm-1",
            address: "x86-1.room",
            artifact: { url: "x" },
            users: { ci: "short" },
            storage: "/srv",
        };
        expect(problemsOf({ registryServer: others, builders: { managed }, image: { version: "1" } }).sort()).toEqual([
            "image.version",
            ...["address", "artifact.sha256", "artifact.url", "ssh", "storage", "users.ci"].map(
                (name) => `registryServer.${name}`,
            ),
        ]);
    });
});

describe("the settings of the stack onprem", () => {
    it("need a registry and builders, and nothing else", () => {
        expect(onpremSettings({ now }).safeParse(room).success).toBe(true);
        const { image, emulation, mirror } = parse(room);
        expect({ emulation, mirror }).toEqual({ emulation: "refuse", mirror: undefined });
        expect(image).toMatchObject({ repository: "hello", mirrored: {}, platforms: ["linux/amd64", "linux/arm64"] });
        expect(problemsOf({}).sort()).toEqual(["builders", "registry"]);
    });

    it("mirror to the registry, and to nothing else", () => {
        const images = { debian: "docker.io/library/debian:12" };
        const image = { mirrored: { BASE: "debian" } };
        expect(problemsOf({ ...room, mirror: { images }, image })).toEqual([]);
        expect(problemsOf({ ...room, mirror: { images, to: { folder: "x" } }, image })).toEqual(["mirror.to"]);
    });

    it("take one kind of builders", () => {
        const both = { external: room.builders.external, managed: { hosts: {} } };
        expect(problemsOf({ ...room, builders: both })).toContain("builders");
    });

    it("tell more than 40 mistakes at once, each at its own place", () => {
        const paths = problemsOf(wrong);
        expect(new Set(paths).size).toBe(paths.length);
        expect(paths.length).toBeGreaterThanOrEqual(40);
        for (const part of Object.keys(wrong))
            expect(
                paths.some((path) => path.startsWith(part)),
                part,
            ).toBe(true);
    });
});
