import { spawn } from "node:child_process";
import { SetupError, which } from "./context.mjs";

// Some tools say what is wrong first, and then how they are used; others say it last.
const FIRST_LINES = 8;
const LAST_LINES = 20;

/**
 * Runs a command to its end and returns its standard output.
 *
 * @param {string} command
 * @param {string[]} args
 * @param {{cwd?: string, env?: Record<string, string>, onLine?: (line: string) => void, next?: string}} [options]
 *   `onLine` sees each line of standard error; `next` is the advice when the command fails.
 * @returns {Promise<string>}
 * @throws {SetupError} with the exit code and the last lines of the output
 */
export function run(command, args, options = {}) {
    return new Promise((resolve, reject) => {
        const child = spawn(command, args, {
            cwd: options.cwd,
            env: { ...process.env, ...options.env },
            stdio: ["ignore", "pipe", "pipe"],
        });
        let stdout = "";
        let partial = "";
        /** @type {string[]} */
        const lines = [];
        const keep = (/** @type {string} */ line) => {
            lines.push(line);
            if (lines.length > FIRST_LINES + LAST_LINES) lines[FIRST_LINES] = "…";
            if (lines.length > FIRST_LINES + LAST_LINES + 1) lines.splice(FIRST_LINES + 1, 1);
        };
        child.stdout.setEncoding("utf8").on("data", (text) => {
            stdout += text;
        });
        child.stderr.setEncoding("utf8").on("data", (text) => {
            const complete = (partial + text).split("\n");
            partial = complete.pop() ?? "";
            for (const line of complete) {
                keep(line);
                options.onLine?.(line);
            }
        });
        const stop = forwardSignals(child);
        child.on("error", (cause) => {
            stop();
            reject(new SetupError(`${command} could not be started: ${cause.message}`, options.next));
        });
        child.on("close", (code, signal) => {
            stop();
            if (code === 0) return resolve(stdout);
            if (partial) keep(partial);
            const shown = (lines.length > 0 ? lines : stdout.trimEnd().split("\n").slice(-LAST_LINES)).join("\n  ");
            const how = signal ? `was ended by ${signal}` : `ended with exit code ${code}`;
            reject(new SetupError(`${command} ${args[0] ?? ""} ${how}:\n  ${shown}\n`, options.next));
        });
    });
}

/**
 * Passes SIGINT and SIGTERM on to a child while it runs, so that it never outlives this process by an interruption.
 *
 * @param {import("node:child_process").ChildProcess} child
 * @returns {() => void} stops forwarding
 */
export function forwardSignals(child) {
    const forward = (/** @type {NodeJS.Signals} */ signal) => void child.kill(signal);
    process.on("SIGINT", forward);
    process.on("SIGTERM", forward);
    return () => {
        process.off("SIGINT", forward);
        process.off("SIGTERM", forward);
    };
}

/**
 * A command line that runs as root: as it is for root, through sudo for everybody else.
 *
 * @param {string[]} command
 * @param {string} purpose for the error of who has neither
 * @returns {[string, string[]]}
 */
export function asRoot(command, purpose) {
    const [first = "", ...rest] = process.getuid?.() === 0 ? command : ["sudo", ...command];
    if (first === "sudo" && !which("sudo")) {
        throw new SetupError(`${purpose} needs root, and there is no sudo`, `run as root: ${command.join(" ")}`);
    }
    return [first, rest];
}
