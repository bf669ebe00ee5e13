import { createHash } from "node:crypto";
import { mkdirSync } from "node:fs";
import { join } from "node:path";
import { lock } from "proper-lockfile";
import { cacheRoot } from "./tools";

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

async function exclusively<T>(key: string, work: () => Promise<T>): Promise<T> {
    const folder = join(cacheRoot(), "locks");
    mkdirSync(folder, { recursive: true });
    const path = join(folder, createHash("sha256").update(key).digest("hex").slice(0, 32));
    let compromised: Error | undefined;
    const release = await lock(path, {
        realpath: false,
        stale: 5_000,
        update: 1_000,
        retries: { retries: 2_000, minTimeout: 25, maxTimeout: 250, factor: 1.3 },
        onCompromised: (error) => {
            compromised = error;
        },
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
 * user. The keys are taken in one order, so two holders never wait for each other. A holder that was killed
 * blocks for at most 5 s.
 */
export async function withLocks<T>(keys: string[], work: () => Promise<T>): Promise<T> {
    const [first, ...rest] = [...new Set(keys)].sort();
    if (first === undefined) return work();
    return inTurn(first, () => exclusively(first, () => (rest.length > 0 ? withLocks(rest, work) : work())));
}
