import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import { existsSync, ftruncateSync, mkdirSync, mkdtempSync, openSync, rmSync, statSync, writeFileSync } from "node:fs";
import { request as forward } from "node:http";
import { tmpdir } from "node:os";
import { join, resolve } from "node:path";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { sha256 } from "../../core/digest";
import { BlobCheck } from "../../drivers/blob-check";
import { run } from "../../drivers/process";
import { RegistryClient } from "../../drivers/registry";
import { type FaultServer, startFaultServer } from "../support/fault-server";
import { layerBytes, type ManyImages, pushManyImages, pushPlatform } from "../support/mirror-images";
import { type RunningRegistry, startRegistry } from "../support/registry";

const KILLS = 10;
const IMAGES = 30;
const CHILD = resolve(__dirname, "../support/mirror-child.mjs");

let source: RunningRegistry;
let target: RunningRegistry;
let client: RegistryClient;
let made: ManyImages;
let folder: string;

beforeAll(async () => {
    folder = mkdtempSync(join(tmpdir(), "buildfleet-mirror-killed-"));
    [source, target] = await Promise.all([startRegistry(), startRegistry()]);
    client = new RegistryClient({ registry: source.registry, plainHttp: true });
    made = await pushManyImages(client, IMAGES, 64 * 1024);
});
afterAll(async () => {
    await client.close();
    await Promise.all([source.stop(), target.stop()]);
    rmSync(folder, { recursive: true, force: true });
});

function inputs(from: string, names: string[], to: object, more: object = {}) {
    const images = names.map((name) => [name, { source: `${from}/${name}`, name: "", platforms: [] }]);
    return {
        subject: "test",
        images: Object.fromEntries(images),
        platforms: [],
        from: {},
        to,
        connection: { plainHttp: true },
        connections: { [from]: { plainHttp: true } },
        referrers: false,
        ...more,
    };
}

let child: ChildProcess | undefined;

/** Runs a mirror in a process of its own; undefined where that was killed. */
async function runChild(given: object): Promise<{ peakBytes: number; copied: { blobs: number } } | undefined> {
    child = spawn(process.execPath, [CHILD, JSON.stringify(given)], { stdio: ["ignore", "pipe", "pipe"] });
    let stdout = "";
    let stderr = "";
    child.stdout?.on("data", (piece) => {
        stdout += piece;
    });
    child.stderr?.on("data", (piece) => {
        stderr += piece;
    });
    const [code, signal] = await once(child, "close");
    if (signal === "SIGKILL") return undefined;
    if (code !== 0) throw new Error(`the mirror failed:\n${stderr}`);
    return JSON.parse(stdout);
}

/** Kills the child at the n-th request of a kind, before or after that was answered. */
function killAt(proxy: FaultServer, n: number, isKind: (method: string, url: string) => boolean, answered: boolean) {
    let count = 0;
    proxy.setFault(({ method, url }, response) => {
        if (!isKind(method, url) || ++count !== n) return "pass";
        if (!answered) {
            child?.kill("SIGKILL");
            response.destroy();
            return undefined;
        }
        response.once("close", () => child?.kill("SIGKILL"));
        return "pass";
    });
}

/** Whatever has a name at the target is there as a whole; what was found so is not looked at again. */
async function expectNamedAreWhole(at: RegistryClient, whole: Set<string>): Promise<number> {
    for (const name of made.names.filter((one) => !whole.has(one))) {
        const [path = "", tag = ""] = name.split(":");
        if (!(await at.headManifest(path, tag))) continue;
        whole.add(name);
        const index = JSON.parse((await at.getManifest(path, tag)).bytes.toString());
        for (const { digest } of index.manifests) {
            const { config, layers } = JSON.parse((await at.getManifest(path, digest)).bytes.toString());
            for (const blob of [config, ...layers])
                expect(await at.headBlob(path, blob.digest), name).toMatchObject({ size: blob.size });
        }
    }
    return whole.size;
}

