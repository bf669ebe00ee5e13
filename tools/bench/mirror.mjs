// How fast images are mirrored, against `skopeo copy --all` of the same images, both between the same two kinds of
// registry in one run; and how much memory it takes for small layers and for large ones.

import { execFile, spawn } from "node:child_process";
import { createHash, randomBytes } from "node:crypto";
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { promisify } from "node:util";
import { checkout, freePort, library } from "./workspace.mjs";

const run = promisify(execFile);
const IMAGES = 30;
const LAYER = 8 * 1024 * 1024;
/** How much larger the layer of the large image is than that of the small one. */
const LARGER = 32;
const OCI = "application/vnd.oci.image";

/** @param {string} folder */
async function startRegistry(folder) {
    const registry = `127.0.0.1:${await freePort()}`;
    mkdirSync(folder, { recursive: true });
    const storage = { filesystem: { rootdirectory: join(folder, "storage") } };
    const log = { level: "error", accesslog: { disabled: true } };
    writeFileSync(
        join(folder, "config.json"),
        JSON.stringify({ version: "0.1", log, storage, http: { addr: registry } }),
    );
    const { findTool } = library("drivers/tools.js");
    const env = { ...process.env, OTEL_TRACES_EXPORTER: "none" };
    const server = spawn(findTool("registry"), ["serve", join(folder, "config.json")], { stdio: "ignore", env });
    for (const end = Date.now() + 10_000; ; ) {
        if (
            await fetch(`http://${registry}/v2/`).then(
                ({ ok }) => ok,
                () => false,
            )
        )
            break;
        if (Date.now() > end || server.exitCode !== null) throw new Error(`no registry at ${registry}`);
        await new Promise((wake) => setTimeout(wake, 20));
    }
    const stop = () => new Promise((done) => server.once("close", done).kill("SIGKILL"));
    return { registry, stop };
}

/**
 * Images of two platforms: three layers of all, one of each five, a small one of their own.
 *
 * @param {string} registry
 * @returns {Promise<string[]>}
 */
async function pushImages(registry) {
    const { RegistryClient } = library("drivers/registry/index.js");
    const client = new RegistryClient({ registry, plainHttp: true });
    const architectures = ["amd64", "arm64"];
    const layers = (/** @type {number} */ count) =>
        architectures.map(() => Array.from({ length: count }, () => randomBytes(LAYER)));
    const common = layers(3);
    let group = layers(1);
    const names = [];
    const put = async (
        /** @type {string} */ path,
        /** @type {string} */ kind,
        /** @type {object} */ value,
        ref = "",
    ) => {
        const bytes = Buffer.from(JSON.stringify({ schemaVersion: 2, mediaType: `${OCI}.${kind}.v1+json`, ...value }));
        const digest = `sha256:${createHash("sha256").update(bytes).digest("hex")}`;
        await client.putManifest(path, ref || digest, `${OCI}.${kind}.v1+json`, bytes);
        return { mediaType: `${OCI}.${kind}.v1+json`, digest, size: bytes.length };
    };
    for (let i = 0; i < IMAGES; i++) {
        if (i % 5 === 0) group = layers(1);
        const path = `team/app-${i}`;
        const manifests = [];
        for (const [a, architecture] of architectures.entries()) {
            const all = [...(common[a] ?? []), ...(group[a] ?? []), randomBytes(LAYER / 8)];
            const stored = [];
            for (const bytes of all) stored.push(await client.putBlob(path, bytes, `${OCI}.layer.v1.tar+gzip`));
            const bytes = Buffer.from(JSON.stringify({ os: "linux", architecture, image: i }));
            const config = await client.putBlob(path, bytes, `${OCI}.config.v1+json`);
            const manifest = await put(path, "manifest", { config, layers: stored });
            manifests.push({ ...manifest, platform: { os: "linux", architecture } });
        }
        await put(path, "index", { manifests }, "1.0");
        names.push(`${path}:1.0`);
    }
    for (const [path, size] of Object.entries({ small: LAYER, large: LAYER * LARGER })) {
        const layer = await client.putBlob(path, randomBytes(size), `${OCI}.layer.v1.tar+gzip`);
        const config = await client.putBlob(
            path,
            Buffer.from('{"os":"linux","architecture":"amd64"}'),
            `${OCI}.config.v1+json`,
        );
        await put(path, "manifest", { config, layers: [layer] }, "1.0");
    }
    await client.close();
    return names;
}

