import { createHash } from "node:crypto";
import { mkdirSync, readFileSync, readlinkSync, renameSync, rmdirSync, rmSync, statSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { setTimeout as wait } from "node:timers/promises";
import { lock } from "proper-lockfile";
import { bootId, type Daemon, daemonOf, isAlive } from "./daemon";
import { cacheRoot } from "./tools";

/** A lock that its holder has not touched for so long is nobody's. */
const STALE_MS = 5_000;
const WAIT_MS = 500_000;

const queues = new Map<string, Promise<unknown>>();

/** One at a time within this process: the lock files below are for other processes and wait by polling. */
async function inTurn<T>(key: string, work: () => Promise<T>): Promise<T> {
    const turn = (queues.get(key) ?? Promise.resolve()).then(work, work);
    const settled = turn.catch(() => undefined);
    queues.set(key, settled);
    try {
        return await turn;
    } finally {
        if (queues.get(key) === settled) queues.delete(key);
    }
}

/** Who holds a lock. */
interface Holder extends Daemon {
    /** The pid namespace, in which alone the pid says something. */
    namespace: string;
    /** The very folder that is the lock: another one of its name is somebody else's. */
    folder: string;
}

const folderOf = (path: string) => `${path}.lock`;
const noteOf = (path: string) => `${path}.holder`;
const namespace = () => readlinkSync("/proc/self/ns/pid");

function idOf(folder: string): string {
    const { dev, ino, birthtimeNs } = statSync(folder, { bigint: true });
    return `${dev}:${ino}:${birthtimeNs}`;
}

const folderId = (path: string) => idOf(folderOf(path));

/** Writes down that this process has the lock. Where /proc can't tell a dead holder from a live one, the age alone decides. */
function note(path: string): string | undefined {
    let text: string;
    try {
        text = JSON.stringify({ ...daemonOf(process.pid), namespace: namespace(), folder: folderId(path) });
    } catch {
        return undefined; // another system than Linux, or a /proc that is closed
    }
    writeFileSync(noteOf(path), text);
    return text;
}

function read(path: string): string {
    try {
        return readFileSync(noteOf(path), "utf8");
    } catch {
        return ""; // it was released meanwhile, or is not noted (yet), or never is
    }
}

/** The lock's folder, where its holder is known to have ended. */
function leftFolder(path: string): string | undefined {
    const text = read(path);
    try {
        const { namespace: space, folder, ...daemon }: Holder = JSON.parse(text);
        // In a folder that machines share, another one's processes are none here, and live.
        const isOfHere = daemon.startedAt.startsWith(`${bootId()}:`) && space === namespace();
        return isOfHere && folder === folderId(path) && !isAlive(daemon) ? folder : undefined;
    } catch {
        return undefined; // the age decides
    }
}

const tryLock = (path: string, onCompromised?: (error: Error) => void) =>
    lock(path, { realpath: false, stale: STALE_MS, update: 1_000, ...(onCompromised ? { onCompromised } : {}) }).catch(
        (error: NodeJS.ErrnoException) => {
            if (error.code !== "ELOCKED") throw error;
            return undefined;
        },
    );

/** Takes away a lock whose holder has ended; one process at a time, or the second would take away a third's. */
async function clear(path: string): Promise<boolean> {
    if (!leftFolder(path)) return false;
    const release = await tryLock(`${path}.clear`);
    if (!release) return false;
    try {
        const left = leftFolder(path);
        if (!left) return false;
        const aside = `${folderOf(path)}.${process.pid}`;
        renameSync(folderOf(path), aside);
        if (idOf(aside) !== left) {
            // Somebody has taken it over by its age just now.
            renameSync(aside, folderOf(path));
            return false;
        }
        rmSync(noteOf(path), { force: true });
        rmdirSync(aside);
        return true;
    } catch (error) {
        if ((error as NodeJS.ErrnoException).code === "ENOENT") return true; // it is cleared already
        throw error;
    } finally {
        await release();
    }
}

/** @throws Error when it is held for longer than 500 s. */
async function acquire(key: string, path: string, onCompromised: (error: Error) => void): Promise<() => Promise<void>> {
    const end = Date.now() + WAIT_MS;
    for (let pause = 25; ; pause = Math.min(250, pause * 1.3)) {
        const release = await tryLock(path, onCompromised);
        if (release) {
            let noted: string | undefined;
            try {
                noted = note(path);
            } catch (error) {
                await release();
                throw error;
            }
            return async () => {
                await release();
                // Unless the next one's is there already.
                if (read(path) === noted) rmSync(noteOf(path), { force: true });
            };
        }
        if (await clear(path)) continue;
        if (Date.now() > end)
            throw new Error(`${key} is in use by another process for ${WAIT_MS / 1_000} s; try again`);
        await wait(pause);
    }
}

async function exclusively<T>(key: string, work: () => Promise<T>): Promise<T> {
    const folder = join(cacheRoot(), "locks");
    mkdirSync(folder, { recursive: true });
    const path = join(folder, createHash("sha256").update(key).digest("hex").slice(0, 32));
    let compromised: Error | undefined;
    const release = await acquire(key, path, (error) => {
        compromised = error;
    });
    try {
        const result = await work();
        if (compromised)
            throw new Error(`the lock of ${key} was lost while it was held (${compromised.message}); run again`);
        return result;
    } finally {
        if (!compromised) await release();
    }
}

/**
 * Holds every key while `work` runs: against other work in this process and in other processes of this machine and
 * user. The keys are taken in one order, so two holders never wait for each other. What a killed holder held is free at
 * once on Linux, and where /proc does not tell that it was killed (another system, another container) after 5 s.
 */
export async function withLocks<T>(keys: string[], work: () => Promise<T>): Promise<T> {
    const [first, ...rest] = [...new Set(keys)].sort();
    if (first === undefined) return work();
    return inTurn(first, () => exclusively(first, () => (rest.length > 0 ? withLocks(rest, work) : work())));
}
