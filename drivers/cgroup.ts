import { existsSync, readdirSync, readFileSync, rmdirSync } from "node:fs";
import { join } from "node:path";
import { setTimeout as delay } from "node:timers/promises";

const ROOT = "/sys/fs/cgroup";

/**
 * Removes a control group that core/limits/files/enter.sh has made by hand, with the groups of build steps below it, whose daemon
 * has ended; steps that outlived it end, too. systemd removes its own.
 *
 * @throws Error where a process does not end.
 */
export async function removeGroup(name: string, withinMs = 10_000): Promise<void> {
    if (existsSync("/run/systemd/system") || !existsSync(ROOT)) return;
    // All in one place (version 2), or each controller in its own (version 1).
    const roots = [ROOT, ...readdirSync(ROOT).map((controller) => join(ROOT, controller))];
    for (const folder of roots.map((root) => join(root, name)).filter(existsSync)) {
        const end = Date.now() + withinMs;
        // A group is busy until its last process has been buried.
        while (!isRemoved(folder)) {
            if (Date.now() > end)
                throw new Error(`the control group ${folder} can't be removed: a process in it does not end`);
            await delay(20);
        }
    }
}

function isRemoved(folder: string): boolean {
    const groups = readdirSync(folder, { withFileTypes: true }).filter((entry) => entry.isDirectory());
    const areGone = groups.map((entry) => isRemoved(join(folder, entry.name)));
    for (const pid of readFileSync(join(folder, "cgroup.procs"), "utf8").split("\n").filter(Boolean)) end(Number(pid));
    if (areGone.includes(false)) return false;
    try {
        rmdirSync(folder);
        return true;
    } catch (error) {
        if ((error as NodeJS.ErrnoException).code === "EBUSY") return false;
        throw error;
    }
}

function end(pid: number): void {
    try {
        process.kill(pid, "SIGKILL");
    } catch (error) {
        if ((error as NodeJS.ErrnoException).code !== "ESRCH") throw error;
    }
}