describe(`killed at ${KILLS} points, the next run goes on`, { timeout: 180_000 }, () => {
    it("to a registry: what arrived is not sent again, and no name stands for a part", async () => {
        const proxy = await startFaultServer({ upstream: target.registry });
        const at = new RegistryClient({ registry: target.registry, plainHttp: true });
        const given = inputs(source.registry, made.names, { registry: proxy.address });
        // Blobs, a manifest for each platform, the index by its digest and by its tag.
        const writes = made.blobs + IMAGES * 4;
        const seen: number[] = [];
        const whole = new Set<string>();
        for (let round = 0; round < KILLS; round++) {
            // What is under way when it is killed may arrive, too: each run gets further than its point.
            killAt(proxy, Math.ceil(writes / (KILLS + 5)), (method) => method === "PUT", round % 2 === 1);
            expect(await runChild(given), `round ${round}`).toBeUndefined();
            seen.push(await expectNamedAreWhole(at, whole));
        }
        proxy.setFault(() => "pass");
        const last = await runChild(given);
        expect(await expectNamedAreWhole(at, whole)).toBe(IMAGES);
        expect(seen.at(-1)).toBeGreaterThan(0);
        const stored = [...target.log().matchAll(/"PUT \/v2\/[^ ]+digest=sha256%3A([0-9a-f]+)[^ ]* HTTP\/1.1" 201/g)];
        expect(stored).toHaveLength(made.blobs);
        expect(new Set(stored.map(([, digest]) => digest)).size).toBe(made.blobs);
        expect(last?.copied.blobs).toBeLessThan(made.blobs / 2);
        await at.close();
        await proxy.stop();
    });

    it("to an archive: what is in it stays, and it has its name only when it is whole", async () => {
        const proxy = await startFaultServer({ upstream: source.registry });
        const archive = join(folder, "images.tar");
        const given = inputs(proxy.address, made.names, { archive });
        const isBlob = (method: string, url: string) => method === "GET" && url.includes("/blobs/");
        let read = 0;
        for (let round = 0; round < KILLS; round++) {
            killAt(proxy, Math.ceil(made.blobs / (KILLS + 5)), isBlob, round % 2 === 1);
            expect(await runChild(given), `round ${round}`).toBeUndefined();
            read += proxy.seen.filter(({ method, url }) => isBlob(method, url)).length;
            expect(existsSync(archive)).toBe(false);
        }
        proxy.setFault(() => "pass");
        expect(await runChild(given)).toBeDefined();
        read += proxy.seen.filter(({ method, url }) => isBlob(method, url)).length;
        // Again only what was under way when it was killed: six at a time.
        expect(read).toBeLessThanOrEqual(made.blobs + KILLS * 6);
        expect(existsSync(`${archive}.partial`)).toBe(false);
        const name = `${proxy.address}/${made.names[29]}`;
        const { stdout } = await run("skopeo", ["inspect", "--raw", `oci-archive:${archive}:${name}`]);
        expect(sha256(stdout.trim())).toBe(made.digests[29]);
        await proxy.stop();
    });
});

