/** What the stand-in accepts, and what it takes for a change. */
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { createDockerBuild } from "../../engine/docker-build";
import { type Properties, type Provider, SECRET, SIGNATURE, UNKNOWN } from "../../engine/provider";

const work = mkdtempSync(join(tmpdir(), "docker-build-inputs-"));

function provider(programDirectory: string): Promise<Provider> {
    const signal = new AbortController().signal;
    return createDockerBuild(
        { project: "p", stack: "s", programDirectory, engineAddress: "", log: () => undefined, signal },
        "0.0.22",
    );
}

beforeAll(() => {
    for (const folder of ["app", "more", "stack"]) mkdirSync(join(work, folder));
    for (const file of ["app/Dockerfile", "more/data"]) writeFileSync(join(work, file), "FROM scratch\n");
});
afterAll(() => rmSync(work, { recursive: true }));

const URN = "urn:pulumi:s::p::docker-build:index:Image::image";
const secret = (value: Properties | string) => ({ [SIGNATURE]: SECRET, value });
const INLINE = { inline: "FROM scratch\n" };

/** The one failure that a check reports; undefined: none. */
async function failure(more: Properties): Promise<{ property: string; reason: string } | undefined> {
    const plugin = await provider(join(work, "stack"));
    return (await plugin.check(URN, {}, { context: { location: "." }, dockerfile: INLINE, ...more })).failures[0];
}

describe("check", () => {
    it.each<[string, Properties, string, RegExp]>([
        [
            "two Dockerfiles",
            { dockerfile: { ...INLINE, location: "x" } },
            "dockerfile",
            /only specify "file" or "inline"/,
        ],
        [
            "a context that is a file",
            { context: { location: "../app/Dockerfile" } },
            "context.location",
            /not a valid dir/,
        ],
        [
            "an inline Dockerfile that is empty",
            { dockerfile: { inline: "# none\n" } },
            "dockerfile.inline",
            /no instructions/,
        ],
        ["several exports", { exports: [{ cacheonly: {} }, { cacheonly: {} }] }, "exports", /multiple exports/],
        ["push and load", { push: true, load: true, tags: ["a/b:c"] }, "push", /multiple exports/],
        [
            "two kinds of export",
            { exports: [{ cacheonly: {}, local: { dest: "x" } }] },
            "exports[0]",
            /only specify one/,
        ],
        ["a push without a name", { push: true }, "exports[0]", /at least one tag or export name/],
        ["a raw export without a type", { exports: [{ raw: "dest=x" }] }, "exports[0]", /type is required/],
        ["an odd platform", { platforms: ["linux/amd64", "li nux"] }, "platforms[1]", /failed to parse platform/],
        [
            "two kinds of cache",
            { cacheTo: [{ inline: {}, local: { dest: "x" } }] },
            "cacheTo[0]",
            /only specify one cache type/,
        ],
        [
            "credentials in a raw cache",
            { cacheFrom: [{ raw: "type=s3,bucket=b,secret_access_key=k" }] },
            "cacheFrom[0]",
            /environment/,
        ],
        ["a tag in capitals", { tags: ["ok:1", "Capital"] }, "tags[1]", /must be lowercase/],
        ["a tag with a space", { tags: ["a b"] }, "tags[0]", /^invalid reference format$/],
        ["exec", { exec: true }, "exec", /not done/],
        ["a typed s3 cache", { cacheTo: [{ s3: { bucket: "b" } }] }, "cacheTo[0].s3", /not known/],
        ["an unknown property", { annotations: {} }, "annotations", /not known/],
        ["a wrong type", { noCache: "yes" }, "noCache", /must be a boolean/],
        ["a missing field", { cacheFrom: [{ local: {} }] }, "cacheFrom[0].local.src", /required/],
    ])("refuses %s", async (_name, more, property, reason) => {
        expect(await failure(more)).toEqual({ property, reason: expect.stringMatching(reason) });
    });

    it("takes what looks odd and isn't", async () => {
        expect(
            await failure({ tags: ["UPPER/case:tag", `a/b@sha256:${"0".repeat(64)}`, "localhost/x"] }),
        ).toBeUndefined();
        expect(
            await failure({ context: { location: "https://example.test/repo.git" }, dockerfile: {} }),
        ).toBeUndefined();
        expect(await failure({ exports: [{ raw: "type=image,push=true,name=a/b" }] })).toBeUndefined();
        expect(await failure({ exports: [{ disabled: true, raw: "nonsense,x" }] })).toBeUndefined();
    });

    it("keeps what is unknown in a preview, and doesn't judge it", async () => {
        const plugin = await provider(join(work, "stack"));
        const news = {
            context: UNKNOWN,
            tags: [UNKNOWN],
            buildArgs: { A: UNKNOWN },
            platforms: UNKNOWN,
            push: UNKNOWN,
        };
        const { inputs, failures } = await plugin.check(URN, {}, news);
        expect(failures).toEqual([]);
        expect(inputs).toMatchObject({ ...news, dockerfile: { inline: "", location: "" } });
        const { id, outputs } = await plugin.create(URN, inputs, 0, true);
        expect({ id, outputs }).toMatchObject({
            id: "image",
            outputs: { contextHash: UNKNOWN, digest: UNKNOWN, ref: UNKNOWN },
        });
    });

    it("marks secrets and passwords, wherever they came in the clear", async () => {
        const plugin = await provider(join(work, "stack"));
        const registries = [
            { address: "a.test", password: "p" },
            { address: "b.test", password: secret("q") },
        ];
        const { inputs } = await plugin.check(URN, {}, { dockerfile: INLINE, secrets: { token: "t" }, registries });
        expect(inputs.secrets).toEqual(secret({ token: "t" }));
        expect(inputs.registries).toMatchObject([{ password: secret("p") }, { password: secret("q") }]);
    });

    it("refuses other resources, configuration and versions by name", async () => {
        const plugin = await provider(join(work, "stack"));
        const index = "urn:pulumi:s::p::docker-build:index:Index::x";
        await expect(plugin.check(index, {}, {})).rejects.toThrow("docker-build:index:Index");
        await expect(plugin.configure({ version: "0.0.22", host: "tcp://x" })).rejects.toThrow("host");
        const host = {
            project: "",
            stack: "",
            programDirectory: work,
            engineAddress: "",
            log: () => undefined,
            signal: new AbortController().signal,
        };
        await expect(createDockerBuild(host, "0.0.23")).rejects.toThrow("0.0.23");
    });
});

