import { spawn } from "node:child_process";
import { constants } from "node:os";

/**
 * Runs a program that ends by itself when asked to: each SIGINT or SIGTERM is passed on once, and waited for. It gets a
 * process group of its own, since a terminal would otherwise send it a second SIGINT, which means "at once".
 *
 * @param {string} command
 * @param {string[]} args
 * @param {{cwd: string, env: NodeJS.ProcessEnv, stdout?: "capture" | "inherit" | "stderr"}} options where its standard
 *   output goes; "stderr" by default, since our own standard output is kept for results
 * @returns {Promise<{exitCode: number, stdout: string}>} 128 + N for a program that signal N ended
 */
export function runChild(command, args, { cwd, env, stdout: target = "stderr" }) {
    return new Promise((resolve, reject) => {
        const out = /** @type {const} */ ({ capture: "pipe", inherit: "inherit", stderr: 2 })[target];
        // In place before the program runs: a signal in between would end this process and leave the program alone.
        const forward = (/** @type {NodeJS.Signals} */ signal) => void child.kill(signal);
        const stop = () => process.off("SIGINT", forward).off("SIGTERM", forward);
        process.on("SIGINT", forward).on("SIGTERM", forward);
        /** @type {import("node:child_process").ChildProcess} */
        const child = spawn(command, args, { cwd, env, detached: true, stdio: ["ignore", out, "inherit"] });
        let stdout = "";
        child.stdout?.setEncoding("utf8").on("data", (text) => {
            stdout += text;
        });
        child.once("error", (error) => {
            stop();
            reject(error);
        });
        child.once("close", (code, signal) => {
            stop();
            resolve({ exitCode: code ?? 128 + (signal ? constants.signals[signal] : 0), stdout });
        });
    });
}
