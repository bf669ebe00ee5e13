// Tools from PATH, or compiled from the pinned Go modules into the cache.

import { execFile } from "node:child_process";
import { createHash } from "node:crypto";
import { mkdirSync, readdirSync, readFileSync, renameSync, rmSync, statSync, writeFileSync } from "node:fs";
import { homedir } from "node:os";
import { delimiter, join } from "node:path";
import { promisify } from "node:util";
import { cacheRoot, isExecutable, projectRoot, SetupError, timed, which } from "./context.mjs";
import { run } from "./process.mjs";
import { decide, isAtLeast, parseVersion, pinnedVersion, TEST_TOOLS, TOOLS } from "./versions.mjs";

/** @typedef {import("./versions.mjs").Tool} Tool */
/** @typedef {{tool: Tool, action: "path" | "cached" | "compile", why: string, path: string, shadowed: boolean}} ToolState */

/**
 * @typedef {object} Toolbox where tools come from and go to; tests point it elsewhere
 * @property {Tool[]} tools
 * @property {string} modules folder with one Go module for each tool
 * @property {string} cache
 * @property {string[]} folders where a tool of the user is looked for
 * @property {(toolbox: Toolbox, tool: Tool, output: string, note: (text: string) => void) => Promise<void>} compile
 */

/**
 * @param {NodeJS.ProcessEnv} env
 * @returns {Toolbox}
 */
export function defaultToolbox(env = process.env) {
    const plugins = [
        join(env.DOCKER_CONFIG || join(env.HOME || homedir(), ".docker"), "cli-plugins"),
        "/usr/local/lib/docker/cli-plugins",
        "/usr/libexec/docker/cli-plugins",
        "/usr/lib/docker/cli-plugins",
    ];
    const cache = cacheRoot(env);
    // The cache itself may be on PATH (`npm start` puts it there): what was compiled is judged by its stamp, not here.
    const onPath = (env.PATH ?? "").split(delimiter).filter((folder) => folder && folder !== join(cache, "bin"));
    const modules = join(projectRoot, "tools");
    return { tools: TOOLS, modules, cache, folders: [...onPath, ...plugins], compile: compileGo };
}

/**
 * The same for the tests' own: not among the library's, which looks into their folder.
 *
 * @param {NodeJS.ProcessEnv} env
 * @returns {Toolbox}
 */
export function testToolbox(env = process.env) {
    const library = defaultToolbox(env);
    return { ...library, tools: TEST_TOOLS, cache: join(library.cache, "test-tools") };
}

/**
 * What is there of each tool, and what would have to be done.
 *
 * @param {Toolbox} toolbox
 * @returns {Promise<ToolState[]>}
 */
export async function inspectTools(toolbox) {
    const known = readJson(join(toolbox.cache, "versions.json")) ?? {};
    const before = JSON.stringify(known);
    const states = await Promise.all(toolbox.tools.map((tool) => inspectTool(toolbox, tool, known)));
    if (JSON.stringify(known) !== before) {
        mkdirSync(toolbox.cache, { recursive: true });
        writeAtomically(join(toolbox.cache, "versions.json"), JSON.stringify(known));
    }
    return states;
}

/**
 * @param {Toolbox} toolbox
 * @param {Tool} tool
 * @param {Record<string, string>} known versions of binaries asked before: asking them all takes most of a second
 * @returns {Promise<ToolState>}
 */
async function inspectTool(toolbox, tool, known) {
    const found = tool.own ? undefined : which(tool.name, toolbox.folders);
    const onPath = found ? { path: found, version: await versionOf(tool, found, known) } : undefined;
    const cached = join(toolbox.cache, "bin", tool.name);
    const stamp = isExecutable(cached) ? readJson(stampPath(toolbox, tool))?.key : undefined;
    const decision = decide(tool, onPath, stamp, toolKey(toolbox, tool));
    const path = decision.action === "path" && found ? found : cached;
    return { tool, ...decision, path, shadowed: decision.action !== "path" && found !== undefined };
}

/**
 * @param {Tool} tool
 * @param {string} path
 * @param {Record<string, string>} known
 * @returns {Promise<string | undefined>}
 */
async function versionOf(tool, path, known) {
    const { mtimeMs, size } = statSync(path);
    const id = `${path} ${size} ${mtimeMs}`;
    if (known[id] === undefined) {
        const answer = await promisify(execFile)(path, tool.versionArgs, { timeout: 20_000 }).catch(() => undefined);
        known[id] = (answer && parseVersion(answer.stdout + answer.stderr)) || "";
    }
    return known[id] || undefined;
}

/**
 * Names one build: it changes with the pins, the flags and, for our own program, its sources.
 *
 * @param {Toolbox} toolbox
 * @param {Tool} tool
 * @returns {string}
 */
