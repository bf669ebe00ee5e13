/** One operation at a time on a stack: a lock file that names its holder; a dead holder's lock is taken over. */
import { linkSync, mkdirSync, readFileSync, renameSync, rmSync, writeFileSync } from "node:fs";
import { dirname } from "node:path";

interface Holder {
    pid: number;
    /** When the process started, in the kernel's ticks: a recycled pid has another. */
    started: string;
}

/** Start time of a process from /proc ("" where there is none); undefined when it doesn't run. */
function startTime(pid: number): string | undefined {
    try {
        process.kill(pid, 0);
    } catch (error) {
        if ((error as NodeJS.ErrnoException).code === "ESRCH") return undefined;
    }
    try {
        const stat = readFileSync(`/proc/${pid}/stat`, "utf8");
        const fields = stat.slice(stat.lastIndexOf(")") + 2).split(" ");
        return fields[0] === "Z" ? undefined : fields[19];
    } catch {
        return "";
    }
}

function read(file: string): string | undefined {
    try {
        return readFileSync(file, "utf8");
    } catch (error) {
        if ((error as NodeJS.ErrnoException).code === "ENOENT") return undefined;
        throw error;
    }
}

/** Takes the lock, or throws naming the process that has it; the returned function gives it back. */
export function lock(file: string): () => void {
    mkdirSync(dirname(file), { recursive: true, mode: 0o700 });
    const own = JSON.stringify({ pid: process.pid, started: startTime(process.pid) } satisfies Partial<Holder>);
    const mine = `${file}.${process.pid}.${Math.random().toString(36).slice(2)}`;
    writeFileSync(mine, own, { mode: 0o600 });
    try {
        for (;;) {
            try {
                linkSync(mine, file); // atomic: the content is there with the name
                return () => {
                    if (read(file) === own) rmSync(file, { force: true });
                };
            } catch (error) {
                if ((error as NodeJS.ErrnoException).code !== "EEXIST") throw error;
            }
            const seen = read(file);
            if (seen === undefined) continue;
            const holder = JSON.parse(seen) as Holder;
            const started = startTime(holder.pid);
            if (started !== undefined && started === holder.started) {
                throw new Error(`the stack is being changed by process ${holder.pid}; wait for it to end (${file})`);
            }
            takeAway(file, seen, `${mine}.stale`);
        }
    } finally {
        rmSync(mine, { force: true });
    }
}

/** Removes a dead process's lock. Another taker may have been faster: what isn't the lock seen goes back. */
function takeAway(file: string, seen: string, aside: string): void {
    try {
        renameSync(file, aside);
    } catch (error) {
        if ((error as NodeJS.ErrnoException).code === "ENOENT") return;
        throw error;
    }
    try {
        if (read(aside) !== seen) linkSync(aside, file);
    } finally {
        rmSync(aside, { force: true });
    }
}
