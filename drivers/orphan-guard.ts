import { readFileSync } from "node:fs";

/** The plugin that runs dynamic providers: on Unix a shell script that waits for its Node process. */
const WRAPPER = "pulumi-resource-pulumi-nodejs";

function parentOf(pid: number): number | undefined {
    try {
        const stat = readFileSync(`/proc/${pid}/stat`, "utf8");
        return Number(stat.slice(stat.lastIndexOf(")") + 2).split(" ")[1]);
    } catch {
        return undefined;
    }
}

function isWrapper(pid: number): boolean {
    try {
        return readFileSync(`/proc/${pid}/cmdline`, "utf8").includes(WRAPPER);
    } catch {
        return false;
    }
}

let guarded = false;

/**
 * Ends this process when the engine that started it is gone. Dynamic operations run in a plugin process; an engine that
 * is killed can't tell it, and it must not go on building, signing and promoting on its own. Tools that it runs end
 * with it (see process.ts).
 */
export function exitWithEngine(intervalMs = 250): void {
    if (guarded || !process.argv[1]?.includes("dynamic-provider")) return;
    guarded = true;
    const parent = process.ppid;
    const engine = isWrapper(parent) ? parentOf(parent) : undefined;
    setInterval(() => {
        const orphaned = process.ppid !== parent || (engine !== undefined && parentOf(parent) !== engine);
        if (orphaned) process.exit(1);
    }, intervalMs).unref();
}
