import { randomBytes } from "node:crypto";
import { existsSync, mkdtempSync, readFileSync, rmSync, statSync, writeFileSync } from "node:fs";
import { type AddressInfo, connect, createServer, type Socket } from "node:net";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { setTimeout as delay } from "node:timers/promises";
import fc from "fast-check";
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it } from "vitest";
import { headersOf } from "../../drivers/admission/forward";
import { connectNode, watchNode } from "../../drivers/admission/node-connection";
import { placesUnsupported } from "../../drivers/admission/slots";
import { listenAt, relayPath, timedFromPlace } from "../../drivers/admission/socket";
import { call, frame, INFO, SOLVE, solveRequest, unframe } from "../../drivers/admission/wire";
import { buildDockerfile, certificateFolder, readBuilder } from "../../drivers/buildx";
import { run } from "../../drivers/process";
import { listenToProgress } from "../../drivers/progress";
import { createAuthority, issueCertificate } from "../../drivers/x509";
import { type Inputs, operations } from "../../resources/buildx-builder/operations";
import { ActiveBuilds } from "../support/active-builds";
import { type RunningBuildkitd, startBuildkitd } from "../support/buildkitd";
import { Gate } from "../support/gate";

const native = process.arch === "arm64" ? "linux/arm64" : "linux/amd64";

let work: string;
let before: string | undefined;
let daemon: RunningBuildkitd;
let client: NonNullable<Inputs["client"]>;
let gate: Gate;
let active: ActiveBuilds;
let said: string[];
let quiet: () => void;

beforeAll(async () => {
    work = mkdtempSync(join(tmpdir(), "buildfleet-admission-"));
    before = process.env.BUILDX_CONFIG;
    process.env.BUILDX_CONFIG = join(work, "buildx");
    const authority = await createAuthority({ name: "builders", days: 2 });
    const [server, own] = await Promise.all([
        issueCertificate({ authority, commonName: "one", usage: "server", dnsNames: ["one"], days: 2 }),
        issueCertificate({ authority, commonName: "client", usage: "client", days: 2 }),
    ]);
    client = { ca: authority.certificate, certificate: own.certificate, privateKey: own.privateKey };
    daemon = await startBuildkitd({ ca: authority.certificate, ...server });
});
afterAll(async () => {
    await daemon?.stop();
    if (before === undefined) delete process.env.BUILDX_CONFIG;
    else process.env.BUILDX_CONFIG = before;
    rmSync(work, { recursive: true, force: true });
});
beforeEach(async () => {
    gate = await Gate.start();
    gate.writeContext(join(work, "context"));
    active = new ActiveBuilds(daemon.endpoint, { ...client, serverName: "one" });
    said = [];
    quiet = listenToProgress((line) => said.push(line));
});
afterEach(async () => {
    gate.close();
    active.close();
    quiet();
});

const inputs = (name: string, maxBuilds: number): Inputs => ({
    name,
    platform: native,
    emulation: "refuse",
    placementKey: "app",
    nodes: [{ name: "one", endpoint: daemon.endpoint, platforms: [native], serverName: "one", maxBuilds }],
    client,
});
const register = async (name: string, maxBuilds: number) => (await operations.create(inputs(name, maxBuilds))).outs;
let count = 0;
/** A build that is its own: nothing of it is in a cache. */
function build(builder: string, options: { signal?: AbortSignal; output?: string } = {}) {
    const name = `build-${++count}`;
    const output = options.output ? `type=local,dest=${options.output}` : "type=cacheonly";
    const args = ["build", "--builder", builder, "--progress", "plain", "--provenance=false", "--output", output];
    const done = run("docker-buildx", [...args, "--build-arg", `NAME=${name}`, join(work, "context")], {
        timeoutMs: 50_000,
        ...(options.signal ? { signal: options.signal } : {}),
    });
    done.catch(() => undefined);
    return { name, done };
}
const WAITS = "builder left: waits for builder node one, which runs 1 builds at a time";

