// What belongs to the checkout: its packages and its compiled sources.

import { createHash } from "node:crypto";
import { readdirSync, readFileSync, statSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { exists, projectRoot, timed } from "./context.mjs";
import { run } from "./process.mjs";

const LOCKFILE = join(projectRoot, "package-lock.json");
const INSTALLED = join(projectRoot, "node_modules", ".package-lock.json");
const BUILT_STAMP = join(projectRoot, "node_modules", ".buildfleet-built");

/**
 * Whether node_modules is what package-lock.json says, by the copy of it that npm leaves there as the last thing it does.
 * Times don't tell: a checkout sets them anew.
 */
export function dependenciesInstalled() {
    if (!exists(INSTALLED)) return false;
    const { "": _project, ...wanted } = JSON.parse(readFileSync(LOCKFILE, "utf8")).packages;
    const installed = JSON.parse(readFileSync(INSTALLED, "utf8")).packages;
    const same = (/** @type {[string, any]} */ [path, { version, integrity }]) =>
        installed[path]?.version === version && installed[path]?.integrity === integrity;
    return (
        Object.keys(installed).every((path) => wanted[path]) &&
        Object.entries(wanted).every((entry) => same(entry) || (entry[1].optional && !installed[entry[0]]))
    );
}

/** Installs exactly what package-lock.json says, and removes what it does not. */
export async function installDependencies() {
    await timed("npm ci", () => run("npm", ["ci", "--no-audit", "--no-fund", "--loglevel=warn"], { cwd: projectRoot }));
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
