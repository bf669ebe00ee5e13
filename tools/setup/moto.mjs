// The emulator of AWS's APIs (moto), for the tests: a Python environment of its own, from tools/moto/requirements.txt.

import { spawnSync } from "node:child_process";
import { createHash } from "node:crypto";
import { mkdirSync, readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { cacheRoot, exists, projectRoot, SetupError, timed, which } from "./context.mjs";
import { run } from "./process.mjs";

const REQUIREMENTS = join(projectRoot, "tools", "moto", "requirements.txt");

/** Written last: an environment without it was not finished. */
const STAMP = "complete";

/** @type {string | undefined} */
let python;

/** Path of a Python that can make environments: the one on PATH, else the distribution's. */
export function findPython() {
    const canMakeEnvironments = (/** @type {string} */ path) =>
        spawnSync(path, ["-c", "import ensurepip, venv"], { stdio: "ignore" }).status === 0;
    python ??= [which("python3"), "/usr/bin/python3"].find((path) => path && exists(path) && canMakeEnvironments(path));
    return python;
}

/** Folder of the environment; another list of packages gets another one. */
export function motoFolder() {
    const hash = createHash("sha256").update(readFileSync(REQUIREMENTS)).digest("hex");
    return join(cacheRoot(), "moto", hash.slice(0, 16));
}

/** Whether the environment is complete, and its Python still there. */
export function motoInstalled() {
    return exists(join(motoFolder(), STAMP)) && exists(join(motoFolder(), "bin", "python"));
}

/** Makes the environment; what an earlier list of packages has left is removed. */
export async function installMoto() {
    const command = findPython();
    if (!command) throw new SetupError("Python with the module venv is missing", "apt-get install python3-venv");
    const folder = motoFolder();
    mkdirSync(join(cacheRoot(), "moto"), { recursive: true });
    for (const name of readdirSync(join(cacheRoot(), "moto"))) {
        rmSync(join(cacheRoot(), "moto", name), { recursive: true, force: true });
    }
    await timed("installing moto, the emulator of AWS's APIs", async (note) => {
        note("python3 -m venv");
        await run(command, ["-m", "venv", folder]);
        // pip tells its progress on standard output, which is not read line by line.
        const pip = ["-m", "pip", "--no-input", "--disable-pip-version-check", "--no-cache-dir", "install"];
        const options = ["--progress-bar=off", "--require-hashes", "-r", REQUIREMENTS];
        let packages = 0;
        await run("sh", ["-c", 'exec "$@" >&2', "sh", join(folder, "bin", "python"), ...pip, ...options], {
            onLine: (line) => {
                if (line.startsWith("Collecting ")) note(`${++packages} packages`);
                else if (line.startsWith("Installing ")) note(`${packages} packages, unpacking`);
            },
            next: "run it again; is Python's package index reachable from here?",
        });
        writeFileSync(join(folder, STAMP), "");
    });
}
