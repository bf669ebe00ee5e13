import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { mediaTypes } from "../../core/image-index";
import { RegistryClient, staticCredentials } from "../../drivers/registry";
import { type Inputs, operations } from "../../resources/image-index/operations";
import { account, type RunningRegistry, startRegistry } from "../support/registry";
import { pushSmallImage, type SmallImage } from "../support/small-image";

/** Where the index goes. */
let room: RunningRegistry;
/** Where images come from, too: another registry, which asks for a password. */
let old: RunningRegistry;
let client: RegistryClient;
let oldClient: RegistryClient;
let amd64: SmallImage;
let arm64: SmallImage;
let armV7: SmallImage;
const secured = { plainHttp: true, username: account.username, password: account.password };

beforeAll(async () => {
    [room, old] = await Promise.all([startRegistry(), startRegistry({ htpasswd: account.htpasswd })]);
    client = new RegistryClient({ registry: room.registry, plainHttp: true });
    oldClient = new RegistryClient({
        registry: old.registry,
        plainHttp: true,
        credentials: staticCredentials({ username: account.username, password: account.password }),
    });
    amd64 = await pushSmallImage(client, "ci/app", { os: "linux", architecture: "amd64" }, { tag: "1.4.2-amd64" });
    arm64 = await pushSmallImage(
        oldClient,
        "app",
        { os: "linux", architecture: "arm64", variant: "v8" },
        { tag: "arm" },
    );
    armV7 = await pushSmallImage(
        client,
        "ci/app",
        { os: "linux", architecture: "arm", variant: "v7" },
        { tag: "arm32" },
    );
});
afterAll(async () => {
    await Promise.all([client.close(), oldClient.close()]);
    await Promise.all([room.stop(), old.stop()]);
});

type Child = Inputs["children"][number];
const from = (image: string, more: Partial<Child> = {}): Child => ({
    ...{ platform: "", digest: "", builder: "", node: "", emulated: false },
    ...more,
    image,
});
let count = 0;
/** Into a repository of its own. */
const inputsFor = (children: Child[], more: Partial<Inputs> = {}): Inputs => ({
    repository: `${room.registry}/joined/${++count}`,
    connection: { plainHttp: true },
    connections: children.map(({ image = "" }) => (image.startsWith(old.registry) ? secured : null)),
    annotations: {},
    format: "oci",
    children,
    ...more,
});
const here = (tag: string) => `${room.registry}/ci/app:${tag}`;
const there = (tag: string) => `${old.registry}/app:${tag}`;
const pathOf = ({ repository }: Inputs) => repository.slice(room.registry.length + 1);
const written = async (inputs: Inputs, digest: string) =>
    JSON.parse((await client.getManifest(pathOf(inputs), digest)).bytes.toString());

