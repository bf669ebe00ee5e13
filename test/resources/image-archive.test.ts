import { execFileSync } from "node:child_process";
import { createHash } from "node:crypto";
import {
    appendFileSync,
    existsSync,
    mkdirSync,
    mkdtempSync,
    readdirSync,
    readFileSync,
    rmSync,
    utimesSync,
    writeFileSync,
} from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, beforeEach, describe, expect, it } from "vitest";
import { composeIndex, mediaTypes } from "../../core/image-index";
import { RegistryClient } from "../../drivers/registry";
import { operations as builders } from "../../resources/buildx-builder/operations";
import { type Inputs, operations } from "../../resources/image-archive/operations";
import { type RunningBuildkitd, startBuildkitd } from "../support/buildkitd";
import { Dockerd } from "../support/dockerd";
import { type RunningRegistry, startRegistry } from "../support/registry";
import { pushSmallImage, type SmallImage } from "../support/small-image";

const native = `linux/${process.arch === "arm64" ? "arm64" : "amd64"}`;
const NAME = "team/app:1.4.2";
const images: Record<string, SmallImage> = {};
let root: string;
let registry: RunningRegistry;
let buildkitd: RunningBuildkitd;
let client: RegistryClient;
let index: string;
let before: string | undefined;
let count = 0;
/** A free place. */
let path: string;

beforeAll(async () => {
    root = mkdtempSync(join(tmpdir(), "image-archive-test-"));
    before = process.env.BUILDX_CONFIG;
    process.env.BUILDX_CONFIG = join(root, "buildx");
    [registry, buildkitd] = await Promise.all([startRegistry(), startBuildkitd()]);
    client = new RegistryClient({ registry: registry.registry, plainHttp: true });
    for (const architecture of ["amd64", "arm64"])
        images[architecture] = await pushSmallImage(client, "app", { os: "linux", architecture });
    const children = Object.entries(images).map(([architecture, image]) => ({
        ...{ digest: image.digest, size: image.size, mediaType: image.mediaType },
        platform: `linux/${architecture}`,
    }));
    const bytes = composeIndex({ children });
    index = `sha256:${createHash("sha256").update(bytes).digest("hex")}`;
    await client.putManifest("app", index, mediaTypes.ociIndex, bytes);
    const nodes = [{ name: "node", endpoint: buildkitd.endpoint, platforms: [native] }];
    await builders.create({ name: "archives", platform: native, emulation: "refuse", placementKey: "a", nodes });
});
afterAll(async () => {
    await client.close();
    await Promise.all([registry.stop(), buildkitd.stop()]);
    if (before === undefined) delete process.env.BUILDX_CONFIG;
    else process.env.BUILDX_CONFIG = before;
    rmSync(root, { recursive: true, force: true });
});
beforeEach(() => {
    path = join(root, `place-${++count}`);
});

const inputsFor = (more: Partial<Inputs> = {}): Inputs => ({
    repository: `${registry.registry}/app`,
    connection: { plainHttp: true },
    ...{ image: index, format: "oci", path, platform: "", name: NAME, builder: "" },
    ...more,
});
const create = async (more: Partial<Inputs> = {}) => (await operations.create(inputsFor(more))).outs;
const fileDigest = (file: string) => `sha256:${createHash("sha256").update(readFileSync(file)).digest("hex")}`;
const skopeo = (...args: string[]) => execFileSync("skopeo", args, { encoding: "utf8", stdio: "pipe" });
const rootOf = (image = "arm64") => ({ platform: `linux/${image}`, name: "", builder: "archives" });

