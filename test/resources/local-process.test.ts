import { spawn } from "node:child_process";
import { once } from "node:events";
import { existsSync, mkdirSync, mkdtempSync, readFileSync, rmSync, statSync, writeFileSync } from "node:fs";
import { createServer } from "node:net";
import { tmpdir } from "node:os";
import { join, resolve } from "node:path";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { daemonOf, isAlive, readPidFile, stopDaemon } from "../../drivers/daemon";
import { RegistryClient } from "../../drivers/registry";
import { type Inputs, operations } from "../../resources/local-process/operations";
import { orphans, processesOf } from "../support/kills";
import { freePort } from "../support/port";

const CONFIGURATION = `version: 0.1
log: {level: warn, accesslog: {disabled: true}}
storage: {filesystem: {rootdirectory: "{data}"}, delete: {enabled: true}}
http: {addr: "127.0.0.1:{port}"}
`;

let root: string;
let inputs: Inputs;
const pidFile = () => join(root, "run/process.pid");
const running = () => processesOf(root).map(({ pid }) => pid);

beforeEach(() => {
    root = mkdtempSync(join(tmpdir(), "buildfleet-process-"));
    inputs = {
        command: "registry",
        arguments: ["serve", "{folder}/config.yml"],
        environment: { OTEL_TRACES_EXPORTER: "none" },
        folder: join(root, "run"),
        files: { "config.yml": CONFIGURATION },
        dataFolder: join(root, "data"),
        keepData: false,
        port: 0,
        readinessPath: "/v2/",
        readinessSeconds: 20,
    };
});
afterEach(async () => {
    const daemon = readPidFile(pidFile());
    if (daemon && daemon.pid !== process.pid) await stopDaemon(daemon);
    rmSync(root, { recursive: true, force: true });
});

const create = async (more: Partial<Inputs> = {}) => (await operations.create({ ...inputs, ...more })).outs;
type State = Awaited<ReturnType<typeof create>>;
const answers = async ({ address }: State) => (await fetch(`http://${address}/v2/`)).status;
const changes = async (state: State, more: Partial<Inputs> = {}) =>
    (await operations.diff("", state, { ...inputs, ...more })).changes;
const update = async (state: State, more: Partial<Inputs> = {}) =>
    (await operations.update("", state, { ...inputs, ...more })).outs;