function toolKey(toolbox, tool) {
    const folder = join(toolbox.modules, tool.module);
    const hash = createHash("sha256").update(JSON.stringify([process.arch, buildArgs(toolbox, tool)]));
    const sources = tool.own ? readdirSync(join(folder, tool.goPackage)).filter((name) => name.endsWith(".go")) : [];
    const files = ["go.mod", "go.sum", ...sources.sort().map((name) => join(tool.goPackage, name))];
    for (const file of files) hash.update(`\0${file}\0`).update(readFileSync(join(folder, file)));
    return hash.digest("hex");
}

/**
 * @param {Toolbox} toolbox
 * @param {Tool} tool
 */
function buildArgs(toolbox, tool) {
    const goMod = readFileSync(join(toolbox.modules, tool.module, "go.mod"), "utf8");
    const version = `${tool.stampPrefix ?? ""}${pinnedVersion(goMod, tool.goModule)}`;
    return ["-trimpath", "-ldflags", `-s -w${tool.stamp ? ` -X ${tool.stamp}=${version}` : ""}`];
}

/**
 * Compiles what is missing, one after the other: each compile uses every core. Killed at any moment, the next run goes
 * on with the tool that was not finished, and Go's own cache keeps what was compiled of it.
 *
 * @param {Toolbox} toolbox
 * @param {ToolState[]} states
 */
export async function installTools(toolbox, states) {
    const missing = states.filter((state) => state.action === "compile");
    for (const { tool, path } of missing) {
        const scratch = join(toolbox.cache, "tmp");
        for (const folder of [scratch, join(toolbox.cache, "bin"), join(toolbox.cache, "stamps")]) {
            mkdirSync(folder, { recursive: true });
        }
        const output = join(scratch, `${tool.name}.${process.pid}`);
        const place = `${tool.name} (${missing.findIndex((state) => state.tool === tool) + 1} of ${missing.length})`;
        await timed(`compiling ${place}`, (note) => toolbox.compile(toolbox, tool, output, note));
        // Without a stamp the binary does not count, so the order of these steps can't leave a wrong pair behind.
        rmSync(stampPath(toolbox, tool), { force: true });
        renameSync(output, path);
        writeAtomically(stampPath(toolbox, tool), JSON.stringify({ key: toolKey(toolbox, tool) }));
    }
    rmSync(join(toolbox.cache, "tmp"), { recursive: true, force: true });
}

/** @type {Toolbox["compile"]} */
async function compileGo(toolbox, tool, output, note) {
    const cwd = join(toolbox.modules, tool.module);
    let packages = 0;
    const flags = ["-mod=readonly", ...buildArgs(toolbox, tool)];
    await run("go", ["build", "-v", ...flags, "-o", output, tool.goPackage], {
        cwd,
        // A newer toolchain is the user's to install: none is fetched behind their back.
        env: { CGO_ENABLED: "0", GOTOOLCHAIN: "local", GOWORK: "off" },
        onLine: () => note(`${++packages} packages`),
        next: "run it again: what was compiled so far is kept",
    });
}

/**
 * Checks that Go is there and new enough for the pinned modules.
 *
 * @param {Toolbox} toolbox
 */
export async function requireGo(toolbox) {
    const wanted = toolbox.tools
        .map(
            ({ module }) =>
                /^go (\S+)$/m.exec(readFileSync(join(toolbox.modules, module, "go.mod"), "utf8"))?.[1] ?? "",
        )
        .reduce((newest, version) => (isAtLeast(version, newest) ? version : newest), "1.0.0");
    const advice = `install Go ${wanted} or newer and put its bin folder on PATH (https://go.dev/doc/install)`;
    if (!which("go")) throw new SetupError("Go is missing, and tools have to be compiled", advice);
    const said = await run("go", ["env", "GOVERSION"], { env: { GOTOOLCHAIN: "local" } });
    const version = /go(\d+(?:\.\d+)*)/.exec(said)?.[1];
    if (!version || !isAtLeast(version, wanted)) throw new SetupError(`Go is ${said.trim()}, needed ${wanted}`, advice);
}

/** @param {Toolbox} toolbox @param {Tool} tool */
const stampPath = (toolbox, tool) => join(toolbox.cache, "stamps", `${tool.name}.json`);

/** @param {string} path */
function readJson(path) {
    try {
        return JSON.parse(readFileSync(path, "utf8"));
    } catch {
        // Missing or cut off: both mean that nothing is known, and it is made again.
        return undefined;
    }
}

/** @param {string} path @param {string} text */
function writeAtomically(path, text) {
    writeFileSync(`${path}.${process.pid}`, text);
    renameSync(`${path}.${process.pid}`, path);
}