describe("a node with a limit", () => {
    afterEach(async () => {
        for (const name of ["left", "right"]) await operations.delete("", (await register(name, 1)) as never);
    });

    it("is registered at a private socket, and is no change afterwards, whatever the limit is", async () => {
        const outs = await register("left", 2);
        expect(outs).toMatchObject({ endpoint: daemon.endpoint, nodeName: "one" });
        const path = relayPath("left");
        expect(readBuilder("left")).toMatchObject({ endpoint: `unix://${path}`, driverOptions: {} });
        expect(statSync(dirname(path)).mode & 0o777).toBe(0o700);
        expect(existsSync(certificateFolder("left"))).toBe(false);
        expect(await operations.diff("", outs, inputs("left", 2))).toMatchObject({ changes: false });
        expect(await operations.diff("", outs, inputs("left", 3))).toMatchObject({ changes: false });
        const [without] = inputs("left", 3).nodes.map(({ maxBuilds: _, ...node }) => node);
        const free = { ...inputs("left", 3), nodes: without ? [without] : [] };
        expect(await operations.diff("", outs, free)).toMatchObject({ changes: true });
        await operations.update("", outs, free);
        expect(readBuilder("left")).toMatchObject({ endpoint: daemon.endpoint });
        await operations.delete("", outs);
        expect(existsSync(path)).toBe(false);
    });

    it("lets builds of all builders in, up to the limit, and the others after them", async () => {
        await Promise.all([register("left", 2), register("right", 2)]);
        const builds = [build("left"), build("right"), build("left"), build("right"), build("left")];
        await gate.holds(2);
        expect(active.now).toBe(2);
        gate.stayOpen();
        await Promise.all(builds.map(({ done }) => done));
        expect(active.most).toBe(2);
        expect(gate.knocked).toHaveLength(5);
    });

    it("lets a build wait for longer than BuildKit waits for one, shows it, and loses none of its bytes", async () => {
        await register("left", 1);
        const big = randomBytes(24 * 1024 * 1024);
        writeFileSync(join(work, "context/big"), big);
        const first = build("left");
        await gate.holds(1);
        const dockerfile = join(work, "context/Dockerfile");
        writeFileSync(dockerfile, readFileSync(dockerfile, "utf8").replace("COPY knock /knock", "COPY knock big /"));
        const second = build("left", { output: join(work, "output") });
        await expect.poll(() => said, { timeout: 10_000 }).toContain(WAITS);
        // Status gives up after 6 s without the build, the gateway after 3 s (solver/jobs.go, util/registrar).
        await delay(7_500);
        expect(active.most).toBe(1);
        gate.stayOpen();
        await Promise.all([first.done, second.done]);
        expect(readFileSync(join(work, "output/big")).equals(big)).toBe(true);
        expect(said.join()).toMatch(/builder left: builder node one has a place after \d+\.\d s/);
    });

    it("lets a test and an export wait for longer than they may take, and ends what takes longer itself", async () => {
        await register("left", 1);
        const timed = (timeoutMs: number) => ({ timeoutMs, ...timedFromPlace("left") });
        const slow = [
            "build",
            "--builder",
            "left",
            "--progress",
            "plain",
            "--build-arg",
            "NAME=slow",
            join(work, "context"),
        ];
        await expect(run("docker-buildx", slow, timed(3_000))).rejects.toThrow("gave no result within 3 s");
        const first = build("left");
        await gate.holdsOne(first.name);
        const dockerfile = "FROM scratch\nCOPY <<END /file\ntext\nEND\n";
        const outputFolder = join(work, "waited");
        const second = buildDockerfile({ builder: "left", platform: native, dockerfile, outputFolder }, timed(8_000));
        await expect.poll(() => said, { timeout: 10_000 }).toContain(WAITS);
        await delay(9_000);
        gate.stayOpen();
        await Promise.all([first.done, second]);
        expect(readFileSync(join(outputFolder, "file"), "utf8")).toBe("text\n");
    });

    it("gives the place of a build that is cancelled to the next, running or waiting", async () => {
        await register("left", 1);
        const stop = new AbortController();
        const running = build("left", { signal: stop.signal });
        await gate.holds(1);
        const giveUp = new AbortController();
        const waiting = build("left", { signal: giveUp.signal });
        await expect.poll(() => said, { timeout: 10_000 }).toContain(WAITS);
        const next = build("left");
        giveUp.abort();
        await expect(waiting.done).rejects.toThrow("was cancelled");
        expect(gate.knocked).toEqual([running.name]);
        stop.abort();
        await expect(running.done).rejects.toThrow("was cancelled");
        await gate.holdsOne(next.name);
        gate.stayOpen();
        await next.done;
        expect(gate.knocked).toEqual([running.name, next.name]);
    });

    it("does so on one connection, too, which has many builds", async () => {
        await register("left", 1);
        const session = await connectNode({ endpoint: `unix://${relayPath("left")}` });
        // Each waits for a frontend that never comes, and so runs until it is cancelled.
        const solve = (Ref: string) => {
            const stop = new AbortController();
            const done = call(session, SOLVE, solveRequest({ Ref, Internal: false }), { signal: stop.signal });
            done.catch(() => undefined);
            return { done, stop: () => stop.abort() };
        };
        const first = solve("first");
        await expect.poll(() => active.refs, { timeout: 10_000 }).toEqual(["first"]);
        const [second, third] = [solve("second"), solve("third")];
        await expect.poll(() => said, { timeout: 10_000 }).toEqual([WAITS, WAITS]);
        second.stop();
        await expect(second.done).rejects.toThrow();
        expect(active.refs).toEqual(["first"]);
        first.stop();
        await expect.poll(() => active.refs, { timeout: 10_000 }).toEqual(["third"]);
        third.stop();
        await expect.poll(() => active.refs, { timeout: 10_000 }).toEqual([]);
        session.destroy();
    });

    it.each([
        [0, "its maxBuilds is 0; write a whole number from 1 to 1000"],
        [1.5, "its maxBuilds is 1.5"],
    ])("is refused with a limit of %d", async (maxBuilds, message) => {
        await expect(operations.create(inputs("wrong", maxBuilds))).rejects.toThrow(message);
        expect(readBuilder("wrong")).toBeUndefined();
    });
});

