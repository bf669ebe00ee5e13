/** Child processes that never outlive the engine. */
import { type ChildProcess, spawn } from "node:child_process";
import { createInterface } from "node:readline";

/**
 * Runs "$@" beside a reader of descriptor 3, a pipe that the engine holds: when the engine dies, however it dies, the pipe closes and the
 * whole process group is killed. Processes that the work detached (daemons) are in groups of their own and live on.
 */
const GUARD = `"$@" 3<&- & work=$!
{ read -r _ <&3; kill -KILL 0; } & guard=$!
wait $work; status=$?
kill $guard 2>/dev/null; exit $status`;

export interface Guarded {
    readonly process: ChildProcess;
    /** Exit code, or 128 + n after signal n. */
    readonly exited: Promise<number>;
    /** Kills the process and its children that share its group. */
    kill(signal?: NodeJS.Signals): void;
}

/** Starts a command under the guard; `onLine` gets each line of its standard output and error. */
export function spawnGuarded(
    command: string,
    args: string[],
    options: { cwd: string; env?: NodeJS.ProcessEnv; onLine(line: string, stream: "stdout" | "stderr"): void },
): Guarded {
    const child = spawn("/bin/sh", ["-c", GUARD, "sh", command, ...args], {
        cwd: options.cwd,
        env: options.env ?? process.env,
        stdio: ["ignore", "pipe", "pipe", "pipe"],
        detached: true,
    });
    for (const stream of ["stdout", "stderr"] as const) {
        const input = child[stream];
        if (input) createInterface({ input }).on("line", (line) => options.onLine(line, stream));
    }
    const exited = new Promise<number>((resolve, reject) => {
        child.on("error", reject);
        child.on("close", (code) => resolve(code ?? 137));
        // Output is complete at "close"; a daemon that kept the pipes must not hold that up.
        child.on("exit", () => {
            setTimeout(() => {
                for (const stream of child.stdio) stream?.destroy();
            }, 200).unref();
        });
    });
    return {
        process: child,
        exited,
        kill(signal = "SIGKILL") {
            if (child.pid === undefined || child.exitCode !== null || child.signalCode !== null) return;
            try {
                process.kill(-child.pid, signal);
            } catch (error) {
                if ((error as NodeJS.ErrnoException).code !== "ESRCH") throw error;
            }
        },
    };
}
