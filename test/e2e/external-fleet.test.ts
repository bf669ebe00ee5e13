import { writeFileSync } from "node:fs";
import { createServer, type Server, type Socket } from "node:net";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { findBuild } from "../../drivers/buildkit";
import { RegistryClient } from "../../drivers/registry";
import { writeAdvisories, writeAppContext } from "../support/app";
import { BuilderHost, RoomAccess } from "../support/builder-host";
import { MachineRoom } from "../support/machine-room";
import { type RunningRegistry, startRegistry } from "../support/registry";
import { type Run, TestStack } from "../support/stack";

const native = process.arch === "arm64" ? "linux/arm64" : "linux/amd64";
const foreign = process.arch === "arm64" ? "linux/amd64" : "linux/arm64";

/** The client's key is in a file, as it would be in the configuration; what is said on a command line is not secret. */
const PROGRAM = `
const client = JSON.parse(require("node:fs").readFileSync("client.json", "utf8"));
const fleet = new buildfleet.ExternalFleet("room", { nodes: settings.nodes, client: pulumi.secret(client) });
const image = new buildfleet.MultiPlatformImage("app", {
    fleet,
    repository: { name: settings.repository, connection: { plainHttp: true } },
    context: "app",
    tags: ["stable"],
    ...(settings.signed ? { scan: { advisories: "advisories" }, sign: { key: new buildfleet.SigningKey("key") } } : { scan: false, sbom: false, sign: false }),
    ...settings.image,
});
module.exports = { ref: image.ref, digest: image.digest, tags: image.tags, platforms: image.platforms };
`;

let room: MachineRoom;
let access: RoomAccess;
let hosts: Record<"one" | "two", BuilderHost>;
let registry: RunningRegistry;
let client: object;
const stacks: TestStack[] = [];

beforeAll(async () => {
    room = await MachineRoom.create();
    access = new RoomAccess();
    registry = await startRegistry({ address: `${room.address}:0` });
    const start = async (name: string) =>
        BuilderHost.start(name, await room.host(), access, { [registry.registry]: { http: true } });
    const [one, two] = await Promise.all([start("one"), start("two")]);
    hosts = { one, two };
    access.trust(one.host.address, two.host.address);
    client = await access.client();
}, 300_000);
afterAll(async () => {
    await Promise.all(stacks.map((stack) => stack.dispose()));
    await Promise.all([hosts?.one.stop(), hosts?.two.stop()]);
    await registry?.stop();
    await room?.close();
    access?.dispose();
});

function newStack(): TestStack {
    const stack = new TestStack(PROGRAM, { env: { PATH: `${access.path}:${process.env.PATH}` } });
    stacks.push(stack);
    writeFileSync(stack.path("client.json"), JSON.stringify(client), { mode: 0o600 });
    writeAppContext(stack.path("app"));
    writeAdvisories(stack.path("advisories"), [
        { id: "BF-2026-0001", severity: "high", package: "openssl", affected: "< 3.0.2", fixed: "3.0.2" },
    ]);
    return stack;
}

const messages = (run: Run) => run.errors.map(({ message }) => message).join("\n");
const digestOf = (tag: string, path: string) => {
    const registryClient = new RegistryClient({ registry: registry.registry, plainHttp: true });
    return registryClient
        .headManifest(path, tag)
        .then((head) => head?.digest)
        .finally(() => registryClient.close());
};
/** Whether a host's own history has the build of this digest. */
const isBuiltOn = async (host: BuilderHost, digest: string) =>
    (await findBuild({ endpoint: `unix://${host.socket}` }, digest)) !== undefined;

