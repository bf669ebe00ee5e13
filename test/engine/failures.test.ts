/** Failures of resources and programs, and what the engine refuses. */
import { mkdirSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { Workspace } from "./support";

let work: Workspace;
beforeEach(() => {
    work = new Workspace();
});
afterEach(() => work.remove());

const counts = (changes: object) => ({ create: 0, update: 0, delete: 0, replace: 0, same: 0, ...changes });

describe("a resource that fails", () => {
    const program = (fail: string) => `const a = thing("a", { fail: "${fail}" }); const b = thing("b", { from: a.out });
        const c = thing("c", {}, { dependsOn: b }); thing("d"); exports.a = a.out; exports.c = c.out;`;

    it("stops what depends on it and nothing else; the next run goes on", async () => {
        const failed = await work.up(program("create"));
        expect(failed.result).toBe("failed");
        expect(failed.errors).toEqual([
            { urn: "urn:pulumi:dev::proj::test:index:Thing::a", message: "a fails to create" },
        ]);
        expect(work.provider.done("begin").sort()).toEqual(["create a", "create d"]);
        expect(work.names()).toEqual(["d"]);
        const result = await work.up(program(""));
        expect(result.changes).toEqual(counts({ create: 3, same: 2 }));
        expect(result.outputs).toEqual({ a: "out-2", c: "out-4" });
    });

    it("keeps the last outputs, and deletes nothing", async () => {
        const { outputs } = await work.up(`${program("")} thing("extra");`);
        const failed = await work.up(program("update"));
        expect(failed.result).toBe("failed");
        expect(failed.outputs).toEqual(outputs);
        expect(work.names().sort()).toEqual(["a", "b", "c", "d", "extra"]);
    });

    it("is named with the property its check refuses, and a secret value isn't shown", async () => {
        const result = await work.up(`thing("a", { size: -1 }); thing("b", { size: pulumi.secret(-1) });`);
        const messages = result.errors.map(({ message }) => message).sort();
        expect(messages).toEqual([
            "test:index:Thing resource 'a': property size value {-1} has a problem: must not be negative",
            `test:index:Thing resource 'b': property size value {"[secret]"} has a problem: must not be negative`,
        ]);
    });

    it("is kept where it was made but isn't ready, and updated by the next run", async () => {
        const failed = await work.up(`thing("a", { unready: true });`);
        expect(failed.errors[0]?.message).toBe("not ready: still starting");
        const state = work.state().deployment.resources?.find(({ urn }) => urn.endsWith("::a"));
        expect(state).toMatchObject({ id: "id-1", initErrors: ["still starting"], outputs: { out: "out-1" } });
        const result = await work.up(`thing("a", { unready: true });`);
        expect(result.changes).toEqual(counts({ update: 1, same: 1 }));
        const mended = work.state().deployment.resources?.find(({ urn }) => urn.endsWith("::a"));
        expect(mended).not.toHaveProperty("initErrors");
    });
});

describe("a program that fails", () => {
    it("is reported with its message, and nothing it didn't get to is deleted", async () => {
        await work.up(`thing("a"); thing("b");`);
        const result = await work.up(`thing("a"); throw new Error("no such luck");`);
        expect(result.result).toBe("failed");
        expect(result.errors.map(({ message }) => message).join()).toContain("no such luck");
        expect(work.names().sort()).toEqual(["a", "b"]);
    });

    it("is reported by its exit code and last words where it says nothing else", async () => {
        const result = await work.up(`thing("a"); console.log("last words"); process.exit(3);`);
        expect(result.errors.map(({ message }) => message)).toEqual(["the program ended with exit code 3\nlast words"]);
    });

    it("is refused two resources of one name", async () => {
        const result = await work.up(`thing("a"); thing("a");`);
        expect(result.errors[0]?.message).toMatch(/Duplicate resource URN '.*::a'; try giving it a unique name/);
        expect(work.names()).toEqual(["a"]);
    });
});

describe("what the engine doesn't do, it refuses by name", () => {
    it.each([
        [
            "a package without a provider",
            `new pulumi.CustomResource("nosuch:index:Bucket", "a", {});`,
            /no provider for package "nosuch"/,
        ],
        ["import", `thing("a", {}, { import: "id" });`, /does not support import/],
        ["assets", `thing("a", { file: new pulumi.asset.StringAsset("x") });`, /does not support an asset/],
        ["archives", `thing("a", { files: [new pulumi.asset.AssetArchive({})] });`, /does not support an archive/],
        ["transforms", `pulumi.runtime.registerResourceTransform(() => undefined); thing("a");`, /transform/i],
        ["deletedWith", `const a = thing("a"); thing("b", {}, { deletedWith: a });`, /DeletedWith/i],
        ["hooks", `thing("a", {}, { hooks: { beforeCreate: [new pulumi.ResourceHook("h", () => {})] } });`, /hooks/i],
        [
            "remote components",
            `new pulumi.ComponentResource("test:index:Remote", "a", {}, {}, true);`,
            /a remote component/,
        ],
    ])("%s", async (_what, program, message) => {
        const result = await work.up(program);
        expect(result.result).toBe("failed");
        expect(result.errors.map((error) => error.message).join("\n")).toMatch(message);
    });

    it("other runtimes", async () => {
        writeFileSync(join(work.directory, "Pulumi.yaml"), "name: proj\nruntime: python\n");
        expect((await work.run("up")).errors[0]?.message).toMatch(/runtime "python" is not supported/);
    });

    it("names that would leave the state's folder", async () => {
        work.write("");
        const result = await work.run("up", { stack: "../dev" });
        expect(result.errors[0]?.message).toMatch(/"..\/dev" is no name for a project or stack/);
    });

    it("states of another version or secrets provider", async () => {
        mkdirSync(join(work.stateDir, "stacks/proj"), { recursive: true });
        writeFileSync(work.stateFile, '{"version":4,"deployment":{}}');
        expect((await work.up("")).errors[0]?.message).toMatch(/version 4 is not supported/);
        writeFileSync(work.stateFile, '{"version":3,"deployment":{"secrets_providers":{"type":"service","state":{}}}}');
        expect((await work.up("")).errors[0]?.message).toMatch(/secrets provider "service" is not supported/);
    });
});
