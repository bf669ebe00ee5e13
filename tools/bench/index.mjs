// Joining 20 platforms' images into one index on loopback, tag included: `npm run bench -- --only index`.

import { spawn } from "node:child_process";
import { createHash } from "node:crypto";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { freePort, library, timed } from "./workspace.mjs";

const linux = ["amd64", "amd64/v2", "amd64/v3", "amd64/v4", "arm64", "386", "arm/v5", "arm/v6", "arm/v7", "arm/v8"];
const more = ["loong64", "mips64le", "ppc64le", "riscv64", "s390x"];
const others = ["windows/arm64", "freebsd/amd64"];
const windows = ["10.0.17763.6532", "10.0.20348.2762", "10.0.26100.1742"];
/** @type {Record<string, string>[]} */
const PLATFORMS = [
    ...[...linux, ...more]
        .map((name) => `linux/${name}`)
        .concat(others)
        .map(split),
    ...windows.map((version) => ({ ...split("windows/amd64"), "os.version": version })),
];

/** @param {string} name */
function split(name) {
    const [os = "", architecture = "", variant] = name.split("/");
    return { os, architecture, ...(variant ? { variant } : {}) };
}

/** A registry of its own, empty. */
async function startRegistry() {
    const folder = mkdtempSync(join(tmpdir(), "buildfleet-bench-"));
    const port = await freePort();
    const config = {
        version: 0.1,
        log: { level: "error", accesslog: { disabled: true } },
        storage: { filesystem: { rootdirectory: join(folder, "storage") } },
        http: { addr: `127.0.0.1:${port}` },
    };
    // JSON is YAML, too.
    writeFileSync(join(folder, "config.yml"), JSON.stringify(config));
    const child = spawn(library("drivers/tools.js").findTool("registry"), ["serve", join(folder, "config.yml")], {
        stdio: "ignore",
        env: { ...process.env, OTEL_TRACES_EXPORTER: "none" },
    });
    const registry = `127.0.0.1:${port}`;
    while (child.exitCode === null && !(await fetch(`http://${registry}/v2/`).catch(() => undefined)))
        await new Promise((done) => setTimeout(done, 20));
    if (child.exitCode !== null) throw new Error("the registry did not start");
    const { RegistryClient } = library("drivers/registry/index.js");
    const client = new RegistryClient({ registry, plainHttp: true });
    const stop = async () => {
        await client.close();
        child.kill("SIGKILL");
        rmSync(folder, { recursive: true, force: true });
    };
    return { registry, client, stop };
}

/** One image for each platform, each in a repository of its own, with a layer of 64 KiB. @returns their references */
async function pushImages(/** @type {Awaited<ReturnType<typeof startRegistry>>} */ { registry, client }) {
    const { mediaTypes } = library("core/image-index.js");
    return Promise.all(
        PLATFORMS.map(async (platform, i) => {
            const path = `built/${i}`;
            const layer = createHash("shake256", { outputLength: 65_536 }).update(`${i}`).digest();
            const rootfs = { type: "layers", diff_ids: [`sha256:${createHash("sha256").update(layer).digest("hex")}`] };
            const config = Buffer.from(JSON.stringify({ ...platform, config: {}, rootfs }));
            const manifest = {
                schemaVersion: 2,
                mediaType: mediaTypes.ociManifest,
                config: await client.putBlob(path, config, "application/vnd.oci.image.config.v1+json"),
                layers: [await client.putBlob(path, layer, "application/vnd.oci.image.layer.v1.tar")],
            };
            await client.putManifest(path, "1.4.2", mediaTypes.ociManifest, Buffer.from(JSON.stringify(manifest)));
            return `${registry}/${path}:1.4.2`;
        }),
    );
}

/** What `up` does for a `JoinedImage`. @returns seconds */
async function join20(/** @type {string[]} */ images, /** @type {string} */ repository) {
    const index = library("resources/image-index/operations.js").operations;
    const promotion = library("resources/tag-promotion/operations.js").operations;
    const child = { platform: "", digest: "", builder: "", node: "", emulated: false };
    const start = performance.now();
    const to = { repository, connection: { plainHttp: true } };
    const { outs } = await index.create({
        ...{ ...to, annotations: {}, format: "oci" },
        children: images.map((image) => ({ ...child, image })),
        connections: images.map(() => to.connection),
    });
    await promotion.create({ ...to, digest: outs.digest, tags: ["1.4.2"], version: "", immutableTags: [] });
    const seconds = (performance.now() - start) / 1000;
    if (outs.entries.length !== PLATFORMS.length) throw new Error(`the index has ${outs.entries.length} images`);
    return seconds;
}

/**
 * Seconds: `joinSeconds` from other repositories of the same registry (blobs are mounted), `copySeconds` from another registry
 * (blobs are sent), `imagetoolsSeconds` what `docker-buildx imagetools create` takes for the former.
 *
 * @param {number} runs
 * @param {(numbers: number[]) => number} middle
 * @param {(line: string) => void} say
 */
export async function index(runs, middle, say) {
    const [here, elsewhere] = await Promise.all([startRegistry(), startRegistry()]);
    try {
        const [near, far] = [await pushImages(here), await pushImages(elsewhere)];
        /** @type {{ joined: number[], copied: number[], imagetools: number[] }} */
        const times = { joined: [], copied: [], imagetools: [] };
        // Once for what is loaded and compiled: the provider's process runs long before.
        await join20(near, `${here.registry}/warm-up`);
        for (let run = 0; run < runs; run++) {
            times.joined.push(await join20(near, `${here.registry}/joined-${run}`));
            times.copied.push(await join20(far, `${here.registry}/copied-${run}`));
            const tag = `${here.registry}/imagetools-${run}:1.4.2`;
            const buildx = library("drivers/tools.js").findTool("docker-buildx");
            const args = ["imagetools", "create", "--tag", tag, ...near];
            const result = await timed(buildx, args, { cwd: tmpdir(), env: process.env });
            if (result.exitCode !== 0) throw new Error(`imagetools create failed:\n${result.stderr.slice(-2000)}`);
            times.imagetools.push(result.seconds);
            const [joined, copied, imagetools] = Object.values(times).map((list) => (list.at(-1) ?? 0).toFixed(2));
            say(`index ${run + 1}/${runs}: joined ${joined} s, copied ${copied} s, imagetools ${imagetools} s`);
        }
        return {
            platforms: PLATFORMS.length,
            joinSeconds: middle(times.joined),
            copySeconds: middle(times.copied),
            imagetoolsSeconds: middle(times.imagetools),
        };
    } finally {
        await Promise.all([here.stop(), elsewhere.stop()]);
    }
}
