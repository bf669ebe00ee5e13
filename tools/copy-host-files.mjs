// Puts the scripts and units of core/*/files beside the compiled code that reads them; what is gone there goes here. Only
// what differs is written, and whole: another program may be reading it.

import { mkdirSync, readdirSync, readFileSync, renameSync, rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { projectRoot } from "./setup/context.mjs";

for (const part of ["host", "emulation", "limits", "registry-server"]) {
    copy(join(projectRoot, "core", part, "files"), join(projectRoot, "dist", "core", part, "files"));
}

/**
 * @param {string} source
 * @param {string} target
 */
function copy(source, target) {
    mkdirSync(target, { recursive: true });
    const files = new Map(readdirSync(source).map((name) => [name, readFileSync(join(source, name))]));
    const there = new Map(readdirSync(target).map((name) => [name, readFileSync(join(target, name))]));
    for (const [name, content] of files) {
        if (there.get(name)?.equals(content)) continue;
        const partial = join(target, `.${process.pid}.${name}`);
        writeFileSync(partial, content);
        renameSync(partial, join(target, name));
    }
    for (const name of there.keys()) {
        if (!files.has(name) && !name.startsWith(".")) rmSync(join(target, name), { force: true });
    }
}
