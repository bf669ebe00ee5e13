import { afterAll, beforeAll, beforeEach, describe, expect, it } from "vitest";
import { childTag } from "../../core/aws/ecr-lifecycle";
import { RegistryClient } from "../../drivers/registry";
import { type Inputs, operations } from "../../resources/tag-promotion/operations";
import { pushDebianImage } from "../support/debian-image";
import { type RunningRegistry, startRegistry } from "../support/registry";

let registry: RunningRegistry;
let client: RegistryClient;
let count = 0;
/** A repository of its own for each test. */
let path: string;

beforeAll(async () => {
    registry = await startRegistry();
    client = new RegistryClient({ registry: registry.registry, plainHttp: true });
});
afterAll(async () => {
    await client.close();
    await registry.stop();
});
beforeEach(() => {
    path = `app-${++count}`;
});

const push = async (version: string) => (await pushDebianImage(client, path, [{ name: "app", version }])).digest;
const inputsFor = (digest: string, more: Partial<Inputs> = {}): Inputs => ({
    repository: `${registry.registry}/${path}`,
    connection: { plainHttp: true },
    digest,
    tags: [],
    version: "",
    immutableTags: [],
    ...more,
});
const promote = async (digest: string, more: Partial<Inputs> = {}) =>
    (await operations.create(inputsFor(digest, more))).outs;
const release = async (version: string) => {
    const digest = await push(version);
    return { digest, state: await promote(digest, { version }) };
};
const at = async (tag: string) => (await client.headManifest(path, tag))?.digest;
const table = async (...tags: string[]) =>
    Object.fromEntries(await Promise.all(tags.map(async (tag) => [tag, await at(tag)])));

describe("promotion", () => {
    it("points tags at the digest, and is done when they do", async () => {
        const digest = await push("1");
        const state = await promote(digest, { tags: ["stable", "main"] });
        expect(await table("stable", "main")).toEqual({ stable: digest, main: digest });
        expect(state.ref).toBe(`${registry.registry}/${path}@${digest}`);
        expect(state.promoted).toEqual(["stable", "main"]);
        expect((await operations.diff("", state, inputsFor(digest, { tags: ["stable", "main"] }))).changes).toBe(false);
    });

    it("gives platforms' images a tag each, where the registry tells images apart by those, and does it once", async () => {
        const [index, ...children] = [await push("index"), await push("amd64"), await push("arm64")];
        await promote(index, { tags: ["stable"], children });
        await promote(index, { tags: ["stable"], children });
        expect(await table(...children.map(childTag))).toEqual(
            Object.fromEntries(children.map((child) => [childTag(child), child])),
        );
        const taken = promote(children[0] ?? "", { tags: ["stable"], immutableTags: ["stable"], children: [index] });
        await expect(taken).rejects.toThrow("no tag was moved");
        expect(await at(childTag(index))).toBeUndefined();
    });

    it("moves no tag at all where one of them is immutable and taken", async () => {
        const [old, next] = [await push("1"), await push("2")];
        await promote(old, { tags: ["stable", "1.0.0"] });
        const inputs = inputsFor(next, { tags: ["stable", "fresh", "1.0.0"], immutableTags: ["1.0.0"] });
        await expect(operations.create(inputs)).rejects.toThrow(
            `  1.0.0 is ${old}, and would become ${next}\nnext: release under another version; no tag was moved`,
        );
        expect(await table("stable", "fresh", "1.0.0")).toEqual({ stable: old, fresh: undefined, "1.0.0": old });
    });

    it("lets an immutable tag be where it already is", async () => {
        const digest = await push("1");
        const more = { tags: ["1.0.0"], immutableTags: ["1.0.0"] };
        await promote(digest, more);
        expect((await promote(digest, more)).promoted).toEqual(["1.0.0"]);
    });

    it("never moves a version's tags backward", async () => {
        const { digest: newer } = await release("1.5.0");
        const { digest: fix, state } = await release("1.4.3");
        expect(await table("1.5.0", "1.5", "1", "latest", "1.4.3", "1.4")).toEqual({
            "1.5.0": newer,
            "1.5": newer,
            "1": newer,
            latest: newer,
            "1.4.3": fix,
            "1.4": fix,
        });
        expect(state.promoted).toEqual(["1.4.3", "1.4"]);
    });

    it("puts back a tag that a refresh found elsewhere", async () => {
        const [ours, foreign] = [await push("1"), await push("2")];
        const inputs = inputsFor(ours, { tags: ["stable", "main"] });
        const { outs } = await operations.create(inputs);
        await promote(foreign, { tags: ["stable"] });
        const { props } = await operations.read("", outs);
        expect((props as typeof outs).lost).toEqual(["stable"]);
        expect((await operations.diff("", props as typeof outs, inputs)).changes).toBe(true);
        const { outs: mended } = await operations.update("", props as typeof outs, inputs);
        expect(await table("stable", "main")).toEqual({ stable: ours, main: ours });
        expect((await operations.diff("", mended, inputs)).changes).toBe(false);
    });

    it("puts back a tag that is gone", async () => {
        const digest = await push("1");
        const inputs = inputsFor(digest, { tags: ["stable"] });
        const { outs } = await operations.create(inputs);
        await client.deleteManifest(path, "stable");
        expect(await at("stable")).toBeUndefined();
        const { props } = await operations.read("", outs);
        expect((await operations.diff("", props as typeof outs, inputs)).changes).toBe(true);
        await operations.update("", props as typeof outs, inputs);
        expect(await at("stable")).toBe(digest);
    });

    it("leaves the tags that a newer release has taken to it", async () => {
        const { digest: old, state } = await release("1.4.0");
        const { digest: newer } = await release("1.5.0");
        const { props } = await operations.read("", state);
        expect((props as typeof state).lost).toEqual(["1", "latest"]);
        const { outs } = await operations.update("", props as typeof state, inputsFor(old, { version: "1.4.0" }));
        expect(await table("1.4", "1", "latest")).toEqual({ "1.4": old, "1": newer, latest: newer });
        expect(outs.promoted).toEqual(["1.4.0", "1.4"]);
    });

    it("refuses a digest that is not there, and moves no tag", async () => {
        const digest = await push("1");
        await promote(digest, { tags: ["stable"] });
        const missing = `sha256:${"0".repeat(64)}`;
        await expect(promote(missing, { tags: ["stable"] })).rejects.toThrow(/manifest/i);
        expect(await at("stable")).toBe(digest);
    });
});
