/** Steps and their order: preview and update, replacement, deletion, protection, retention, dependencies, parents, aliases. */
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { until, Workspace } from "./support";

let work: Workspace;
beforeEach(() => {
    work = new Workspace();
});
afterEach(() => work.remove());

const counts = (changes: object) => ({ create: 0, update: 0, delete: 0, replace: 0, same: 0, ...changes });

describe("preview", () => {
    it("shows what up then does, with unknown outputs, and does nothing itself", async () => {
        await work.up(
            `thing("a", { size: 1 }); thing("gone"); const c = thing("c", { kind: "x" }); thing("d", { from: c.out });`,
        );
        work.write(`const a = thing("a", { size: 2 }); const c = thing("c", { kind: "y" });
            thing("d", { from: c.out }); const e = thing("e"); exports.size = a.size; exports.out = e.out; exports.c = c.out;`);
        work.provider.events.length = 0;
        const before = JSON.stringify(work.state());
        const preview = await work.run("preview");
        expect(work.provider.events).toEqual([]);
        expect(JSON.stringify(work.state())).toBe(before);
        expect(preview.outputs).toEqual({ size: 2, out: "[unknown]", c: "[unknown]" });
        const up = await work.run("up");
        expect(up.errors).toEqual([]);
        expect(up.changes).toEqual(counts({ create: 1, update: 2, delete: 1, replace: 1, same: 1 }));
        expect(preview.changes).toEqual(up.changes);
        const order = (steps: typeof up.steps) => steps.map(({ op, urn }) => `${op} ${urn}`).sort();
        expect(order(preview.steps)).toEqual(order(up.steps));
        expect(work.lines.join("\n")).toContain(" ~  test:index:Thing a updat");
    });
});

describe("replacement", () => {
    it("creates first, moves the dependents over, then deletes", async () => {
        await work.up(`const a = thing("a", { kind: "x" }); thing("b", { from: a.out });`);
        work.provider.events.length = 0;
        const result = await work.up(`const a = thing("a", { kind: "y" }); thing("b", { from: a.out });`);
        expect(result.changes).toEqual(counts({ replace: 1, update: 1, same: 1 }));
        expect(work.provider.done()).toEqual(["create a", "update b", "delete a"]);
        expect(work.names()).toEqual(["a", "b"]);
    });

    it("deletes first where asked, and before that what can't live without it", async () => {
        const program = (kind: string) => `const a = thing("a", { kind: "${kind}", first: true });
            const b = thing("b", { kind: a.out }); thing("c", { from: b.out }); thing("d", { from: "nothing" }, { dependsOn: a });`;
        await work.up(program("x"));
        work.provider.events.length = 0;
        const result = await work.up(program("y"));
        expect(result.errors).toEqual([]);
        expect(work.provider.done()).toEqual(["delete b", "delete a", "create a", "create b", "update c"]);
        expect(result.changes).toEqual(counts({ replace: 2, update: 1, same: 2 }));
        expect(work.provider.existing.size).toBe(4);
        expect(work.state().deployment.resources?.filter((resource) => resource.pendingReplacement)).toEqual([]);
    });

    it("goes on where a replacement was deleted and not created", async () => {
        await work.up(`const a = thing("a", { kind: "x", first: true }); thing("d", {}, { dependsOn: a });`);
        const failed = await work.up(
            `const a = thing("a", { kind: "y", first: true, fail: "create" }); thing("d", {}, { dependsOn: a });`,
        );
        expect(failed.result).toBe("failed");
        expect(work.names().sort()).toEqual(["a", "d"]);
        work.provider.events.length = 0;
        const result = await work.up(
            `const a = thing("a", { kind: "y", first: true }); thing("d", {}, { dependsOn: a });`,
        );
        expect(result.changes).toEqual(counts({ replace: 1, same: 2 }));
        expect(work.provider.done()).toEqual(["create a"]);
        const gone = await work.up("");
        expect(gone.changes).toEqual(counts({ delete: 2, same: 1 }));
        expect(work.provider.existing.size).toBe(0);
    });

    it("replaces on the changes the program names", async () => {
        await work.up(`thing("a", { size: 1, deep: { x: [1, 2] } }, { replaceOnChanges: ["deep.x[1]"] });`);
        const same = await work.up(
            `thing("a", { size: 2, deep: { x: [3, 2] } }, { replaceOnChanges: ["deep.x[1]"] });`,
        );
        expect(same.changes).toEqual(counts({ update: 1, same: 1 }));
        const replaced = await work.up(
            `thing("a", { size: 2, deep: { x: [3, 4] } }, { replaceOnChanges: ["deep.x[1]"] });`,
        );
        expect(replaced.changes).toEqual(counts({ replace: 1, same: 1 }));
    });
});

