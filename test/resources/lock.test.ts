import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import { mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join, resolve } from "node:path";
import { afterAll, afterEach, beforeAll, expect, it } from "vitest";
import { withLocks } from "../../drivers/lock";
import { seeded } from "../support/kills";

const CHILD = resolve(__dirname, "../support/lock-child.mjs");
/** Much less than the 5 s after which a lock is anybody's. */
const AT_ONCE_MS = 4_000;

let folder: string;
const before = process.env.BUILDFLEET_CACHE;
const children: ChildProcess[] = [];

beforeAll(() => {
    folder = mkdtempSync(join(tmpdir(), "buildfleet-lock-"));
    process.env.BUILDFLEET_CACHE = folder;
});
afterEach(async () => {
    await Promise.all(children.splice(0).map(kill));
});
afterAll(() => {
    if (before === undefined) delete process.env.BUILDFLEET_CACHE;
    else process.env.BUILDFLEET_CACHE = before;
    rmSync(folder, { recursive: true, force: true });
});

function start(command: string, ...args: string[]) {
    const child = spawn(command, args, { stdio: ["pipe", "pipe", "inherit"] });
    children.push(child);
    return child;
}

async function kill(child: ChildProcess): Promise<void> {
    if (child.exitCode !== null || child.signalCode !== null) return;
    child.kill("SIGKILL");
    await once(child, "exit");
}

async function holder(key: string, ...through: string[]) {
    const [command = "", ...args] = [...through, process.execPath, CHILD, "hold", key];
    const child = start(command, ...args);
    await once(child.stdout, "data");
    return child;
}

const within = (work: Promise<void>, ms: number) =>
    Promise.race([work.then(() => true), new Promise<boolean>((done) => setTimeout(done, ms, false).unref())]);

it("the lock of a killed process is free at once", async () => {
    const child = await holder("killed");
    const taken = withLocks(["killed"], async () => undefined);
    await kill(child);
    expect(await within(taken, AT_ONCE_MS)).toBe(true);
});

it("the lock of a live one is not, and is when that one ends its work", async () => {
    const child = await holder("alive");
    const taken = withLocks(["alive"], async () => undefined);
    expect(await within(taken, AT_ONCE_MS)).toBe(false);
    child.stdin.end();
    expect(await within(taken, AT_ONCE_MS)).toBe(true);
});

it("one in another container is not taken for dead: its pid says nothing here", async () => {
    // Its pid there is 1, which is another process here.
    const child = await holder("contained", "unshare", "--pid", "--fork", "--kill-child", "--mount-proc");
    const taken = withLocks(["contained"], async () => undefined);
    expect(await within(taken, AT_ONCE_MS)).toBe(false);
    child.stdin.end();
    expect(await within(taken, AT_ONCE_MS)).toBe(true);
});

it("nor one of another machine that shares the folder", async () => {
    const child = await holder("shared");
    const [path = ""] = readdirSync(join(folder, "locks"))
        .map((name) => join(folder, "locks", name))
        .filter((path) => path.endsWith(".holder") && readFileSync(path, "utf8").includes(`"pid":${child.pid},`));
    writeFileSync(path, readFileSync(path, "utf8").replace(/"startedAt":"[^:]*/, '"startedAt":"another-boot'));
    const taken = withLocks(["shared"], async () => undefined);
    expect(await within(taken, AT_ONCE_MS)).toBe(false);
    child.stdin.end();
    expect(await within(taken, AT_ONCE_MS)).toBe(true);
});

it("is never held by two, however many are killed", async () => {
    const KILLS = 40;
    const random = seeded(1_122_026);
    let said = "";
    const worker = () => {
        const child = start(process.execPath, CHILD, "count", "crowd", join(folder, "inside"));
        child.stdout.setEncoding("utf8").on("data", (text: string) => {
            said += text;
        });
        return child;
    };
    const workers = [worker(), worker(), worker(), worker()];
    for (let kills = 0; kills < KILLS; kills++) {
        // The next one falls after some more turns: at a moment that no clock of ours sets.
        const turns = said.length + 1 + Math.floor(random() * 12);
        const busy = Date.now();
        while (said.length < turns) {
            // One that was killed before it could note that it has the lock has it for 5 s.
            if (Date.now() - busy > 15_000) throw new Error(`nobody had the lock for 15 s: ${said}`);
            await new Promise((done) => setImmediate(done));
        }
        const at = Math.floor(random() * workers.length);
        await kill(workers[at] as ChildProcess);
        workers[at] = worker();
    }
    expect(said).toMatch(/^\.+$/);
}, 300_000);
