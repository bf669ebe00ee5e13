// What every step of the set-up needs: folders, errors that say what to type, progress on standard error.
// Plain Node without dependencies: this code runs before `npm ci`.

import { accessSync, constants, statSync } from "node:fs";
import { homedir } from "node:os";
import { delimiter, dirname, join } from "node:path";
import { fileURLToPath } from "node:url";

/** The checkout this file belongs to. */
export const projectRoot = dirname(dirname(dirname(fileURLToPath(import.meta.url))));

/**
 * Folder outside the checkout that keeps what was made once: tools, base images.
 *
 * @param {NodeJS.ProcessEnv} env
 * @returns {string}
 */
export function cacheRoot(env = process.env) {
    if (env.BUILDFLEET_CACHE) return env.BUILDFLEET_CACHE;
    return join(env.XDG_CACHE_HOME || join(env.HOME || homedir(), ".cache"), "buildfleet");
}

/** A problem the user can solve: one line that says what is wrong, one that says what to type. */
export class SetupError extends Error {
    /**
     * @param {string} problem
     * @param {string} [next] the command or action that solves it
     */
    constructor(problem, next) {
        super(next ? `${problem}; ${next}` : problem);
        this.name = "SetupError";
    }
}

/**
 * Absolute path of a command in the folders given, PATH by default.
 *
 * @param {string} command
 * @param {string[]} folders
 * @returns {string | undefined}
 */
export function which(command, folders = (process.env.PATH ?? "").split(delimiter).filter(Boolean)) {
    return folders.map((folder) => join(folder, command)).find(isExecutable);
}

/** @param {string} path */
export function isExecutable(path) {
    try {
        accessSync(path, constants.X_OK);
        return statSync(path).isFile();
    } catch {
        return false;
    }
}

/** @param {string} path */
export function exists(path) {
    return statSync(path, { throwIfNoEntry: false }) !== undefined;
}

/** Container architecture of this machine: `amd64` or `arm64`. */
export function hostArchitecture() {
    if (process.arch === "x64") return "amd64";
    if (process.arch === "arm64") return "arm64";
    throw new SetupError(`this machine is ${process.arch}`, "run the local stack on an amd64 or arm64 machine");
}

/**
 * Progress of one thing that takes long: a line at the start, one every 15 seconds, one at the end, on standard error.
 *
 * @template T
 * @param {string} what
 * @param {(note: (text: string) => void) => Promise<T>} action `note` sets what the 15-second lines add
 * @returns {Promise<T>}
 */
export async function timed(what, action) {
    const start = Date.now();
    const seconds = () => `${((Date.now() - start) / 1000).toFixed(1)} s`;
    let detail = "";
    say(`${what} …`);
    const timer = setInterval(() => say(`${what}: ${seconds()}${detail && `, ${detail}`}`), 15_000);
    try {
        const result = await action((text) => {
            detail = text;
        });
        say(`${what}: done in ${seconds()}`);
        return result;
    } finally {
        clearInterval(timer);
    }
}

/** @param {string} line */
export function say(line) {
    process.stderr.write(`${line}\n`);
}
