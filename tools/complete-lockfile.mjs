// Completes package-lock.json after `npm install`: npm leaves out the optional packages of other platforms that its
// registry does not offer, and `npm ci` then refuses the lock file. Such an entry is never installed here: it only says
// which platform it is for.

import { readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { projectRoot, say } from "./setup/context.mjs";

const SYSTEMS = ["android", "darwin", "freebsd", "linux", "netbsd", "openbsd", "openharmony", "sunos", "win32"];
const PROCESSORS = ["arm", "arm64", "ia32", "loong64", "ppc64", "riscv64", "s390x", "x64"];

const path = join(projectRoot, "package-lock.json");
const lock = JSON.parse(readFileSync(path, "utf8"));
let added = 0;
for (const [owner, { optionalDependencies = {}, dev }] of Object.entries(lock.packages)) {
    for (const [name, version] of Object.entries(optionalDependencies)) {
        if (isLocked(owner, name)) continue;
        lock.packages[`node_modules/${name}`] = { version, ...platformOf(name), ...(dev && { dev }), optional: true };
        added += 1;
    }
}
lock.packages = Object.fromEntries(Object.entries(lock.packages).sort(([a], [b]) => a.localeCompare(b, "en")));
writeFileSync(path, `${JSON.stringify(lock, null, 4)}\n`);
say(`${added} optional packages of other platforms added to package-lock.json`);

/**
 * Whether `owner` finds the package in its own node_modules or in one above it.
 *
 * @param {string} owner
 * @param {string} name
 * @returns {boolean}
 */
function isLocked(owner, name) {
    if (lock.packages[`${owner ? `${owner}/` : ""}node_modules/${name}`]) return true;
    if (owner === "") return false;
    return isLocked(owner.slice(0, Math.max(0, owner.lastIndexOf("/node_modules/"))), name);
}

/**
 * What a platform's package is for, from its name: `@rollup/rollup-linux-x64-musl`.
 *
 * @param {string} name
 */
function platformOf(name) {
    const words = (name.split("/").at(-1) ?? "").split("-");
    const os = words.find((word) => SYSTEMS.includes(word));
    const cpu = words.find((word) => PROCESSORS.includes(word));
    if (!os || !cpu) throw new Error(`${name} is missing from package-lock.json, and its name tells no platform`);
    const libc = words.some((word) => word.startsWith("musl")) ? "musl" : "glibc";
    return { cpu: [cpu], os: [os], ...(os === "linux" && { libc: [libc] }) };
}
