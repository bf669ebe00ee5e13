// The images that examples/hello builds on: from a public registry where one answers, else made here.

import { mkdirSync, mkdtempSync, readdirSync, readFileSync, renameSync, rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { cacheRoot, exists, SetupError, timed } from "../setup/context.mjs";
import { OciLayout } from "./oci.mjs";
import { ARCHITECTURES, baseKey, recipes } from "./recipe.mjs";
import { makeRootfs, takeOver } from "./rootfs.mjs";

/** @typedef {{repository: string, tag: string, digest: string, name: string}} BaseImage */
/** @typedef {{source: "public"} | {source: "debian", folder: string, images: Record<"runtime" | "build", BaseImage>}} Base */

/** References used where the public registry answers. */
export const PUBLIC_BASE = {
    runtime: "docker.io/library/debian:bookworm-slim",
    build: "docker.io/library/gcc:12-bookworm",
};

const PUBLIC_REGISTRY = "https://registry-1.docker.io/v2/";
const PROBE_MS = 3_000;

/** Names of work folders begin so; the set-up holds a lock, so one that is there was left by a killed set-up. */
const WORK = "making-";

/** What is decided and there; undefined when something has to be done first. Asks nobody.
 * @returns {Base | undefined}
 */
export function readBase() {
    const forced = forcedSource();
    if (forced === "public" || (!forced && exists(join(cacheRoot(), "base", "public")))) return { source: "public" };
    const folder = join(cacheRoot(), "base", baseKey());
    const list = join(folder, "images.json");
    if (!exists(list)) return undefined;
    return { source: "debian", folder, images: JSON.parse(readFileSync(list, "utf8")) };
}

/**
 * Decides where the base comes from, and makes it where it must be made.
 *
 * @returns {Promise<Base>}
 */
export async function provideBase() {
    const there = readBase();
    if (there) return there;
    const root = join(cacheRoot(), "base");
    mkdirSync(root, { recursive: true });
    if (!forcedSource() && (await publicRegistryAnswers())) {
        // Remembered: an answer that came and went would rebuild every image each time.
        writeFileSync(join(root, "public"), PUBLIC_REGISTRY);
        return { source: "public" };
    }
    for (const name of readdirSync(root)) if (name.startsWith(WORK)) await removeWork(join(root, name));
    await timed("making the base images", (note) => makeBase(join(root, baseKey()), root, note));
    const made = readBase();
    if (!made) throw new SetupError(`the base images are not in ${root}`, "run it again");
    return made;
}

/**
 * @param {string} folder
 * @param {string} root
 * @param {(text: string) => void} note
 */
async function makeBase(folder, root, note) {
    const work = mkdtempSync(join(root, WORK));
    try {
        const layout = new OciLayout(join(work, "layout"));
        /** @type {Partial<Record<string, BaseImage>>} */
        const images = {};
        for (const [name, recipe] of Object.entries(recipes())) {
            note(`${recipe.repository}: packages`);
            const tars = await Promise.all(ARCHITECTURES.map((architecture) => makeRootfs(architecture, recipe, work)));
            await takeOver(work);
            note(`${recipe.repository}: layers`);
            const createdBy = `mmdebstrap --include=${recipe.packages.join(",")}`;
            const manifests = await Promise.all(
                tars.map((tar, i) => layout.addPlatform(tar, ARCHITECTURES[i] ?? "", createdBy)),
            );
            const digest = layout.addImage(name, manifests);
            images[name] = { repository: recipe.repository, tag: recipe.tag, digest, name };
            for (const tar of tars) rmSync(tar);
        }
        layout.finish();
        writeFileSync(join(layout.folder, "images.json"), JSON.stringify(images, null, 4));
        rmSync(folder, { recursive: true, force: true });
        renameSync(layout.folder, folder);
    } finally {
        await removeWork(work);
    }
}

/** @param {string} work */
async function removeWork(work) {
    await takeOver(work);
    rmSync(work, { recursive: true, force: true });
}

function forcedSource() {
    const value = process.env.BUILDFLEET_BASE;
    if (value === undefined || value === "") return undefined;
    if (value === "debian" || value === "public") return value;
    throw new SetupError(`BUILDFLEET_BASE is ${JSON.stringify(value)}`, 'set it to "debian" or "public"');
}

/** Any answer will do, "401 log in first" is the usual one. */
async function publicRegistryAnswers() {
    try {
        const response = await fetch(PUBLIC_REGISTRY, { method: "HEAD", signal: AbortSignal.timeout(PROBE_MS) });
        return response.status === 200 || response.status === 401;
    } catch {
        return false;
    }
}
