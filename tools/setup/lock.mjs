import { spawn } from "node:child_process";
import { mkdirSync } from "node:fs";
import { dirname } from "node:path";
import { SetupError, say } from "./context.mjs";

const BUSY = 75;

/**
 * Runs `action` while holding an exclusive lock; a second caller waits. The kernel's lock is held by a child that
 * reads from a pipe of ours: when this process ends, even by SIGKILL, the pipe closes and the lock is free.
 *
 * @template T
 * @param {string} path lock file, made if need be
 * @param {() => Promise<T>} action
 * @returns {Promise<T>}
 */
export async function withLock(path, action) {
    mkdirSync(dirname(path), { recursive: true });
    let release = await acquire(path, ["--nonblock", "--conflict-exit-code", String(BUSY)]);
    if (!release) {
        say(`another set-up is at work (${path}); waiting for it`);
        release = await acquire(path, []);
    }
    if (!release) throw new SetupError(`the lock ${path} could not be taken`, "run it again");
    try {
        return await action();
    } finally {
        await release();
    }
}

/**
 * @param {string} path
 * @param {string[]} options
 * @returns {Promise<(() => Promise<void>) | undefined>} undefined when somebody else holds the lock
 */
function acquire(path, options) {
    return new Promise((resolve, reject) => {
        const holder = spawn("flock", ["--exclusive", ...options, path, "sh", "-c", "echo held; exec cat"], {
            stdio: ["pipe", "pipe", "inherit"],
        });
        const ended = new Promise((done) => holder.once("close", done));
        holder.once("error", (cause) => {
            reject(new SetupError(`flock could not be started: ${cause.message}`, "apt-get install util-linux"));
        });
        holder.once("close", (code) => {
            if (code === BUSY) resolve(undefined);
            else reject(new SetupError(`flock ended with exit code ${code}`, `is ${path} writable?`));
        });
        holder.stdout.once("data", () =>
            resolve(async () => {
                holder.stdin.end();
                await ended;
            }),
        );
    });
}
