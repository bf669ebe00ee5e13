// BuildKit as its release's tarball lays it out (bin/buildkitd, bin/buildctl, bin/buildkit-runc, bin/buildkit-cni-*), made
// of what there is: the two from the pinned Go module, runc and the CNI plugins from Debian.

import { createHash } from "node:crypto";
import {
    copyFileSync,
    createReadStream,
    mkdirSync,
    mkdtempSync,
    readdirSync,
    readFileSync,
    renameSync,
    rmSync,
    statSync,
} from "node:fs";
import { join } from "node:path";
import { pipeline } from "node:stream/promises";
import { cacheRoot, exists, hostArchitecture, projectRoot, SetupError, timed } from "../setup/context.mjs";
import { run } from "../setup/process.mjs";
import { defaultToolbox, inspectTools, installTools, requireGo } from "../setup/tools.mjs";
import { pinnedVersion, TOOLS } from "../setup/versions.mjs";
import { readMachineImage } from "./image.mjs";

/** @typedef {import("./recipe.mjs").Architecture} Architecture */
/** @typedef {{path: string, version: string, sha256: string}} Artifact */

/** Where the release has it, and where Debian's packages do. */
const PROGRAMS = {
    "buildkit-runc": "usr/sbin/runc",
    "buildkit-cni-bridge": "usr/lib/cni/bridge",
    "buildkit-cni-firewall": "usr/lib/cni/firewall",
    "buildkit-cni-host-local": "usr/lib/cni/host-local",
    "buildkit-cni-loopback": "usr/lib/cni/loopback",
};

const VERSION = pinnedVersion(
    readFileSync(join(projectRoot, "tools/buildkit/go.mod"), "utf8"),
    "github.com/moby/buildkit",
);

/** Always the pinned BuildKit, never one of the user's: what is tested is what the library installs on machines.
 * @param {Architecture} architecture
 */
function toolbox(architecture) {
    const own = defaultToolbox();
    const tools = TOOLS.filter(({ module }) => module === "buildkit");
    if (architecture === hostArchitecture()) return { ...own, tools, folders: [] };
    /** @type {typeof own.compile} */
    const compile = async (...args) => {
        process.env.GOARCH = architecture;
        try {
            await own.compile(...args);
        } finally {
            delete process.env.GOARCH;
        }
    };
    return { ...own, tools, folders: [], compile, cache: join(cacheRoot(), `tools-${architecture}`) };
}

/**
 * The tarball that is there; undefined when it has to be made first.
 *
 * @param {Architecture} architecture
 * @returns {Promise<Artifact | undefined>}
 */
export async function readArtifact(architecture) {
    const path = await pathOf(architecture);
    if (!path || !exists(path)) return undefined;
    const hash = createHash("sha256");
    await pipeline(createReadStream(path), hash);
    return { path, version: VERSION, sha256: hash.digest("hex") };
}

/** Whether the tarball is there. @param {Architecture} architecture */
export async function hasArtifact(architecture) {
    const path = await pathOf(architecture);
    return path !== undefined && exists(path);
}

/** Named by all that is in it. @param {Architecture} architecture */
async function pathOf(architecture) {
    const image = readMachineImage(architecture);
    const tools = await inspectTools(toolbox(architecture));
    if (!image || tools.some(({ action }) => action !== "cached")) return undefined;
    const hash = createHash("sha256").update(JSON.stringify([PROGRAMS, image.programs]));
    for (const { path } of tools) hash.update(String(statSync(path).mtimeMs));
    const name = `buildkit-v${VERSION}.linux-${architecture}-${hash.digest("hex").slice(0, 12)}.tar.gz`;
    return join(cacheRoot(), "vm", name);
}

/**
 * Makes it; the machine's image must be there.
 *
 * @param {Architecture} architecture
 */
export async function provideArtifact(architecture) {
    const image = readMachineImage(architecture);
    if (!image) throw new SetupError(`there is no ${architecture} machine image`, "npm run setup");
    const box = toolbox(architecture);
    const missing = await inspectTools(box);
    if (missing.some(({ action }) => action === "compile")) await requireGo(box);
    await installTools(box, missing);
    const path = await pathOf(architecture);
    if (!path) throw new SetupError(`BuildKit for ${architecture} was not compiled`, "run it again");
    const work = mkdtempSync(join(cacheRoot(), "vm", "making-"));
    try {
        await timed(`packing BuildKit for ${architecture}`, async () => {
            mkdirSync(join(work, "bin"));
            for (const { tool, path: binary } of await inspectTools(box))
                copyFileSync(binary, join(work, "bin", tool.name));
            for (const [name, source] of Object.entries(PROGRAMS))
                copyFileSync(join(image.programs, source), join(work, "bin", name));
            const tarball = join(work, "tarball");
            await run("tar", ["-czf", tarball, "--owner=0", "--group=0", "-C", work, "bin"]);
            // Those of an older image or BuildKit would never be used again.
            for (const old of readdirSync(join(cacheRoot(), "vm"))) {
                if (old.includes(`.linux-${architecture}-`)) rmSync(join(cacheRoot(), "vm", old));
            }
            renameSync(tarball, path);
        });
    } finally {
        rmSync(work, { recursive: true, force: true });
    }
}
