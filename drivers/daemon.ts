import { spawn } from "node:child_process";
import { closeSync, mkdirSync, openSync, readdirSync, readFileSync } from "node:fs";
import { dirname } from "node:path";
import { setTimeout as delay } from "node:timers/promises";
import { findTool } from "./tools";

/** A process that outlives us, told apart from a later one that got the same pid. */
export interface Daemon {
    pid: number;
    /** Clock ticks since boot at which it started (proc(5), stat field 22), with the boot's id. */
    startedAt: string;
}

/** Of this machine since it was started. */
export function bootId(): string {
    return readFileSync("/proc/sys/kernel/random/boot_id", "utf8").trim();
}

/** A first thread that has ended is a zombie while others, and the sockets they share, still go on. */
function threadsOf(pid: number): number {
    try {
        return readdirSync(`/proc/${pid}/task`).length;
    } catch {
        return 0;
    }
}

/** The process of this pid, or nothing where there is none (or only a zombie of it). */
export function daemonOf(pid: number): Daemon | undefined {
    let stat: string;
    try {
        stat = readFileSync(`/proc/${pid}/stat`, "utf8");
    } catch {
        return undefined;
    }
    const fields = stat.slice(stat.lastIndexOf(")") + 2).split(" ");
    const [state] = fields;
    if (state === "X" || (state === "Z" && threadsOf(pid) < 2)) return undefined;
    return { pid, startedAt: `${bootId()}:${fields[19]}` };
}

export function isAlive(daemon: Daemon): boolean {
    return daemonOf(daemon.pid)?.startedAt === daemon.startedAt;
}

/** The process named in a pid file, where it is alive. */
export function readPidFile(path: string): Daemon | undefined {
    let text: string;
    try {
        text = readFileSync(path, "utf8");
    } catch {
        return undefined;
    }
    const [pid, startedAt] = text.trim().split(" ");
    const found = daemonOf(Number(pid));
    // A pid file without the start is one whose starter was killed before it could add it: the command line tells.
    return found && (startedAt === undefined || found.startedAt === startedAt) ? found : undefined;
}

/** A daemon lives longer than this run: it gets no secret and no setting that was meant for the run alone. */
function inherited(): Record<string, string> {
    const kept = /^(PATH|HOME|USER|LANG|LC_.*|TZ|TMPDIR|XDG_RUNTIME_DIR|SSL_CERT_(FILE|DIR)|(HTTPS?|NO|ALL)_PROXY)$/i;
    return Object.fromEntries(
        Object.entries(process.env).filter((entry): entry is [string, string] => kept.test(entry[0])),
    );
}

/**
 * Starts a process in a session of its own, its output going to a file. The process writes its own pid file before
 * it becomes the command, so there is no moment at which it runs and no file names it.
 */
export async function startDaemon(spec: {
    command: string;
    args: string[];
    cwd: string;
    env: Record<string, string>;
    pidFile: string;
    logFile: string;
    /** Words before the command that become it; see core/limits. */
    through?: string[];
}): Promise<Daemon> {
    mkdirSync(dirname(spec.logFile), { recursive: true });
    const log = openSync(spec.logFile, "a", 0o600);
    try {
        const script = 'echo "$$" > "$0"; exec "$@"';
        const words = [...(spec.through ?? []), findTool(spec.command), ...spec.args];
        const child = spawn("/bin/sh", ["-c", script, spec.pidFile, ...words], {
            cwd: spec.cwd,
            env: { ...inherited(), ...spec.env },
            detached: true,
            stdio: ["ignore", log, log],
        });
        await new Promise<void>((resolve, reject) => {
            child.once("spawn", resolve);
            child.once("error", reject);
        });
        child.unref();
        const daemon = child.pid === undefined ? undefined : daemonOf(child.pid);
        if (!daemon) throw new Error(`${spec.command} ended at once:\n${lastLines(spec.logFile)}`);
        return daemon;
    } finally {
        closeSync(log);
    }
}

/** SIGTERM, and SIGKILL to its whole process group when it has not ended by then. */
export async function stopDaemon(daemon: Daemon, graceMs = 10_000): Promise<void> {
    const gone = async (withinMs: number) => {
        const end = Date.now() + withinMs;
        while (isAlive(daemon)) {
            if (Date.now() > end) return false;
            await delay(20);
        }
        return true;
    };
    if (!isAlive(daemon)) return;
    process.kill(daemon.pid, "SIGTERM");
    if (await gone(graceMs)) return;
    try {
        process.kill(-daemon.pid, "SIGKILL");
    } catch (error) {
        if ((error as NodeJS.ErrnoException).code !== "ESRCH") throw error;
    }
    if (!(await gone(5_000))) throw new Error(`process ${daemon.pid} does not end, not even by SIGKILL`);
}

/** The last lines of a log, each marked, for an error. */
export function lastLines(path: string, count = 10): string {
    let text = "";
    try {
        text = readFileSync(path, "utf8");
    } catch {
        return "  | (no log)";
    }
    return text
        .split("\n")
        .filter((line) => line.trim())
        .slice(-count)
        .map((line) => `  | ${line}`)
        .join("\n");
}