describe("deletion", () => {
    it("is in the reverse order of dependencies and parents, side by side where it may", async () => {
        await work.up(`const box = new Box("box"); const a = thing("a", {}, { parent: box }); const b = thing("b", { from: a.out });
            thing("c", {}, { dependsOn: b }); thing("e", {}, { parent: a }); thing("free");`);
        work.provider.events.length = 0;
        let open = 0;
        let most = 0;
        work.provider.during = async () => {
            open += 1;
            most = Math.max(most, open);
            await new Promise((resolve) => setImmediate(resolve));
            open -= 1;
        };
        const result = await work.run("destroy");
        expect(result.changes).toEqual(counts({ delete: 7 }));
        const place = (name: string, at: string) =>
            work.provider.events.findIndex((event) => event.name === name && event.at === at);
        for (const [first, second] of [
            ["c", "b"],
            ["b", "a"],
            ["e", "a"],
        ] as const) {
            expect(place(first, "end"), `${first} before ${second}`).toBeLessThan(place(second, "begin"));
        }
        expect(most).toBeGreaterThan(1);
        expect(work.state().deployment.resources).toBeUndefined();
    });

    it("keeps what a failed deletion depends on", async () => {
        await work.up(`const a = thing("a"); thing("b", { from: a.out, fail: "delete" }); thing("c");`);
        const result = await work.run("destroy");
        expect(result.result).toBe("failed");
        expect(result.errors.map(({ message }) => message)).toEqual(["b fails to delete"]);
        expect(work.names()).toEqual(["a", "b"]);
    });

    it("refuses protected resources, and then deletes nothing", async () => {
        await work.up(
            `thing("a", {}, { protect: true }); thing("b"); const box = new Box("box", { protect: true }); thing("in", {}, { parent: box });`,
        );
        for (const result of [await work.up(""), await work.run("destroy")]) {
            expect(result.result).toBe("failed");
            const messages = result.errors.map(({ message }) => message);
            expect(messages).toEqual(
                expect.arrayContaining([expect.stringMatching(/::a cannot be deleted because it is protected/)]),
            );
            expect(messages).toEqual(expect.arrayContaining([expect.stringMatching(/::in cannot be deleted/)]));
        }
        const replaced = await work.up(`thing("a", { kind: "y" }, { protect: true }); thing("b");`);
        expect(replaced.errors[0]?.message).toMatch(/unable to replace the resource: it is protected/);
        expect(work.provider.done().filter((step) => step.startsWith("delete"))).toEqual([]);
    });

    it("forgets what is retained", async () => {
        await work.up(
            `thing("a", {}, { retainOnDelete: true }); const box = new Box("box", { retainOnDelete: true }); thing("in", { kind: "x" }, { parent: box });`,
        );
        await work.up(
            `const box = new Box("box", { retainOnDelete: true }); thing("in", { kind: "y" }, { parent: box });`,
        );
        expect(work.names().sort()).toEqual(["box", "in"]);
        expect(work.provider.existing.size).toBe(3);
        expect(work.provider.done().filter((step) => step.startsWith("delete"))).toEqual([]);
    });
});

describe("options", () => {
    it("finds a renamed component's children by its alias", async () => {
        await work.up(
            `const box = new Box("box"); thing("box-in", {}, { parent: box }); thing("other", {}, { parent: box });`,
        );
        const program = `const box = new Box("crate", { aliases: [{ name: "box" }] }); thing("crate-in", {}, { parent: box }); thing("other", {}, { parent: box });`;
        const result = await work.up(program);
        expect(result.changes).toEqual(counts({ same: 4 }));
        expect(work.names()).toEqual(expect.arrayContaining(["crate", "crate-in", "other"]));
        expect((await work.up(program.replace(', { aliases: [{ name: "box" }] }', ""))).changes).toEqual(
            counts({ same: 4 }),
        );
    });

    it("ignores changes at the paths named", async () => {
        const options = `{ ignoreChanges: ["size", "tags.when", 'list[0]'] }`;
        await work.up(`thing("a", { size: 1, tags: { when: "then" }, list: [1, 2] }, ${options});`);
        const same = await work.up(`thing("a", { size: 2, tags: { when: "now" }, list: [3, 2] }, ${options});`);
        expect(same.changes).toEqual(counts({ same: 2 }));
        const changed = await work.up(
            `thing("a", { size: 2, tags: { when: "now", who: "me" }, list: [3, 3] }, ${options});`,
        );
        expect(changed.changes).toEqual(counts({ update: 1, same: 1 }));
        const { inputs } = work.state().deployment.resources?.find(({ urn }) => urn.endsWith("::a")) ?? {};
        expect(inputs).toEqual({ size: 1, tags: { when: "then", who: "me" }, list: [1, 3] });
    });

    it("runs at most as many operations at a time as told", async () => {
        let open = 0;
        let most = 0;
        work.provider.during = async () => {
            open += 1;
            most = Math.max(most, open);
            await until(() => most >= 2, "two operations side by side");
            open -= 1;
        };
        await work.up(`for (let i = 0; i < 12; i++) thing("t" + i);`, { parallel: 2 });
        expect(most).toBe(2);
        expect(work.names()).toHaveLength(12);
    });

    it("reads what the stack doesn't own, and calls functions", async () => {
        await work.up(`thing("a");`);
        const result = await work.up(`thing("a"); const r = new Thing("seen", {}, { id: "id-1" });
            exports.out = r.out; exports.answer = pulumi.runtime.invoke("test:index:ask", { question: 1 });`);
        expect(result.errors).toEqual([]);
        expect(result.outputs).toEqual({ out: "out-1", answer: { token: "test:index:ask", question: 1 } });
        work.provider.events.length = 0;
        await work.up("");
        expect(work.provider.done()).toEqual(["delete a"]);
    });
});

describe("refresh", () => {
    it("follows what is there, forgets what is gone", async () => {
        await work.up(
            `const a = thing("a"); const b = thing("b", { from: a.out }); thing("c", { from: b.out }, { parent: a });`,
        );
        work.provider.existing.delete("id-1");
        work.provider.existing.set("id-2", { from: "elsewhere", out: "moved" });
        const result = await work.run("refresh");
        expect(result.errors).toEqual([]);
        expect(result.changes).toEqual(counts({ delete: 1, same: 3 }));
        const resources = work.state().deployment.resources ?? [];
        expect(work.names()).toEqual(["b", "c"]);
        expect(resources.find(({ urn }) => urn.endsWith("::b"))).toMatchObject({
            outputs: { out: "moved" },
            dependencies: [],
        });
        expect(resources.find(({ urn }) => urn.endsWith("::c"))?.parent).toMatch(/pulumi:pulumi:Stack::proj-dev$/);
    });
});
