import { spawn } from "node:child_process";
import { once } from "node:events";
import { existsSync, mkdtempSync, readdirSync, readFileSync, rmSync } from "node:fs";
import { createServer } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, describe, expect, it, vi } from "vitest";
import { stopMachine } from "../../drivers/aws/ec2";
import { closeTunnels, stablePort } from "../../drivers/aws/session-manager";
import { buildDockerfile } from "../../drivers/buildx";
import { tryPort } from "../../drivers/port";
import { type Inputs, operations } from "../../resources/buildx-builder/operations";
import { runInstances } from "../support/machines-on-ec2";
import { type AwsProxy, json, jsonError, REGION, type Reply } from "../support/moto";
import { freePort } from "../support/port";
import { standIn } from "../support/stand-in";
import { useWokenMachines, type WokenDaemons } from "../support/woken";

const native = process.arch === "arm64" ? "linux/arm64" : "linux/amd64";
const TOKEN = "AAEAAdGhlLXRva2Vu";
const PORT = 8372;

let proxy: AwsProxy;
let daemons: WokenDaemons;
let folder: string;
let undo: () => void;
let said: string[];
let instanceId: string;
let daemonPort: number;

const shared = useWokenMachines();
beforeEach(async () => {
    ({ proxy, daemons, said } = shared);
    folder = mkdtempSync(join(tmpdir(), "buildfleet-tunnel-"));
    const plugin = join(__dirname, "../support/session-manager-plugin-child.mjs");
    undo = standIn(folder, "session-manager-plugin", `exec "${process.execPath}" "${plugin}" "$@"`);
    process.env.STAND_IN_LOG = join(folder, "plugin.log");
    // One whose own port is free: this machine's other daemons may have it.
    do [instanceId = ""] = await runInstances();
    while (!(await tryPort(Number(new URL(stable()).port))));
    daemonPort = await freePort();
    daemons.startWith(proxy, { [instanceId]: daemonPort });
    serveSessions();
});
afterEach(async () => {
    await closeTunnels();
    undo();
    rmSync(folder, { recursive: true, force: true });
});

/** What Session Manager does, which moto does not: sessions lead to the instance's BuildKit. */
function serveSessions(refuse: () => Reply | undefined = () => undefined): void {
    let count = 0;
    proxy.on("StartSession", () => {
        const refused = refuse();
        if (refused) return refused;
        count += 1;
        return json({
            SessionId: `ci-${count}`,
            TokenValue: TOKEN,
            StreamUrl: `tcp://127.0.0.1:${daemonPort}/v1/data-channel/ci-${count}`,
        });
    });
    proxy.on("TerminateSession", ({ input }) => json({ SessionId: input.SessionId }));
}

const wanted = (more: Partial<Inputs> = {}): Inputs => ({
    name: "app-linux",
    platform: native,
    emulation: "refuse",
    placementKey: "app",
    nodes: [
        {
            name: "arm64",
            endpoint: `tcp://10.0.0.7:${PORT}`,
            platforms: [native],
            serverName: "node",
            ec2: { instanceId, region: REGION, wakeTimeoutSeconds: 60, tunnel: true },
        },
    ],
    client: daemons.client,
    ...more,
});
const register = async (more: Partial<Inputs> = {}) => (await operations.create(wanted(more))).outs;
const changes = async (state: Awaited<ReturnType<typeof register>>) =>
    (await operations.diff("", state, wanted())).changes;
const startDaemon = () => daemons.start(instanceId, daemonPort);
const stable = () => `tcp://127.0.0.1:${stablePort({ region: REGION, instanceId, port: PORT })}`;
const sessions = () => proxy.actions().filter((name) => name === "StartSession").length;
const log = (): Record<string, unknown>[] =>
    existsSync(join(folder, "plugin.log"))
        ? readFileSync(join(folder, "plugin.log"), "utf8")
              .trim()
              .split("\n")
              .map((line) => JSON.parse(line))
        : [];
const isAlive = (pid: unknown) => existsSync(`/proc/${pid}`);
/** Command lines of every process of this machine: what everybody here can read. */
const commandLines = () =>
    readdirSync("/proc")
        .filter((name) => /^\d+$/.test(name))
        .map((pid) => {
            try {
                return readFileSync(`/proc/${pid}/cmdline`, "utf8");
            } catch {
                return "";
            }
        })
        .join("\n");

