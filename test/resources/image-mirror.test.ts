import { mkdtempSync, readdirSync, readFileSync, rmSync, statSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, afterEach, beforeAll, describe, expect, it } from "vitest";
import { digestTag } from "../../core/digest";
import { run } from "../../drivers/process";
import { RegistryClient } from "../../drivers/registry";
import { type Inputs, operations } from "../../resources/image-mirror/operations";
import {
    attach,
    layerBytes,
    type ManyImages,
    pushAttestation,
    pushIndex,
    pushManyImages,
    pushPlatform,
} from "../support/mirror-images";
import { type RunningRegistry, startRegistry } from "../support/registry";

const IMAGES = 30;
const LAYER = 32 * 1024;
const amd64 = { os: "linux", architecture: "amd64" };
const arm64 = { os: "linux", architecture: "arm64" };

let source: RunningRegistry;
let client: RegistryClient;
let made: ManyImages;
let folder: string;
const targets: { registry: RunningRegistry; client: RegistryClient }[] = [];

beforeAll(async () => {
    folder = mkdtempSync(join(tmpdir(), "buildfleet-mirror-"));
    source = await startRegistry({ storage: join(folder, "source") });
    client = new RegistryClient({ registry: source.registry, plainHttp: true });
    made = await pushManyImages(client, IMAGES, LAYER);
});
afterEach(async () => {
    for (const target of targets.splice(0)) {
        await target.client.close();
        await target.registry.stop();
    }
});
afterAll(async () => {
    await client.close();
    await source.stop();
    rmSync(folder, { recursive: true, force: true });
});

async function freshTarget() {
    const registry = await startRegistry();
    const target = { registry, client: new RegistryClient({ registry: registry.registry, plainHttp: true }) };
    targets.push(target);
    return target;
}

const inputsFor = (names: string[], to: Inputs["to"], more: Partial<Inputs> = {}): Inputs => ({
    subject: 'ImageMirror "test"',
    images: Object.fromEntries(
        names.map((name) => [name, { source: `${source.registry}/${name}`, name: "", platforms: [] }]),
    ),
    platforms: [],
    from: {},
    to,
    connection: { plainHttp: true },
    connections: { [source.registry]: { plainHttp: true } },
    referrers: true,
    ...more,
});
const mirror = async (...args: Parameters<typeof inputsFor>) => (await operations.create(inputsFor(...args))).outs;
const tagAt = async (at: RegistryClient, name: string) => {
    const [path = "", tag = ""] = name.split(":");
    return (await at.headManifest(path, tag))?.digest;
};
/** Requests that a registry answered well, from its access log. */
const answered = (log: string, pattern: RegExp) => [...log.matchAll(pattern)].map(([, digest]) => digest ?? "");
const READ = /"GET \/v2\/[^ ]+\/blobs\/(sha256:[0-9a-f]+) HTTP\/1.1" 20/g;
const STORED = /"PUT \/v2\/[^ ]+\/blobs\/uploads\/[^ ]*digest=(sha256%3A[0-9a-f]+)[^ ]* HTTP\/1.1" 201/g;
const twice = (digests: string[]) => digests.filter((digest, i) => digests.indexOf(digest) !== i);
const blobFile = (root: string, digest: string) =>
    join(root, "docker/registry/v2/blobs/sha256", digest.slice(7, 9), digest.slice(7), "data");

/** Turns over one bit in the middle of a file. */
function flip(path: string): void {
    const bytes = readFileSync(path);
    const middle = Math.floor(bytes.length / 2);
    bytes[middle] = (bytes[middle] ?? 0) ^ 1;
    writeFileSync(path, bytes);
}

