import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { RegistryClient } from "../../drivers/registry";
import { type Inputs, operations } from "../../resources/image-index/operations";
import { pushDebianImage } from "../support/debian-image";
import { type RunningRegistry, startRegistry } from "../support/registry";

let registry: RunningRegistry;
let client: RegistryClient;
let amd64: string;
let arm64: string;

beforeAll(async () => {
    registry = await startRegistry();
    client = new RegistryClient({ registry: registry.registry, plainHttp: true });
    const packages = [{ name: "base-files", version: "12.4" }];
    amd64 = (await pushDebianImage(client, "app", packages, "amd64")).digest;
    arm64 = (await pushDebianImage(client, "app", packages, "arm64")).digest;
});
afterAll(async () => {
    await client.close();
    await registry.stop();
});

const child = (platform: string, digest: string) => ({ platform, digest, builder: "", node: "n1", emulated: false });
const inputsFor = (children: Inputs["children"], more: Partial<Inputs> = {}): Inputs => ({
    repository: `${registry.registry}/app`,
    connection: { plainHttp: true },
    children,
    annotations: { "org.opencontainers.image.title": "app" },
    format: "oci",
    ...more,
});
const both = () => [child("linux/amd64", amd64), child("linux/arm64", arm64)];

describe("an index", () => {
    it("names its children in the order asked for, with variant and annotations, and has the same digest twice", async () => {
        const first = (await operations.create(inputsFor(both()))).outs;
        const second = (await operations.create(inputsFor(both()))).outs;
        expect(second.digest).toBe(first.digest);
        const { bytes, mediaType } = await client.getManifest("app", first.digest);
        expect(mediaType).toBe("application/vnd.oci.image.index.v1+json");
        const { manifests, annotations } = JSON.parse(bytes.toString());
        expect(annotations).toEqual({ "org.opencontainers.image.title": "app" });
        expect(manifests.map(({ digest }: { digest: string }) => digest)).toEqual([amd64, arm64]);
        expect(manifests[1].platform).toMatchObject({ os: "linux", architecture: "arm64" });
        expect(first.platforms["linux/arm64"]).toMatchObject({ digest: arm64, node: "n1", durationMs: -1 });
    });

    it("refuses an image of another platform, naming both", async () => {
        const wrong = inputsFor([child("linux/amd64", amd64), child("linux/arm64", amd64)]);
        await expect(operations.create(wrong)).rejects.toThrow(
            `${registry.registry}/app@${amd64} is an image for linux/amd64, not for linux/arm64`,
        );
    });

    it("refuses another index as a child", async () => {
        const { digest } = (await operations.create(inputsFor(both()))).outs;
        await expect(operations.create(inputsFor([child("linux/amd64", digest)]))).rejects.toThrow(
            "is no image but application/vnd.oci.image.index.v1+json; build one platform with one builder",
        );
    });

    it("refuses a child that is not in the registry", async () => {
        const missing = `sha256:${"1".repeat(64)}`;
        await expect(operations.create(inputsFor([child("linux/amd64", missing)]))).rejects.toThrow(
            /manifests\/sha256:111/,
        );
    });

    it("is the same where only the node or the builder is another one", async () => {
        const { outs } = await operations.create(inputsFor(both()));
        const moved = both().map((one) => ({ ...one, node: "n2", emulated: true, builder: "b" }));
        expect((await operations.diff("", outs, inputsFor(moved))).changes).toBe(false);
    });

    it.each([
        ["another digest", () => [child("linux/amd64", amd64), child("linux/arm64", amd64)]],
        ["another order", () => both().reverse()],
        ["a platform less", () => both().slice(1)],
    ])("is another one with %s", async (_case, children) => {
        const { outs } = await operations.create(inputsFor(both()));
        expect((await operations.diff("", outs, inputsFor(children()))).changes).toBe(true);
    });

    it("is made again by the next up when a refresh finds it gone", async () => {
        const inputs = inputsFor(both(), { annotations: { once: "only" } });
        const { outs } = await operations.create(inputs);
        expect((await operations.read("id", outs)).id).toBe("id");
        await client.deleteManifest("app", outs.digest);
        expect((await operations.read("id", outs)).id).toBe("");
    });
});
