// Puts the base images into a registry's storage folder: `node tools/seed-registry.mjs --storage DIR`.
// A second call finds them there and starts nothing.

import { spawn } from "node:child_process";
import { mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join, resolve } from "node:path";
import { fileURLToPath } from "node:url";
import { PUBLIC_BASE, readBase } from "./base/index.mjs";
import { cacheRoot, SetupError, say, which } from "./setup/context.mjs";
import { forwardSignals, run } from "./setup/process.mjs";

/** @typedef {import("./base/index.mjs").BaseImage} BaseImage */

const READY_WITHIN_MS = 30_000;

/**
 * References of the base images, pinned by digest; without a registry where they live in the local one.
 *
 * @returns {{source: "public" | "debian", base: string, buildBase: string}}
 */
export function baseReferences() {
    const base = requireBase();
    if (base.source === "public") {
        return { source: "public", base: PUBLIC_BASE.runtime, buildBase: PUBLIC_BASE.build };
    }
    const reference = (/** @type {BaseImage} */ image) => `${image.repository}:${image.tag}@${image.digest}`;
    return { source: "debian", base: reference(base.images.runtime), buildBase: reference(base.images.build) };
}

/**
 * Puts the base images into the storage folder, unless they are there or come from a public registry.
 *
 * @param {string} storage folder of the local registry's storage; made if need be
 */
export async function seedRegistry(storage) {
    const base = requireBase();
    if (base.source === "public") return;
    const missing = Object.values(base.images).filter((image) => !isStored(storage, image));
    if (missing.length > 0) await withRegistry(storage, (registry) => push(base.folder, missing, registry));
}

function requireBase() {
    const base = readBase();
    if (!base) throw new SetupError("the base images are not there", "run: node tools/setup.mjs");
    return base;
}

/**
 * Whether the tag points at the image, read from distribution's storage layout: starting a registry to ask would take
 * longer than all the rest. The tag is written last, so what it points at is complete.
 *
 * @param {string} storage
 * @param {BaseImage} image
 */
function isStored(storage, image) {
    const repository = join(storage, "docker/registry/v2/repositories", image.repository);
    try {
        return (
            readFileSync(join(repository, "_manifests/tags", image.tag, "current/link"), "utf8").trim() === image.digest
        );
    } catch (error) {
        if (/** @type {NodeJS.ErrnoException} */ (error).code === "ENOENT") return false;
        throw error;
    }
}

/**
 * @param {string} layout
 * @param {BaseImage[]} images
 * @param {string} registry
 */
async function push(layout, images, registry) {
    const options = ["--quiet", "--all", "--preserve-digests", "--dest-tls-verify=false", "--dest-no-creds"];
    for (const { name, repository, tag } of images) {
        const destination = `docker://${registry}/${repository}:${tag}`;
        await run("skopeo", ["copy", ...options, `oci:${layout}:${name}`, destination]);
        say(`${repository}:${tag} is in the local registry`);
    }
}

/**
 * Runs `action` against a registry of its own over the folder, and ends that registry. One that already serves the same
 * folder is not disturbed: blobs are named by their content, and tags are replaced in one step.
 *
 * @template T
 * @param {string} storage
 * @param {(registry: string) => Promise<T>} action
 * @returns {Promise<T>}
 */
async function withRegistry(storage, action) {
    const program = which("registry") ?? which("registry", [join(cacheRoot(), "bin")]);
    if (!program) throw new SetupError("registry is neither on PATH nor in the cache", "run: node tools/setup.mjs");
    mkdirSync(storage, { recursive: true });
    const folder = mkdtempSync(join(tmpdir(), "buildfleet-seed-"));
    const configuration = join(folder, "config.json");
    writeFileSync(
        configuration,
        JSON.stringify({
            version: "0.1",
            log: { level: "info", accesslog: { disabled: true } },
            storage: { filesystem: { rootdirectory: resolve(storage) } },
            http: { addr: "127.0.0.1:0" },
        }),
    );
    const server = spawn(program, ["serve", configuration], {
        stdio: ["ignore", "ignore", "pipe"],
        env: { ...process.env, OTEL_TRACES_EXPORTER: "none" },
    });
    let said = "";
    server.stderr.setEncoding("utf8").on("data", (text) => {
        said = (said + text).slice(-2_000);
    });
    const stopForwarding = forwardSignals(server);
    const ended = new Promise((done) => server.once("close", done));
    try {
        return await action(await listening(server, () => said));
    } finally {
        stopForwarding();
        server.kill("SIGTERM");
        await ended;
        rmSync(folder, { recursive: true, force: true });
    }
}

/**
 * Where it listens: on a port that it was given by the system, and tells.
 *
 * @param {import("node:child_process").ChildProcess} server
 * @param {() => string} said
 * @returns {Promise<string>}
 */
async function listening(server, said) {
    const deadline = Date.now() + READY_WITHIN_MS;
    while (Date.now() < deadline) {
        const address = /listening on (127\.0\.0\.1:\d+)/.exec(said())?.[1];
        if (address) return address;
        if (server.exitCode !== null)
            throw new SetupError(`registry ended with exit code ${server.exitCode}: ${said()}`);
        await new Promise((wake) => setTimeout(wake, 20));
    }
    throw new SetupError(`registry did not listen within ${READY_WITHIN_MS / 1000} s: ${said()}`);
}

if (process.argv[1] === fileURLToPath(import.meta.url)) {
    try {
        const [option, storage, ...rest] = process.argv.slice(2);
        if (option !== "--storage" || !storage || rest.length > 0) {
            throw new SetupError("the storage folder is missing", "use: node tools/seed-registry.mjs --storage DIR");
        }
        await seedRegistry(storage);
        process.stdout.write(`${JSON.stringify(baseReferences())}\n`);
    } catch (error) {
        if (!(error instanceof SetupError)) throw error;
        say(error.message);
        process.exitCode = 1;
    }
}