describe("thirty images with shared layers", () => {
    it("go from registry to registry, each blob once, and a second run sends nothing", async () => {
        const target = await freshTarget();
        const before = answered(source.log(), READ).length;
        const state = await mirror(made.names, { registry: `${target.registry.registry}/room` });
        const read = answered(source.log(), READ).slice(before);
        const stored = answered(target.registry.log(), STORED);
        expect([twice(read), twice(stored)]).toEqual([[], []]);
        expect([read.length, stored.length, state.copied.blobs]).toEqual([made.blobs, made.blobs, made.blobs]);
        expect(Object.values(state.digests)).toEqual(made.digests);
        for (const [i, name] of made.names.entries()) {
            expect(await tagAt(target.client, `room/${name}`)).toBe(made.digests[i]);
            expect(state.refs[name]).toBe(`${target.registry.registry}/room/team/app-${i}@${made.digests[i]}`);
        }
        const again = await mirror(made.names, { registry: `${target.registry.registry}/room` });
        expect(answered(target.registry.log(), STORED)).toHaveLength(made.blobs);
        expect(again).toMatchObject({ copied: { blobs: 0, bytes: 0 }, skipped: { blobs: made.blobs } });
        expect((await operations.diff("", again, inputsFor(made.names, state.to))).changes).toBe(false);
    });

    it.each(["folder", "archive"] as const)("cross the gap in a layout's %s, and skopeo reads it", async (kind) => {
        const to = { [kind]: join(folder, `gap-${kind}`) };
        const { contents, copied } = await mirror(made.names, to);
        expect(copied.blobs).toBe(made.blobs);
        const place = { folder: `oci:${to.folder}`, archive: `oci-archive:${to.archive}` }[kind];
        const name = `${source.registry}/${made.names[7]}`;
        const digest = ["inspect", "--raw", `${place}:${name}`];
        const { stdout } = await run("skopeo", digest);
        const index = await client.getManifest("team/app-7", "1.0");
        expect(stdout.trim()).toBe(index.bytes.toString());

        const target = await freshTarget();
        // Everything that is in it, by no list.
        const loaded = await mirror([], { registry: target.registry.registry }, { from: { ...to, contents } });
        expect(Object.keys(loaded.digests)).toHaveLength(IMAGES);
        for (const [i, one] of made.names.entries()) expect(await tagAt(target.client, one)).toBe(made.digests[i]);
        expect(twice(answered(target.registry.log(), STORED))).toEqual([]);

        const other = mirror(
            [],
            { registry: target.registry.registry },
            { from: { ...to, contents: made.digests[0] ?? "" } },
        );
        await expect(other).rejects.toThrow(`holds ${contents}, not ${made.digests[0]}`);
    });

    it("are listed before anything is copied, where something can't be had", async () => {
        const target = await freshTarget();
        const wanted = inputsFor([...made.names.slice(0, 3), "team/none:1.0"], { registry: target.registry.registry });
        wanted.images["team/app-1:1.0"] = { ...wanted.images["team/app-1:1.0"], platforms: ["linux/s390x"] } as never;
        await expect(operations.create(wanted)).rejects.toThrow(
            /^2 of 4 images can't be mirrored; nothing was copied\n {2}team\/app-1:1.0: .* has no linux\/s390x, but linux\/amd64, linux\/arm64\n {2}team\/none:1.0: .*MANIFEST_UNKNOWN/,
        );
        expect(answered(target.registry.log(), STORED)).toEqual([]);
    });
});

