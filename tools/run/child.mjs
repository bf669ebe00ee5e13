import { spawn } from "node:child_process";
import { constants } from "node:os";

/**
 * Runs a program that ends by itself when asked to: each SIGINT or SIGTERM is passed on once, and waited for. It gets a
 * process group of its own, since a terminal would otherwise send it a second SIGINT, which means "at once".
 *
 * @param {string} command
 * @param {string[]} args
 * @param {{cwd: string, env: NodeJS.ProcessEnv, capture?: boolean}} options with `capture` standard output is returned,
 *   without it goes to standard error: our own is kept for results
 * @returns {Promise<{exitCode: number, stdout: string}>} 128 + N for a program that signal N ended
 */
export function runChild(command, args, { cwd, env, capture = false }) {
    return new Promise((resolve, reject) => {
        const child = spawn(command, args, { cwd, env, detached: true, stdio: ["ignore", capture ? "pipe" : 2, 2] });
        let stdout = "";
        child.stdout?.setEncoding("utf8").on("data", (text) => {
            stdout += text;
        });
        const forward = (/** @type {NodeJS.Signals} */ signal) => void child.kill(signal);
        const stop = () => process.off("SIGINT", forward).off("SIGTERM", forward);
        process.on("SIGINT", forward).on("SIGTERM", forward);
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
