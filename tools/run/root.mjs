// BuildKit, and so the local fleet, needs root: who is not root, goes on through sudo.

import { homedir } from "node:os";
import { join } from "node:path";
import { projectRoot, say } from "../setup/context.mjs";
import { asRoot } from "../setup/process.mjs";
import { runChild } from "./child.mjs";

/** Variables that sudo replaces or drops, and that say where things are. */
const PLACES = ["PATH", "XDG_CACHE_HOME", "BUILDFLEET_CACHE", "BUILDX_CONFIG", "DOCKER_CONFIG"];

/**
 * Runs this very command again as root, with the user's home and, where none is named, a buildx store in the state
 * folder: nothing of root's is left among the user's files outside the checkout.
 *
 * @param {string[]} args of this script
 * @returns {Promise<number>} exit code
 */
export async function againAsRoot(args) {
    say("BuildKit needs root: going on through sudo");
    /** @type {NodeJS.ProcessEnv} */
    const env = { ...process.env, BUILDX_CONFIG: process.env.BUILDX_CONFIG ?? join(projectRoot, ".buildfleet/buildx") };
    const places = PLACES.flatMap((name) => (env[name] ? [`${name}=${env[name]}`] : []));
    const [command, rest] = asRoot(
        ["-E", "env", `HOME=${homedir()}`, ...places, process.execPath, join(projectRoot, "tools/run.mjs"), ...args],
        "BuildKit",
    );
    return (await runChild(command, rest, { cwd: projectRoot, env, stdout: "inherit" })).exitCode;
}