describe("what belongs to an image", () => {
    it("arrives with it, over the gap: signatures, attestations, and what is attached to those", async () => {
        const children = [];
        for (const platform of [amd64, arm64]) {
            const child = await pushPlatform(client, "signed", platform, [layerBytes(1000)]);
            children.push(child, await pushAttestation(client, "signed", child));
        }
        const index = await pushIndex(client, "signed", children, "1.0");
        const note = await attach(client, "signed", index, "about the index");
        const second = await attach(client, "signed", index, "more about the index");
        const onNote = await attach(client, "signed", note, "about the note");
        const onChild = await attach(client, "signed", children[0] as never, "about one platform");
        const old = await pushPlatform(client, "signed", amd64, [layerBytes(100)], "cosign 2");
        const { bytes, mediaType } = await client.getManifest("signed", old.digest);
        const oldTag = `${digestTag(index.digest)}.sig`;
        await client.putManifest("signed", oldTag, mediaType, bytes);

        const archive = join(folder, "signed.tar");
        await mirror(["signed:1.0"], { archive });
        const target = await freshTarget();
        const state = await mirror(["signed:1.0"], { registry: target.registry.registry }, { from: { archive } });
        expect(state.digests["signed:1.0"]).toBe(index.digest);
        const at = async (digest: string) => (await target.client.referrers("signed", digest)).map((one) => one.digest);
        expect((await at(index.digest)).sort()).toEqual([note.digest, second.digest].sort());
        expect(await at(note.digest)).toEqual([onNote.digest]);
        expect(await at(children[0]?.digest ?? "")).toEqual([onChild.digest]);
        expect(await tagAt(target.client, `signed:${oldTag}`)).toBe(old.digest);
        const { annotations, artifactType } = (await target.client.referrers("signed", note.digest))[0] ?? {};
        expect({ annotations, artifactType }).toEqual({
            annotations: { text: "about the note" },
            artifactType: "application/vnd.example.note",
        });
        // The attestation manifests of the index, with their content.
        for (const { digest } of children) await target.client.getManifest("signed", digest);

        const bare = await freshTarget();
        await mirror(["signed:1.0"], { registry: bare.registry.registry }, { referrers: false });
        expect(await bare.client.referrers("signed", index.digest)).toEqual([]);
    });

    it("is another index where only some platforms are wanted, with the attestations of those", async () => {
        const target = await freshTarget();
        const platforms = ["linux/arm64"];
        const state = await mirror(["signed:1.0"], { registry: target.registry.registry }, { platforms });
        const kept = JSON.parse((await target.client.getManifest("signed", "1.0")).bytes.toString());
        const whole = JSON.parse((await client.getManifest("signed", "1.0")).bytes.toString());
        expect(kept).toEqual({ ...whole, manifests: whole.manifests.slice(2) });
        expect(await target.client.headManifest("signed", whole.manifests[0].digest)).toBeUndefined();
        expect(state.digests["signed:1.0"]).not.toBe(await tagAt(client, "signed:1.0"));
    });
});

describe("a flipped byte", () => {
    const one = ["broken:1.0"];
    let storage: string;
    let layer: string;
    beforeAll(async () => {
        const bytes = layerBytes(3 * 1024 * 1024);
        const child = await pushPlatform(client, "broken", amd64, [bytes]);
        await pushIndex(client, "broken", [child], "1.0");
        layer = JSON.parse((await client.getManifest("broken", child.digest)).bytes.toString()).layers[0].digest;
        storage = join(folder, "source");
    });

    it("at the source is found, and nothing of the image stored", async () => {
        flip(blobFile(storage, layer));
        const target = await freshTarget();
        const failed = mirror(one, { registry: target.registry.registry });
        await expect(failed).rejects.toThrow(`${layer} holds other bytes`);
        expect(await target.client.headBlob("broken", layer)).toBeUndefined();
        expect(await tagAt(target.client, "broken:1.0")).toBeUndefined();
        flip(blobFile(storage, layer));
        await mirror(one, { registry: target.registry.registry });
        expect(await tagAt(target.client, "broken:1.0")).toBe(await tagAt(client, "broken:1.0"));
    });

    it("in a folder is found when it is loaded, and mended when it is collected again", async () => {
        const from = { folder: join(folder, "stick") };
        await mirror(one, from);
        flip(join(from.folder, "blobs", layer.replace(":", "/")));
        const target = await freshTarget();
        const load = () => mirror(one, { registry: target.registry.registry }, { from });
        await expect(load()).rejects.toThrow(`${layer} holds other bytes`);
        expect(await tagAt(target.client, "broken:1.0")).toBeUndefined();
        expect((await mirror(one, from)).copied.blobs).toBe(1);
        expect((await load()).copied.blobs).toBe(2);
    });

    it("in an archive is found when it is loaded, and so is a missing end", async () => {
        const from = { archive: join(folder, "stick.tar") };
        await mirror(one, from);
        const whole = readFileSync(from.archive);
        const target = await freshTarget();
        const load = () => mirror(one, { registry: target.registry.registry }, { from });
        flip(from.archive);
        await expect(load()).rejects.toThrow(`${layer} holds other bytes`);
        writeFileSync(from.archive, whole.subarray(0, whole.length - 4096));
        await expect(load()).rejects.toThrow("is cut off after");
        // What is right of it is kept.
        expect((await mirror(one, from)).contents).toMatch(/^sha256:/);
        expect((await load()).copied.blobs).toBe(2);
    });
});