describe("a connection that breaks", () => {
    const size = 20 * 1024 * 1024;

    it("in a download goes on at the byte it broke at", async () => {
        const bytes = layerBytes(size);
        const { digest } = await client.putBlob("big", bytes);
        const half = size / 2;
        const proxy = await startFaultServer({
            upstream: source.registry,
            fault: ({ headers }, response) => {
                if (headers.range !== undefined) return "pass";
                response.writeHead(200, { "content-length": size });
                response.write(bytes.subarray(0, half), () => response.destroy());
                return undefined;
            },
        });
        const through = new RegistryClient({ registry: proxy.address, plainHttp: true });
        const check = new BlobCheck({ digest, size });
        await through.streamBlob("big", { digest, size }, (piece) => check.update(piece));
        expect(check.problem()).toBeUndefined();
        const ranges = proxy.seen.map(({ headers }) => headers.range);
        expect(ranges).toHaveLength(2);
        expect(Number(/^bytes=(\d+)-$/.exec(ranges[1] ?? "")?.[1])).toBeGreaterThan(0);
        await through.close();
        await proxy.stop();
    });

    it.each([
        ["before it arrived", false],
        ["when it had arrived", true],
    ])("in an upload goes on with the chunk that was cut off %s", async (_when, arrives) => {
        const bytes = layerBytes(size);
        const digest = sha256(bytes);
        const proxy = await startFaultServer({
            upstream: target.registry,
            fault: async ({ method, url, headers, body }, response, count) => {
                if (method !== "PATCH" || count !== 2) return "pass";
                if (arrives) {
                    const [host, port] = target.registry.split(":");
                    const onward = forward({ host, port, method, path: url, headers });
                    onward.end(Buffer.from(body, "latin1"));
                    const [answer] = await once(onward, "response");
                    answer.resume();
                    await once(answer, "end");
                }
                response.destroy();
                return undefined;
            },
        });
        const through = new RegistryClient({ registry: proxy.address, plainHttp: true });
        const upload = through.uploadBlob("uploads", { digest, size });
        for (let at = 0; at < size; at += 100_000) await upload.write(bytes.subarray(at, at + 100_000));
        await upload.finish();
        const direct = new RegistryClient({ registry: target.registry, plainHttp: true });
        expect((await direct.getBlob("uploads", digest)).equals(bytes)).toBe(true);
        const sent = proxy.seen.filter(({ method }) => ["PATCH", "PUT"].includes(method));
        expect(sent.map(({ method }) => method)).toEqual(
            arrives ? ["PATCH", "PATCH", "PUT"] : ["PATCH", "PATCH", "PATCH", "PUT"],
        );
        await Promise.all([through.close(), direct.close()]);
        await proxy.stop();
    });
});

describe("memory", () => {
    it("is flat in the size of the layers", async () => {
        const peaks: number[] = [];
        for (const megabytes of [16, 320]) {
            const layout = join(folder, `layout-${megabytes}`);
            await layoutOf(layout, megabytes * 1024 * 1024);
            const from = { folder: layout };
            const given = inputs("room.test", ["big:1"], { registry: target.registry }, { from });
            const done = await runChild(given);
            expect(done?.copied.blobs).toBeGreaterThan(0);
            const pulled = inputs(target.registry, ["big:1"], { archive: join(folder, `${megabytes}.tar`) });
            const peak = (await runChild(pulled))?.peakBytes ?? 0;
            expect(statSync(join(folder, `${megabytes}.tar`)).size).toBeGreaterThan(megabytes * 1024 * 1024);
            peaks.push(Math.max(done?.peakBytes ?? 0, peak));
            rmSync(layout, { recursive: true });
        }
        const [small = 0, large = 0] = peaks;
        expect(large - small).toBeLessThan(128 * 1024 * 1024);
    });

    /** An image of one layer, of zeros, which takes no room on the disk. */
    async function layoutOf(path: string, size: number) {
        const small = await pushPlatform(client, "layout", { os: "linux", architecture: "amd64" }, [Buffer.from("x")]);
        const manifest = JSON.parse((await client.getManifest("layout", small.digest)).bytes.toString());
        const config = await client.getBlob("layout", manifest.config.digest);
        mkdirSync(join(path, "blobs/sha256"), { recursive: true });
        const write = (bytes: Buffer) => {
            writeFileSync(join(path, "blobs", sha256(bytes).replace(":", "/")), bytes);
            return { digest: sha256(bytes), size: bytes.length };
        };
        ftruncateSync(openSync(join(path, "zeros"), "w"), size);
        const { stdout } = await run("sha256sum", [join(path, "zeros")]);
        const digest = stdout.slice(0, 64);
        await run("mv", [join(path, "zeros"), join(path, "blobs/sha256", digest)]);
        write(config);
        manifest.layers[0] = { ...manifest.layers[0], digest: `sha256:${digest}`, size };
        const stored = write(Buffer.from(JSON.stringify(manifest)));
        const annotations = { "org.opencontainers.image.ref.name": "room.test/big:1" };
        const entry = { mediaType: manifest.mediaType, ...stored, annotations };
        writeFileSync(join(path, "index.json"), JSON.stringify({ schemaVersion: 2, manifests: [entry] }));
        writeFileSync(join(path, "oci-layout"), '{"imageLayoutVersion":"1.0.0"}');
    }
});