/**
 * @param {number} runs
 * @param {(numbers: number[]) => number} median
 * @param {(line: string) => void} say
 */
export async function mirror(runs, median, say) {
    const folder = mkdtempSync(join(tmpdir(), "buildfleet-bench-mirror-"));
    const source = await startRegistry(join(folder, "source"));
    try {
        const names = await pushImages(source.registry);
        const [ours, theirs] = [/** @type {number[]} */ ([]), /** @type {number[]} */ ([])];
        let peakMb = 0;
        for (let i = 0; i < runs; i++) {
            const hand = await withTarget(join(folder, `skopeo-${i}`), async (target) => {
                for (const name of names)
                    await run("skopeo", [
                        ...["copy", "--all", "--quiet", "--src-tls-verify=false", "--dest-tls-verify=false"],
                        `docker://${source.registry}/${name}`,
                        `docker://${target}/${name}`,
                    ]);
            });
            const own = await withTarget(join(folder, `mirror-${i}`), async (target) => {
                peakMb = Math.max(peakMb, await mirrored(source.registry, target, names));
            });
            ours.push(own);
            theirs.push(hand);
            say(`mirror ${i + 1}/${runs}: ${own.toFixed(2)} s, skopeo ${hand.toFixed(2)} s`);
        }
        const peakOf = async (/** @type {string} */ name) => {
            let peak = 0;
            await withTarget(join(folder, "memory"), async (target) => {
                peak = await mirrored(source.registry, target, [name]);
            });
            return Math.round(peak);
        };
        return {
            times: median(theirs.map((seconds, i) => seconds / (ours[i] ?? 1))),
            seconds: median(ours),
            skopeoSeconds: median(theirs),
            peakMb: Math.round(peakMb),
            smallLayerPeakMb: await peakOf("small:1.0"),
            largeLayerPeakMb: await peakOf("large:1.0"),
        };
    } finally {
        await source.stop();
        rmSync(folder, { recursive: true, force: true });
    }
}

/**
 * Mirrors images by a process of its own.
 *
 * @param {string} source
 * @param {string} target
 * @param {string[]} names
 * @returns {Promise<number>} its largest resident memory, in MiB
 */
async function mirrored(source, target, names) {
    const child = join(checkout, "test/support/mirror-child.mjs");
    const { stdout } = await run(process.execPath, [child, JSON.stringify(inputs(source, target, names))]);
    return JSON.parse(stdout).peakBytes / 1024 / 1024;
}

/**
 * Seconds that `use` takes with an empty registry.
 *
 * @param {string} folder
 * @param {(registry: string) => Promise<void>} use
 */
async function withTarget(folder, use) {
    const target = await startRegistry(folder);
    try {
        const started = performance.now();
        await use(target.registry);
        return (performance.now() - started) / 1000;
    } finally {
        await target.stop();
        rmSync(folder, { recursive: true, force: true });
    }
}

/**
 * @param {string} source
 * @param {string} target
 * @param {string[]} names
 */
function inputs(source, target, names) {
    return {
        subject: "bench",
        images: Object.fromEntries(
            names.map((name) => [name, { source: `${source}/${name}`, name: "", platforms: [] }]),
        ),
        platforms: [],
        from: {},
        to: { registry: target },
        connection: { plainHttp: true },
        connections: { [source]: { plainHttp: true } },
        referrers: true,
    };
}