describe("a daemon on this machine", () => {
    it("runs when it is created, its files private, and asks for nothing more", async () => {
        const state = await create();
        expect(await answers(state)).toBe(200);
        expect(statSync(inputs.folder).mode & 0o777).toBe(0o700);
        expect(statSync(join(inputs.folder, "config.yml")).mode & 0o777).toBe(0o600);
        expect(running()).toEqual([state.pid]);
        expect(await changes(state)).toBe(false);
    });

    it("is adopted by a create whose state was lost", async () => {
        const first = await create();
        const again = await create();
        expect(again.pid).toBe(first.pid);
        expect(again.address).toBe(first.address);
        expect(running()).toEqual([first.pid]);
    });

    it("is replaced by a create whose state was lost and that wants another one", async () => {
        const first = await create();
        const other = await create({ environment: { OTEL_TRACES_EXPORTER: "none", REGISTRY_LOG_LEVEL: "error" } });
        expect(other.pid).not.toBe(first.pid);
        expect(running()).toEqual([other.pid]);
    });

    it("is started again on its port, with its data, when it is dead", async () => {
        const first = await create();
        const client = new RegistryClient({ registry: first.address, plainHttp: true });
        const { digest } = await client.putBlob("app", Buffer.from("kept"));
        await client.close();
        process.kill(first.pid, "SIGKILL");
        await expect.poll(() => isAlive(first), { timeout: 20_000 }).toBe(false);
        expect(await changes(first)).toBe(true);
        const second = await update(first);
        expect(second.pid).not.toBe(first.pid);
        expect(second.address).toBe(first.address);
        const after = new RegistryClient({ registry: second.address, plainHttp: true });
        expect((await after.getBlob("app", digest)).toString()).toBe("kept");
        await after.close();
        expect(await changes(second)).toBe(false);
    });

    it("is restarted on its port when a file of its configuration changes", async () => {
        const first = await create();
        const more = { files: { "config.yml": CONFIGURATION.replace("level: warn", "level: error") } };
        expect(await changes(first, more)).toBe(true);
        const second = await update(first, more);
        expect(isAlive(first)).toBe(false);
        expect(second.address).toBe(first.address);
        expect(readFileSync(join(inputs.folder, "config.yml"), "utf8")).toContain("level: error");
        expect(running()).toEqual([second.pid]);
    });

    it("moves when another port is asked for", async () => {
        const first = await create();
        const port = await freePort();
        const second = await update(first, { port });
        expect(second.listenPort).toBe(port);
        expect(await answers(second)).toBe(200);
        expect(running()).toEqual([second.pid]);
    });

    it("is refused a port that another process has, and nothing is left running", async () => {
        const foreign = createServer().listen(0, "127.0.0.1");
        await once(foreign, "listening");
        const address = foreign.address();
        const port = typeof address === "object" && address ? address.port : 0;
        await expect(create({ port })).rejects.toThrow(
            `port ${port} on 127.0.0.1 is taken by another process; free it or set another port`,
        );
        expect(running()).toEqual([]);
        foreign.close();
    });

    it("says what it logged when it ends before it is ready", async () => {
        const files = { "config.yml": CONFIGURATION.replace("0.1", "9.9") };
        await expect(create({ files })).rejects.toThrow(
            /registry ended before it was ready; .*process\.log ends:\n.*unsupported version/s,
        );
        expect(running()).toEqual([]);
    });

    it("is stopped when it is not ready in time", async () => {
        const mute = { readinessPath: "", readinessSeconds: 1 };
        const loop = 'while :; do sleep 1; done # "$0"';
        await expect(create({ ...mute, command: "/bin/sh", arguments: ["-c", loop, "{folder}"] })).rejects.toThrow(
            /did not answer on 127\.0\.0\.1:\d+ within 1 s/,
        );
        expect(await orphans(root)).toEqual([]);
    });

    it("leaves nothing when it is deleted", async () => {
        const state = await create();
        await operations.delete("", state);
        expect(isAlive(state)).toBe(false);
        expect(existsSync(inputs.folder)).toBe(false);
        expect(existsSync(inputs.dataFolder)).toBe(false);
        await operations.delete("", state);
    });

    it("leaves the data that is to be kept", async () => {
        const state = await create({ keepData: true });
        await operations.delete("", state);
        expect(isAlive(state)).toBe(false);
        expect(existsSync(inputs.folder)).toBe(false);
        expect(existsSync(inputs.dataFolder)).toBe(true);
    });

    it("is not mistaken for a process that got its pid", async () => {
        mkdirSync(inputs.folder, { recursive: true });
        writeFileSync(pidFile(), `${process.pid}\n`);
        const state = await create();
        expect(state.pid).not.toBe(process.pid);
        const recycled = { ...state, pid: process.pid };
        expect(await changes(recycled)).toBe(true);
        await operations.delete("", recycled);
        expect(daemonOf(process.pid)).toBeDefined();
        expect(isAlive(state)).toBe(false);
    });

    it.each([0, 40, 80, 160])(
        "is not orphaned by a parent that is killed %i ms after the pid is known",
        async (milliseconds) => {
            const module = resolve(__dirname, "../../dist/resources/local-process/operations.js");
            const script = `require(${JSON.stringify(module)}).operations.create(JSON.parse(process.argv[1]))`;
            const parent = spawn(process.execPath, ["-e", script, JSON.stringify(inputs)], { stdio: "ignore" });
            const exited = once(parent, "exit"); // it may have ended by itself when it is to be killed
            await expect.poll(() => existsSync(pidFile()), { timeout: 20_000, interval: 1 }).toBe(true);
            await new Promise((done) => setTimeout(done, milliseconds)); // the moment of the kill is what varies
            parent.kill("SIGKILL");
            await exited;
            const state = await create();
            expect(await answers(state)).toBe(200);
            expect(await orphans(root, () => [state.pid])).toEqual([]);
            await operations.delete("", state);
            expect(await orphans(root)).toEqual([]);
        },
    );
});