describe("diff and delete", () => {
    const BASE: Properties = {
        dockerfile: INLINE,
        buildArgs: { A: "1" },
        secrets: { a: "1", b: "2" },
        registries: [{ address: "r", password: "p" }],
    };

    async function diff(change: Properties, ignoreChanges: string[] = []): Promise<string[]> {
        const plugin = await provider(join(work, "stack"));
        const { inputs: olds } = await plugin.check(URN, {}, BASE);
        const { outputs } = await plugin.update(URN, "id", olds, olds, olds, 0, true, []);
        const { inputs: news } = await plugin.check(URN, {}, { ...BASE, ...change });
        return (await plugin.diff(URN, "id", olds, outputs, news, ignoreChanges)).diffs;
    }

    it.each<[Properties, string[]]>([
        [{}, []],
        [{ buildArgs: { A: "2" } }, ["buildArgs"]],
        [{ builder: { name: "b" } }, ["builder"]],
        [{ tags: [] }, []],
        [{ secrets: { a: "1", b: "3" } }, ["secrets"]],
        [{ secrets: { a: "1", b: "3" }, ignoreSecretsInDiffCalculation: ["b"] }, []],
        [{ registries: [{ address: "r", password: "other" }] }, []],
        [{ registries: [{ address: "r", username: "u" }] }, ["registries[0]"]],
        [{ context: { location: ".", named: { more: { location: "../more" } } } }, ["context.named", "contextHash"]],
        [{ pull: true, exports: [{ cacheonly: {} }] }, ["pull", "exports", "contextHash"]],
        [{ exports: [{ local: { dest: "../nowhere" } }] }, ["exports", "exports[0]"]],
    ])("%j changes %j", async (change, expected) => {
        expect(await diff(change)).toEqual(expected);
    });

    it("leaves out what is to be ignored", async () => {
        expect(await diff({ buildArgs: { A: "2" }, labels: { a: "b" } }, ["buildArgs"])).toEqual(["labels"]);
    });

    it("deletes nothing: says so where the plugin would have", async () => {
        const plugin = await provider(join(work, "stack"));
        await plugin.delete(URN, "id", {}, { digest: "sha256:0", tags: [] }, 0);
        await expect(plugin.delete(URN, "id", {}, { digest: "sha256:0", tags: ["r.test/a:b"] }, 0)).rejects.toThrow(
            "retainOnDelete",
        );
    });
});
