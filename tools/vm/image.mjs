// The disk, the kernel and the initramfs of the machine that the tests boot; made once, kept in the cache.

import { mkdirSync, mkdtempSync, readdirSync, renameSync, rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { onReadOnlyMachine, proxySettings, takeOver } from "../base/rootfs.mjs";
import { aptSources, readDistribution } from "../base/sources.mjs";
import { cacheRoot, exists, timed } from "../setup/context.mjs";
import { asRoot, run } from "../setup/process.mjs";
import { customizeHook, recipe } from "./recipe.mjs";

/** Names of work folders begin so; the set-up holds a lock, so one that is there was left by a killed set-up. */
const WORK = "making-";

/**
 * @typedef {object} MachineImage
 * @property {string} disk raw ext4 file system, never written to
 * @property {string} kernel
 * @property {string} initrd
 * @property {string} programs folder with Debian's runc and CNI plugins, as their packages lay them out
 */

/**
 * The image that is there; undefined when it has to be made first.
 *
 * @param {import("./recipe.mjs").Architecture} architecture
 * @returns {MachineImage | undefined}
 */
export function readMachineImage(architecture) {
    const folder = folderOf(architecture);
    if (!exists(folder)) return undefined;
    const at = (/** @type {string} */ name) => join(folder, name);
    return { disk: at("disk.raw"), kernel: at("vmlinuz"), initrd: at("initrd"), programs: at("programs") };
}

/**
 * Makes the image: 2 minutes for this machine's own architecture, several times that for the other one, whose packages' scripts
 * run emulated.
 *
 * @param {import("./recipe.mjs").Architecture} architecture
 */
export async function provideMachineImage(architecture) {
    const root = join(cacheRoot(), "vm");
    mkdirSync(root, { recursive: true });
    for (const name of readdirSync(root)) if (name.startsWith(WORK)) await removeWork(join(root, name));
    const work = mkdtempSync(join(root, WORK));
    try {
        await timed(`making the ${architecture} machine's image`, (note) => makeImage(architecture, work, note));
        await takeOver(work);
        // An older recipe's image would never be used again.
        for (const name of readdirSync(root)) {
            if (name.startsWith(`${architecture}-`)) rmSync(join(root, name), { recursive: true });
        }
        renameSync(join(work, "image"), folderOf(architecture));
    } finally {
        await removeWork(work);
    }
}

/**
 * @param {import("./recipe.mjs").Architecture} architecture
 * @param {string} work
 * @param {(text: string) => void} note
 */
async function makeImage(architecture, work, note) {
    const output = join(work, "image");
    mkdirSync(output);
    const sources = join(work, "sources.list");
    writeFileSync(sources, `${aptSources(architecture).join("\n")}\n`);
    const command = onReadOnlyMachine(work, [
        "env",
        `TMPDIR=${work}`,
        "mmdebstrap",
        "--mode=root",
        "--variant=minbase",
        "--format=null",
        // Programs of the other architecture do run: the set-up has registered the emulator.
        "--skip=check/qemu",
        `--architectures=${architecture}`,
        `--include=${recipe(architecture).packages.join(",")}`,
        // Nobody reads these, and nothing waits for this disk to be safe.
        ...["man", "locale", "doc", "info"].map((name) => `--dpkgopt=path-exclude=/usr/share/${name}/*`),
        "--dpkgopt=force-unsafe-io",
        ...(await proxySettings()).map((line) => `--aptopt=${line}`),
        `--customize-hook=${customizeHook(output, work)}`,
        readDistribution().suite,
        "-",
        sources,
    ]);
    await run(...asRoot(command, "making the machine's image"), {
        onLine: (line) => line.startsWith("I: ") && note(line.slice(3)),
        next: "check the machine's apt sources: apt-get update",
    });
}

/** @param {import("./recipe.mjs").Architecture} architecture */
function folderOf(architecture) {
    return join(cacheRoot(), "vm", `${architecture}-${recipe(architecture).key}`);
}

/** @param {string} work */
async function removeWork(work) {
    await takeOver(work);
    rmSync(work, { recursive: true, force: true });
}