describe("an index of images from elsewhere", () => {
    it("has them all in its own repository, whole, from two registries", async () => {
        const inputs = inputsFor([from(here("1.4.2-amd64")), from(there("arm"), { platform: "linux/aarch64" })]);
        const { outs } = await operations.create(inputs);
        expect(await written(inputs, outs.digest)).toEqual({
            schemaVersion: 2,
            mediaType: mediaTypes.ociIndex,
            manifests: [
                {
                    ...{ mediaType: amd64.mediaType, digest: amd64.digest, size: amd64.size },
                    platform: { architecture: "amd64", os: "linux" },
                },
                {
                    ...{ mediaType: arm64.mediaType, digest: arm64.digest, size: arm64.size },
                    platform: { architecture: "arm64", os: "linux", variant: "v8" },
                },
            ],
        });
        for (const image of [amd64, arm64]) {
            expect((await client.getManifest(pathOf(inputs), image.digest)).bytes).toEqual(image.bytes);
            expect((await client.headBlob(pathOf(inputs), image.layer))?.digest).toBe(image.layer);
        }
        expect(outs.entries).toMatchObject([
            { platform: "linux/amd64", source: `${room.registry}/ci/app@${amd64.digest}` },
            { platform: "linux/arm64", source: `${old.registry}/app@${arm64.digest}` },
        ]);
    });

    it("sends no blob that the registry has: it is mounted", async () => {
        const inputs = inputsFor([from(here("1.4.2-amd64"))]);
        const before = room.log().length;
        await operations.create(inputs);
        const log = room.log().slice(before).split("\n");
        const ours = log.filter((line) => line.includes(`"POST /v2/${pathOf(inputs)}/blobs/uploads/`));
        expect(ours.length).toBeGreaterThan(0);
        for (const line of ours) expect(line).toMatch(/"POST \S+mount=\S+ HTTP\/1.1" 201/);
    });

    it("takes what was said of a platform beyond its image's configuration", async () => {
        const windows = { os: "windows", architecture: "amd64", "os.version": "10.0.20348.2762" };
        await pushSmallImage(client, "ci/app", windows, { tag: "win", format: "docker" });
        await pushSmallImage(client, "ci/app", { os: "linux", architecture: "arm" }, { tag: "bare", format: "docker" });
        const children = [
            from(here("win"), { platform: "windows/x86_64", osFeatures: ["win32k"], features: ["sse4"] }),
            from(here("bare"), { platform: "linux/arm", variant: "v6" }),
        ];
        const inputs = inputsFor(children, { format: "docker" });
        const { outs } = await operations.create(inputs);
        const { mediaType, manifests } = await written(inputs, outs.digest);
        expect(mediaType).toBe(mediaTypes.dockerList);
        expect(manifests.map(({ platform }: { platform: object }) => platform)).toEqual([
            {
                ...{ architecture: "amd64", os: "windows", "os.version": "10.0.20348.2762" },
                ...{ "os.features": ["win32k"], features: ["sse4"] },
            },
            { architecture: "arm", os: "linux", variant: "v6" },
        ]);
        expect(Object.keys(outs.platforms)).toEqual(["windows(10.0.20348.2762+win32k)/amd64+sse4", "linux/arm/v6"]);
    });

    it("takes the one image of a platform out of an index, past its attestations", async () => {
        const inside = await operations.create(inputsFor([from(here("1.4.2-amd64")), from(here("arm32"))]));
        const { bytes } = await client.getManifest(pathOf(inside.outs), inside.outs.digest);
        const index = JSON.parse(bytes.toString());
        const platform = { architecture: "unknown", os: "unknown" };
        index.manifests.push({ ...index.manifests[0], platform });
        await client.putManifest(pathOf(inside.outs), "both", mediaTypes.ociIndex, Buffer.from(JSON.stringify(index)));
        const source = `${inside.outs.repository}:both`;
        const { outs } = await operations.create(inputsFor([from(source, { platform: "armv7" })]));
        expect(outs.entries?.map(({ digest }) => digest)).toEqual([armV7.digest]);
        const create = (platform: string) => operations.create(inputsFor([from(source, { platform })]));
        await expect(create("linux/s390x")).rejects.toThrow(
            "is an index with no image for linux/s390x; it has linux/amd64, linux/arm/v7",
        );
        await expect(create("")).rejects.toThrow("say which platform");
    });
});