describe("hosts that somebody else runs", () => {
    let stack: TestStack;
    const settings = (emulation: "refuse" | "allow") => ({
        repository: `${registry.registry}/team/app`,
        signed: true,
        nodes: [
            { name: "one", endpoint: hosts.one.tcp, serverName: "one", platforms: [native] },
            // It says more than it is.
            { name: "two", endpoint: hosts.two.ssh, platforms: [foreign] },
        ],
        image: { platforms: [native, foreign], emulation },
    });

    beforeAll(() => {
        stack = newStack();
    });

    it("are refused a platform that they would emulate, and nothing is built", async () => {
        const run = await stack.run("up", settings("refuse"));
        expect(run.exitCode).toBe(1);
        expect(messages(run)).toContain(`no node can build ${foreign}; tried:`);
        expect(messages(run)).toMatch(
            new RegExp(`two \\(ssh://root@\\S+\\): is ${native}\\S* and would emulate ${foreign}`),
        );
        expect(run.did.filter((step) => /image|index/.test(step))).toEqual([]);
        expect(await digestOf("stable", "team/app")).toBeUndefined();
    });

    it("build natively by tcp and emulated by ssh where that is allowed, each on its own; the index is released", async () => {
        const run = await stack.up(settings("allow"));
        const { platforms, digest, ref } = run.outputs;
        expect(platforms[native]).toMatchObject({ node: "one", emulated: false });
        expect(platforms[foreign]).toMatchObject({ node: "two", emulated: true });
        expect(await isBuiltOn(hosts.one, platforms[native].digest)).toBe(true);
        expect(await isBuiltOn(hosts.two, platforms[foreign].digest)).toBe(true);
        expect(await isBuiltOn(hosts.one, platforms[foreign].digest)).toBe(false);
        expect(platforms[foreign].durationMs).toBeGreaterThan(0);
        expect(await digestOf("stable", "team/app")).toBe(digest);
        expect(ref).toBe(`${registry.registry}/team/app@${digest}`);
    }, 300_000);

    it("are left alone by a second up", async () => {
        expect((await stack.up(settings("allow"))).did).toEqual([]);
    }, 300_000);
});

describe("a cable that is cut during a build", () => {
    /** Where a build step waits for somebody to let it go on: proof that it runs, and where. */
    let gate: Server;
    let holds = true;
    const waiting = new Set<Socket>();
    let arrived: (address: string) => void = () => undefined;

    beforeAll(async () => {
        gate = createServer((socket) => {
            socket.on("error", () => undefined);
            if (!holds) return socket.end();
            waiting.add(socket);
            return arrived(socket.remoteAddress ?? "");
        });
        await new Promise<void>((done) => gate.listen(0, room.address, done));
    });
    afterAll(() => {
        for (const socket of waiting) socket.destroy();
        gate?.close();
    });

    it.each([
        ["the build's time-out over tcp", "tcp", { buildTimeout: "20 seconds" }, {}, "context deadline exceeded"],
        // What counts the builds looks after the connection, too.
        ["the node's silence where builds are limited", "ssh", {}, { maxBuilds: 2 }, "connection"],
    ] as const)(
        "is an error within %s, and the next up goes to the other host",
        async (_case, kind, inTime, limit, says) => {
            const path = `team/cut-${stacks.length}`;
            const stack = newStack();
            const port = (gate.address() as { port: number }).port;
            writeFileSync(
                stack.path("app/Dockerfile"),
                [
                    "FROM scratch",
                    "ARG TARGETARCH",
                    // biome-ignore lint/suspicious/noTemplateCurlyInString: the Dockerfile's own variable
                    "COPY app-${TARGETARCH} /app",
                    `RUN ["/app", "--wait", "${room.address}:${port}"]`,
                    'ENTRYPOINT ["/app"]',
                    "",
                ].join("\n"),
            );
            // The same way to both, so that it does not matter which of them is chosen; their platforms are asked.
            const nodes = Object.values(hosts).map((host) =>
                kind === "tcp"
                    ? { name: host.name, endpoint: host.tcp, serverName: host.name, ...limit }
                    : { name: host.name, endpoint: host.ssh, ...limit },
            );
            const image = { platforms: [native], ...inTime };
            const settings = { repository: `${registry.registry}/${path}`, nodes, image };

            holds = true;
            const running = new Promise<string>((resolve) => {
                arrived = resolve;
            });
            const up = stack.run("up", settings);
            const address = await Promise.race([running, up.then((run) => Promise.reject(new Error(run.stderr)))]);
            const first = Object.values(hosts).find(({ host }) => host.address === address);
            const other = Object.values(hosts).find(({ host }) => host.address !== address);
            if (!first || !other) throw new Error(`a step ran at ${address}`);
            first.host.cut();
            const cutAt = Date.now();
            try {
                const failed = await up;
                expect(failed.exitCode).toBe(1);
                expect(Date.now() - cutAt).toBeLessThan(90_000);
                expect(messages(failed)).toContain(says);
                expect(await digestOf("stable", path)).toBeUndefined();

                holds = false;
                const next = await stack.up(settings);
                expect(next.outputs.platforms[native]).toMatchObject({ node: other.name, emulated: false });
                expect(next.did).toContain(`update app-builder-${native.replace("/", "-")}`);
                expect(await digestOf("stable", path)).toBe(next.outputs.digest);
                expect(await isBuiltOn(other, next.outputs.platforms[native].digest)).toBe(true);
            } finally {
                first.host.mend();
            }
        },
        180_000,
    );
});
