// What belongs to the checkout: its packages and its compiled sources.

import { createHash } from "node:crypto";
import { readdirSync, readFileSync, statSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { exists, projectRoot, timed } from "./context.mjs";
import { run } from "./process.mjs";

const LOCKFILE = join(projectRoot, "package-lock.json");
const INSTALLED = join(projectRoot, "node_modules", ".package-lock.json");
const INSTALLED_STAMP = join(projectRoot, "node_modules", ".buildfleet-installed");
const BUILT_STAMP = join(projectRoot, "node_modules", ".buildfleet-built");

/** Whether node_modules is what package-lock.json says. npm writes its own copy of the lock file last. */
export function dependenciesInstalled() {
    if (!exists(INSTALLED)) return false;
    if (exists(INSTALLED_STAMP) && readFileSync(INSTALLED_STAMP, "utf8") === hashFile(LOCKFILE)) return true;
    return statSync(INSTALLED).mtimeMs >= statSync(LOCKFILE).mtimeMs;
}

/** Installs exactly what package-lock.json says, and removes what it does not. */
export async function installDependencies() {
    await timed("npm ci", () => run("npm", ["ci", "--no-audit", "--no-fund"], { cwd: projectRoot }));
    writeFileSync(INSTALLED_STAMP, hashFile(LOCKFILE));
}

/** Whether dist/ was made from the sources that are there now. */
export function sourcesBuilt() {
    if (!exists(join(projectRoot, "dist")) || !exists(BUILT_STAMP)) return false;
    return readFileSync(BUILT_STAMP, "utf8") === sourceSignature();
}

/** Compiles the sources. */
export async function buildSources() {
    const signature = sourceSignature();
    await timed("npm run build", () => run("npm", ["run", "--silent", "build"], { cwd: projectRoot }));
    writeFileSync(BUILT_STAMP, signature);
}

/** Names the state of everything tsc reads: a file added, changed or removed changes it. */
function sourceSignature() {
    const config = JSON.parse(readFileSync(join(projectRoot, "tsconfig.json"), "utf8"));
    const hash = createHash("sha256");
    for (const path of ["tsconfig.json", "package.json", ...config.include].flatMap(listFiles).sort()) {
        const { size, mtimeMs } = statSync(join(projectRoot, path));
        hash.update(`${path} ${size} ${mtimeMs}\n`);
    }
    return hash.digest("hex");
}

/**
 * @param {string} path file or folder below the project
 * @returns {string[]}
 */
function listFiles(path) {
    const info = statSync(join(projectRoot, path), { throwIfNoEntry: false });
    if (!info) return [];
    if (!info.isDirectory()) return [path];
    return readdirSync(join(projectRoot, path)).flatMap((name) => listFiles(join(path, name)));
}

/** @param {string} path */
function hashFile(path) {
    return createHash("sha256").update(readFileSync(path)).digest("hex");
}