describe("an archive", () => {
    it.each([
        ["oci", "oci-archive"],
        ["oci-folder", "oci"],
    ] as const)("of format %s has the whole index for skopeo (%s:)", async (format, transport) => {
        const outs = await create({ format });
        const place = `${transport}:${path}:1.4.2`;
        expect(JSON.parse(skopeo("inspect", "--raw", place)).manifests).toHaveLength(2);
        const copy = join(root, `copy-${format}`);
        skopeo("copy", "--insecure-policy", "--all", "--preserve-digests", place, `dir:${copy}`);
        expect(fileDigest(join(copy, "manifest.json"))).toBe(index);
        for (const { layer } of Object.values(images)) expect(existsSync(join(copy, layer.slice(7)))).toBe(true);
        if (format === "oci") expect(outs.digest).toBe(fileDigest(path));
        expect(readdirSync(root).filter((name) => name.includes("partial"))).toEqual([]);
    });

    it("of one platform is that image, under its own digest", async () => {
        await create({ platform: "linux/aarch64" });
        const copy = join(root, "copy-arm64");
        skopeo("copy", "--insecure-policy", "--preserve-digests", `oci-archive:${path}`, `dir:${copy}`);
        expect(fileDigest(join(copy, "manifest.json"))).toBe(images.arm64?.digest);
    });

    it("for docker is read by skopeo and by `docker load`, under its name", async () => {
        await create({ format: "docker", platform: native });
        const inspected = JSON.parse(skopeo("inspect", `docker-archive:${path}`));
        expect(`${inspected.Os}/${inspected.Architecture}`).toBe(native);
        const daemon = await Dockerd.start();
        try {
            expect(daemon.docker("load", "--input", path)).toContain(`Loaded image: ${NAME}`);
            const [loaded] = JSON.parse(daemon.docker("image", "inspect", NAME));
            expect(`${loaded.Os}/${loaded.Architecture}`).toBe(native);
            expect(loaded.RootFS.Layers).toHaveLength(1);
        } finally {
            await daemon.stop();
        }
    });

    it("of a root file system has the files of the image, of any platform", async () => {
        const tar = await create({ format: "tar", ...rootOf() });
        expect(tar.digest).toBe(fileDigest(path));
        const content = execFileSync("tar", ["--extract", "--to-stdout", "--file", path, "etc/platform"]).toString();
        expect(JSON.parse(content)).toEqual({ os: "linux", architecture: "arm64" });
        const folder = `${path}-folder`;
        const local = await create({ format: "local", ...rootOf(), path: folder });
        expect(readFileSync(join(folder, "etc/platform"), "utf8")).toBe(content);
        expect(local.size).toBe(content.length);
        const other = await create({ format: "local", ...rootOf("amd64"), path: `${path}-other` });
        expect(other.digest).not.toBe(local.digest);
    });

    it.each(["docker", "oci", "oci-folder", "tar", "local"] as const)(
        "of the same image is the same: %s",
        async (format) => {
            const more = format === "tar" || format === "local" ? rootOf() : { platform: "linux/arm64" };
            const first = await create({ format, ...more });
            expect((await create({ format, ...more, path: `${path}-again` })).digest).toBe(first.digest);
        },
    );
});