describe("a join is refused, and nothing is written", () => {
    const nothing = async (inputs: Inputs, error: RegExp | string) => {
        await expect(operations.create(inputs)).rejects.toThrow(error);
        expect(await client.headManifest(pathOf(inputs), amd64.digest)).toBeUndefined();
        expect(await client.headBlob(pathOf(inputs), amd64.layer)).toBeUndefined();
    };

    it("for an image of another platform than was declared: both are named", () =>
        nothing(
            inputsFor([from(here("1.4.2-amd64")), from(here("arm32"), { platform: "linux/arm64" })]),
            `${room.registry}/ci/app@${armV7.digest} (${here("arm32")}): the image is for linux/arm/v7; expected one for linux/arm64, as declared`,
        ));

    it("for two images of one platform", () =>
        nothing(inputsFor([from(here("1.4.2-amd64")), from(there("arm")), from(there("arm"))]), "same as children[1]"));

    it("for one that is not there, and one behind a wrong password", async () => {
        await nothing(inputsFor([from(here("1.4.2-amd64")), from(here("none"))]), /manifests\/none: HTTP 404/);
        const children = [from(here("1.4.2-amd64")), from(there("arm"))];
        const connections = [null, { ...secured, password: "wrong" }];
        await nothing(inputsFor(children, { connections }), /manifests\/arm: HTTP 401[\s\S]*docker login/);
    });

    it("for OCI's images in a Docker list", () =>
        nothing(
            inputsFor([from(here("1.4.2-amd64"))], { format: "docker" }),
            "is not an image manifest of this format",
        ));

    it("for something that is no image", async () => {
        const config = await client.putBlob("ci/app", Buffer.from("{}"), "application/vnd.oci.empty.v1+json");
        const artifact = { schemaVersion: 2, mediaType: mediaTypes.ociManifest, config, layers: [config] };
        await client.putManifest("ci/app", "chart", mediaTypes.ociManifest, Buffer.from(JSON.stringify(artifact)));
        await nothing(inputsFor([from(here("1.4.2-amd64")), from(here("chart"))]), /:chart\): "" is not a platform/);
    });
});

describe("a join follows", () => {
    const diff = async (state: Inputs, inputs = state) => (await operations.diff("", state as never, inputs)).changes;

    it("a tag that moved, and no tag that is gone", async () => {
        const platform = { os: "linux", architecture: "riscv64" };
        await pushSmallImage(client, "moving", platform, { tag: "now" });
        const { outs } = await operations.create(inputsFor([from(`${room.registry}/moving:now`)]));
        expect(await diff(outs)).toBe(false);
        const next = await pushSmallImage(client, "moving", platform, { tag: "now", files: { next: "one" } });
        expect(await diff(outs)).toBe(true);
        const { outs: followed } = await operations.update("", outs, outs);
        expect(followed.entries?.[0]?.digest).toBe(next.digest);
        expect(await diff(followed)).toBe(false);
        await client.deleteManifest("moving", next.digest);
        expect(await diff(followed)).toBe(false);
    });

    it("what is said of a platform, and not how a registry is reached", async () => {
        const { outs } = await operations.create(inputsFor([from(there("arm"))]));
        const change = (more: Partial<Inputs>) => diff(outs, { ...outs, ...more });
        expect(await change({ children: [from(there("arm"), { annotations: { a: "b" } })] })).toBe(true);
        expect(await change({ children: [from(there("arm"), { platform: "linux/arm64" })] })).toBe(true);
        expect(await change({ connections: [{ ...secured, ca: "" }] })).toBe(false);
    });
});

it("copies no image whose registry has damaged it", async () => {
    const storage = mkdtempSync(join(tmpdir(), "joined-index-test-"));
    const rotten = await startRegistry({ storage });
    const itsClient = new RegistryClient({ registry: rotten.registry, plainHttp: true });
    try {
        const { layer } = await pushSmallImage(
            itsClient,
            "app",
            { os: "linux", architecture: "ppc64le" },
            { tag: "1" },
        );
        const hex = layer.slice("sha256:".length);
        const blob = join(storage, "docker/registry/v2/blobs/sha256", hex.slice(0, 2), hex, "data");
        const bytes = readFileSync(blob);
        bytes[40] = (bytes[40] ?? 0) ^ 1;
        writeFileSync(blob, bytes);
        const inputs = inputsFor([from(`${rotten.registry}/app:1`)], { connections: [{ plainHttp: true }] });
        await expect(operations.create(inputs)).rejects.toThrow(`${layer} holds other bytes`);
        expect(await client.headBlob(pathOf(inputs), layer)).toBeUndefined();
    } finally {
        await itsClient.close();
        await rotten.stop();
        rmSync(storage, { recursive: true, force: true });
    }
});