describe("a refresh", () => {
    it("finds what is gone from the target, and the next run puts it back", async () => {
        const target = await freshTarget();
        const names = made.names.slice(0, 2);
        const state = await mirror(names, { registry: target.registry.registry });
        await target.client.putManifest("team/app-1", "1.0", ...(await anotherImage(target.client)));
        const { props } = await operations.read("", state);
        expect(props).toMatchObject({ lost: ["team/app-1:1.0"] });
        expect((await operations.diff("", props as never, inputsFor(names, state.to))).changes).toBe(true);
        const { outs } = await operations.update("", props as never, inputsFor(names, state.to));
        expect(outs).toMatchObject({ lost: [], copied: { blobs: 0 } });
        expect(await tagAt(target.client, "team/app-1:1.0")).toBe(made.digests[1]);
    });

    async function anotherImage(at: RegistryClient): Promise<[string, Buffer]> {
        const { digest } = await pushPlatform(at, "team/app-1", amd64, [layerBytes(10)]);
        const { mediaType, bytes } = await at.getManifest("team/app-1", digest);
        return [mediaType, bytes];
    }

    it("of a folder that two mirrors share looks at its own images; neither takes the other's away", async () => {
        const to = { folder: join(folder, "shared") };
        const names = (from: number, until: number) => made.names.slice(from, until);
        const unchanged = async (state: object, wanted: string[]) =>
            expect((await operations.diff("", state as never, inputsFor(wanted, to))).changes).toBe(false);
        const first = await mirror(names(0, 2), to);
        const second = await mirror(names(2, 3), to);
        await unchanged(first, names(0, 2));
        await unchanged(second, names(2, 3));
        expect((await operations.read("", first)).props).toMatchObject({ lost: [] });

        // The first's second image got another digest from the other mirror, which has it now.
        const moved = made.names[1] ?? "";
        const taken = await mirror([moved], to, { platforms: ["linux/arm64"] });
        expect(taken.digests[moved]).not.toBe(first.digests[moved]);
        expect((await operations.read("", first)).props).toMatchObject({ lost: [moved] });
        const { outs } = await operations.update("", first, inputsFor(names(0, 1), to));
        await unchanged(outs, names(0, 1));
        await unchanged(second, names(2, 3));
        const still = await operations.diff("", taken as never, inputsFor([moved], to, { platforms: ["linux/arm64"] }));
        expect(still.changes).toBe(false);
    });

    it("of a folder sees what was taken off it; what is no longer wanted goes from its list", async () => {
        const to = { folder: join(folder, "list") };
        const state = await mirror(made.names.slice(0, 2), to);
        expect((await operations.diff("", state, inputsFor(made.names.slice(0, 2), to))).changes).toBe(false);
        const { outs } = await operations.update("", state, inputsFor(made.names.slice(0, 1), to));
        const index = JSON.parse(readFileSync(join(to.folder, "index.json"), "utf8"));
        expect(index.manifests.map(({ digest }: { digest: string }) => digest)).toEqual([made.digests[0]]);
        rmSync(join(to.folder, "index.json"));
        expect((await operations.diff("", outs as never, inputsFor(made.names.slice(0, 1), to))).changes).toBe(true);
        expect(statSync(join(to.folder, "oci-layout")).size).toBeGreaterThan(0);
        expect(readdirSync(join(to.folder, "blobs/sha256")).filter((name) => name.endsWith(".part"))).toEqual([]);
    });
});