describe("a node that goes", () => {
    it("ends what runs there and what waits for it, with an error, and is used again when it is back", async () => {
        const own = await startBuildkitd();
        const nodes = [{ name: "goes", endpoint: own.endpoint, platforms: [native], maxBuilds: 1 }];
        const { client: _, ...rest } = inputs("left", 1);
        const { outs } = await operations.create({ ...rest, nodes });
        const running = build("left");
        await gate.holdsOne(running.name);
        const waiting = build("left");
        await expect.poll(() => said.join(), { timeout: 10_000 }).toContain("waits for builder node goes");
        process.kill(own.pid, "SIGKILL");
        await Promise.all([running, waiting].map(({ done }) => expect(done).rejects.toThrow("failed to build")));
        gate.stayOpen();
        await own.stop();
        const back = await startBuildkitd(undefined, Number(new URL(own.endpoint).port));
        await build("left").done;
        await operations.delete("", outs);
        await back.stop();
    });

    it("without a word is noticed, and its connection closed", async () => {
        const sockets: Socket[] = [];
        const cable = createServer((socket) => {
            const other = connect(Number(new URL(daemon.endpoint).port), "127.0.0.1");
            socket.on("error", () => undefined).pipe(other);
            other.on("error", () => undefined).pipe(socket);
            sockets.push(socket, other);
        });
        await new Promise<void>((resolve) => cable.listen(0, "127.0.0.1", resolve));
        const endpoint = `tcp://127.0.0.1:${(cable.address() as AddressInfo).port}`;
        const session = await connectNode({ endpoint, tls: { ...client, serverName: "one" } });
        const closed = new Promise((resolve) => session.once("close", resolve));
        let after: number | undefined;
        const times = { everyMs: 20, answerMs: 5_000 };
        const watching = watchNode(session, (ms) => (after = ms), times);
        await call(session, INFO, Buffer.alloc(0));
        expect(session.destroyed).toBe(false);
        for (const socket of sockets) socket.unpipe().pause();
        await Promise.all([closed, watching]);
        expect(after).toBe(5_000);
        for (const socket of sockets) socket.destroy();
        cable.close();
    });

    it("is another one, and gets no build, when its certificate has another name", async () => {
        const node = { endpoint: daemon.endpoint, tls: { ...client, serverName: "two" } };
        await expect(connectNode(node)).rejects.toThrow(/Hostname\/IP does not match/);
    });
});