describe("a node behind Session Manager", () => {
    it("is registered and built on through a port forwarding, whose token nobody can read", async () => {
        await startDaemon();
        const state = await register();
        expect(state).toMatchObject({ nodeName: "arm64", endpoint: stable() });
        expect(commandLines()).not.toContain(TOKEN);
        const [start] = log();
        expect(start).toMatchObject({ TokenValue: TOKEN, SessionId: "ci-1", region: REGION, endpoint: proxy.url });
        expect(start?.argv).toEqual([
            "AWS_SSM_START_SESSION_RESPONSE",
            REGION,
            "StartSession",
            "",
            JSON.stringify({
                Target: instanceId,
                DocumentName: "AWS-StartPortForwardingSession",
                Parameters: { portNumber: ["8372"], localPortNumber: [stable().split(":").at(-1)] },
            }),
            proxy.url,
        ]);
        const dockerfile = "FROM scratch\nLABEL a=b\n";
        const built = await buildDockerfile({ builder: "app-linux", platform: native, dockerfile });
        expect(built.exitCode).toBe(0);
        expect(await changes(state)).toBe(false);
        expect(sessions()).toBe(1);
    });

    it("gets the same port in every run, so that what buildx has stored stays right", async () => {
        await startDaemon();
        const state = await register();
        await closeTunnels(); // the run ends: its provider's process is gone
        expect(proxy.actions().at(-1)).toBe("TerminateSession");
        expect(await changes(state)).toBe(false);
        expect(sessions()).toBe(2);
    });

    it("is registered anew where its port is somebody else's", async () => {
        await startDaemon();
        const state = await register();
        await closeTunnels();
        const other = createServer().listen(Number(new URL(stable()).port), "127.0.0.1");
        await once(other, "listening");
        try {
            expect(await changes(state)).toBe(true);
            const moved = (await operations.update("", state, wanted())).outs;
            expect(moved.endpoint).not.toBe(stable());
            expect(await changes(moved)).toBe(false);
        } finally {
            other.close();
        }
    });

    it("is woken first, and then waited for until its agent has registered", async () => {
        await stopMachine(REGION, instanceId);
        let refused = 0;
        serveSessions(() => {
            refused += 1;
            return refused <= 2 ? jsonError("TargetNotConnected", `${instanceId} is not connected.`) : undefined;
        });
        expect((await register()).endpoint).toBe(stable());
        expect(refused).toBe(3);
        expect(proxy.actions().indexOf("StartInstances")).toBeLessThan(proxy.actions().indexOf("StartSession"));
    });

    it("shares one session among all who build on it", async () => {
        await startDaemon();
        await Promise.all([register(), register({ name: "other-linux" })]);
        expect(sessions()).toBe(1);
    });

    it("is reached again after its session ended by itself", async () => {
        await startDaemon();
        const state = await register();
        const before = log()[0]?.pid;
        process.kill(Number(before), "SIGKILL");
        await vi.waitFor(() => expect(log()).toHaveLength(2), 10_000);
        await vi.waitFor(async () => expect(await changes(state)).toBe(false), 10_000);
        expect(said.join("\n")).toContain(`the tunnel to ${instanceId} ended`);
    });
});

describe("the plugin", () => {
    it("that is missing is named, with where to get it, and no session is started", async () => {
        const path = process.env.PATH ?? "";
        process.env.PATH = path.split(":").slice(1).join(":");
        await expect(register()).rejects.toThrow(
            /session-manager-plugin is not on PATH\nnext: install it: https:\/\/docs\.aws/,
        );
        process.env.PATH = path;
        expect(sessions()).toBe(0);
    });

    it.each(["1.2.497.0", "1.1.999.0", "none"])(
        "of version %s is refused: it takes the token as an argument",
        async (v) => {
            process.env.STAND_IN_VERSION = v;
            await expect(register()).rejects.toThrow(`is ${v}; one newer than 1.2.497.0 is needed`);
            expect(sessions()).toBe(0);
        },
    );

    it("that fails is quoted without the token, and its session is ended", async () => {
        process.env.STAND_IN_MODE = "broken";
        const failed = await register().catch((error: Error) => error.message);
        expect(failed).toContain("Cannot perform start session: [redacted] was refused");
        expect(failed).not.toContain(TOKEN);
        expect(proxy.actions().at(-1)).toBe("TerminateSession");
    });

    it.each([
        ["ends its session and itself", "", true],
        ["is killed where it does not listen", "deaf", false],
    ])("%s when the process that opened it is killed", async (_case, mode, orderly) => {
        const child = spawn(
            process.execPath,
            [join(__dirname, "../support/tunnel-child.mjs"), REGION, instanceId, String(PORT)],
            { env: { ...process.env, STAND_IN_MODE: mode }, stdio: ["ignore", "pipe", "inherit"], detached: true },
        );
        const ended = once(child, "exit").then(() => "it ended");
        const [line] = await Promise.race([once(child.stdout, "data"), ended]);
        expect(String(line)).toBe(`${stable()}\n`);
        const pid = log()[0]?.pid;
        expect(isAlive(pid)).toBe(true);
        // With its whole group, as an engine does.
        process.kill(-(child.pid ?? 0), "SIGKILL");
        await vi.waitFor(() => expect(isAlive(pid)).toBe(false), { timeout: 15_000, interval: 100 });
        expect(log().some(({ event }) => event === "terminated")).toBe(orderly);
    });
});