describe("what is at its place", () => {
    const diff = async (state: Inputs, inputs = state) => (await operations.diff("", state as never, inputs)).changes;

    it.each(["oci", "oci-folder"] as const)(
        "is written again when it is gone or changed, and not for its times: %s",
        async (format) => {
            const state = await create({ format });
            const file = format === "oci" ? path : join(path, "index.json");
            const whole = readFileSync(file);
            expect(await diff(state)).toBe(false);
            utimesSync(file, 1, 1);
            expect(await diff(state)).toBe(false);
            // A flipped bit, at the same size and time.
            const flipped = Buffer.from(whole);
            flipped[600 % flipped.length] = (flipped[600 % flipped.length] ?? 0) ^ 1;
            writeFileSync(file, flipped);
            utimesSync(file, 1, 1);
            expect(await diff(state)).toBe(true);
            expect((await operations.update("", state, state)).outs.digest).toBe(state.digest);
            expect(readFileSync(file)).toEqual(whole);
            rmSync(path, { recursive: true });
            expect(await diff(state)).toBe(true);
            expect((await operations.read("id", state)).id).toBe("");
        },
    );

    it("is adopted when it is the very same, and never written over when it is not", async () => {
        const { digest } = await create();
        expect((await create()).digest).toBe(digest);
        writeFileSync(path, "somebody's");
        await expect(create()).rejects.toThrow("is there already, and holds something else");
        expect(readFileSync(path, "utf8")).toBe("somebody's");
        rmSync(path);
        mkdirSync(join(path, "notes"), { recursive: true });
        await expect(create({ format: "local", ...rootOf() })).rejects.toThrow("remove it, or set another path");
        expect(readdirSync(path)).toEqual(["notes"]);
    });

    const arm = () => images.arm64?.digest ?? "";

    it.each(["oci-folder", "local"] as const)(
        "is replaced by another image's, and not where somebody's files are in it: %s",
        async (format) => {
            const more = (image: string) => inputsFor({ format, image, ...(format === "local" && rootOf()) });
            // Its own, and damaged: a file of the earlier image is gone, another is there yet.
            const state = (await operations.create(more(index))).outs;
            const update = () => operations.update("", state, more(arm()));
            if (format === "oci-folder") rmSync(join(path, "oci-layout"));
            else writeFileSync(join(path, "etc/platform"), "damaged");
            const { digest } = (await update()).outs;
            expect((await create({ format, image: arm(), ...(format === "local" && rootOf()) })).digest).toBe(digest);
            // The state may be another machine's, where there was nothing else.
            mkdirSync(join(path, "etc"), { recursive: true });
            writeFileSync(join(path, "etc/notes"), "somebody's");
            await expect(update()).rejects.toThrow(/holds something else: .*etc\/notes\nnext: remove it/);
            expect(readFileSync(join(path, "etc/notes"), "utf8")).toBe("somebody's");
            expect(readdirSync(root).filter((name) => name.includes("partial"))).toEqual([]);
        },
    );

    it("is somebody's, where a folder is in a file's place", async () => {
        const state = await create();
        rmSync(path);
        mkdirSync(path);
        writeFileSync(join(path, "notes"), "somebody's");
        await expect(operations.update("", state, state)).rejects.toThrow("holds something else: notes");
        expect(readdirSync(path)).toEqual(["notes"]);
    });

    it("goes with the resource, unless somebody changed it", async () => {
        const state = await create({ format: "oci-folder" });
        await operations.delete("", state);
        expect(existsSync(path)).toBe(false);
        const changed = await create();
        appendFileSync(path, "more");
        await operations.delete("", changed);
        expect(existsSync(path)).toBe(true);
    });

    it("is nothing when it can't be whole", async () => {
        await expect(create({ format: "docker" })).rejects.toThrow(
            "is an index with several images; it has linux/amd64, linux/arm64\nnext: set platform",
        );
        await expect(create({ platform: "linux/s390x" })).rejects.toThrow("no image for linux/s390x");
        const image = images.amd64?.digest ?? "";
        await expect(create({ image, platform: "linux/arm64" })).rejects.toThrow(
            "is an image for linux/amd64, not for",
        );
        await expect(create({ format: "tar", ...rootOf(), builder: "none" })).rejects.toThrow(
            'no builder "none" found',
        );
        expect(readdirSync(root).filter((name) => name.startsWith(`place-${count}`))).toEqual([]);
    });
});

it.each<[string, Partial<Inputs>, string, string]>([
    ["an unknown format", { format: "zip" as never }, "format", "expected one of docker, oci"],
    ["no path", { path: " " }, "path", "empty"],
    ["what is no digest", { image: "latest" }, "digest", "is not a digest"],
    ["an unknown platform", { platform: "linux/arm65" }, "platform", "is not a platform"],
    ["a name without tag for docker", { format: "docker", name: "team/app" }, "name", "no name with a tag"],
    ["a root file system without platform", { format: "tar", name: "", builder: "b" }, "platform", "one platform"],
    ["a root file system without builder", { format: "local", name: "", platform: native }, "builder", "by a builder"],
    ["a root file system with a name", { format: "tar", platform: native, builder: "b" }, "name", "which has none"],
])("refuses %s", async (_case, more, property, reason) => {
    const { failures } = await operations.check({}, inputsFor({ path: "a", ...more }));
    expect(failures).toEqual([{ property, reason: expect.stringContaining(reason) }]);
});