describe("a builder's socket", () => {
    it("stays with the process that has it while that lives, and is taken over then", async () => {
        const path = relayPath("shared");
        const [first, second] = [createServer(), createServer()];
        const connections: Socket[] = [];
        first.on("connection", (socket) => connections.push(socket));
        const places = [await listenAt(first, path, false), await listenAt(second, path, false)];
        expect([first.listening, second.listening]).toEqual([true, false]);
        await expect.poll(() => connections.length, { timeout: 10_000 }).toBe(1);
        first.close();
        for (const connection of connections) connection.destroy();
        await expect.poll(() => second.listening, { timeout: 10_000 }).toBe(true);
        await new Promise((resolve) => connect(path).once("connect", resolve));
        for (const place of places) place.leave();
        second.close();
    });

    it("is short enough for a socket, however long the store's path is", () => {
        process.env.BUILDX_CONFIG = join(work, "long/".repeat(30));
        const long = relayPath("left");
        process.env.BUILDX_CONFIG = join(work, "buildx");
        expect(Buffer.byteLength(long)).toBeLessThanOrEqual(103);
        expect(relayPath("left")).not.toBe(long);
    });
});

describe("what BuildKit can hold places", () => {
    it.each(["v0.33.1", "0.33.1", "v0.34.0-rc1", "v1.0.0"])("%s can", (version) => {
        expect(placesUnsupported(version)).toBeUndefined();
    });
    it.each(["v0.33.0", "v0.9.3", "v0.0.0+unknown", ""])("'%s' can't", (version) => {
        expect(placesUnsupported(version)).toContain("maxBuilds needs BuildKit 0.33.1 or newer");
    });
});

describe("what is passed on", () => {
    it("keeps headers of one name apart, in their order", () => {
        const name = fc.constantFrom("x-docker-expose-session-grpc-method", "te", ":path", "x-a");
        fc.assert(
            fc.property(fc.array(fc.tuple(name, fc.string())), (pairs) => {
                const headers = headersOf(pairs.flat());
                for (const [one] of pairs)
                    expect([headers[one]].flat()).toEqual(pairs.filter(([other]) => other === one).map(([, v]) => v));
                expect(Object.keys(headers)).toHaveLength(new Set(pairs.map(([one]) => one)).size);
            }),
        );
    });

    it("is a message as it was framed, and nothing that is cut off or compressed", () => {
        fc.assert(
            fc.property(fc.uint8Array(), fc.nat(), (bytes, cut) => {
                const message = frame(Buffer.from(bytes));
                expect(unframe(message).equals(Buffer.from(bytes))).toBe(true);
                expect(() => unframe(message.subarray(0, cut % message.length))).toThrow("can't be held back");
                message[0] = 1;
                expect(() => unframe(message)).toThrow("can't be held back");
            }),
        );
    });
});
