import { mkdirSync, mkdtempSync, readdirSync, rmSync, statSync } from "node:fs";
import { hostname, tmpdir } from "node:os";
import { join } from "node:path";

const swept = new Set<string>();

function isAlive(pid: number): boolean {
    try {
        return process.kill(pid, 0);
    } catch (error) {
        return (error as NodeJS.ErrnoException).code !== "ESRCH";
    }
}

/** Removes what processes of this host and user that were killed have left; once per process and parent. */
function sweep(parent: string, prefix: string): void {
    if (swept.has(parent)) return;
    swept.add(parent);
    for (const name of readdirSync(parent).filter((entry) => entry.startsWith(prefix))) {
        const pid = Number.parseInt(name.slice(prefix.length), 10);
        const path = join(parent, name);
        const isOurs = statSync(path, { throwIfNoEntry: false })?.uid === process.getuid?.();
        if (pid > 0 && isOurs && !isAlive(pid)) rmSync(path, { recursive: true, force: true });
    }
}

/**
 * Runs `use` in a folder of its own (0700) and removes it. As a tool's working directory and its TMPDIR it keeps the tool from
 * reading a configuration file that lies in the program's folder, and from leaving layers behind when it is killed. What a
 * process that was killed itself has left, passwords among it, the next one removes.
 */
export async function inTemporaryFolder<T>(use: (folder: string) => Promise<T>, parent = tmpdir()): Promise<T> {
    mkdirSync(parent, { recursive: true });
    const prefix = `buildfleet-${hostname()}-`;
    sweep(parent, prefix);
    const folder = mkdtempSync(join(parent, `${prefix}${process.pid}-`));
    try {
        return await use(folder);
    } finally {
        rmSync(folder, { recursive: true, force: true });
    }
}
