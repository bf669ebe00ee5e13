/** The checkpoint while an operation runs, secrets in it, and the lock on it. */
import { spawnSync } from "node:child_process";
import { chmodSync, mkdirSync, readFileSync, statSync, writeFileSync } from "node:fs";
import { dirname, join } from "node:path";
import fc from "fast-check";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { readOutputs, runEngine } from "../../dist/engine/index";
import { lock } from "../../dist/engine/lock";
import { Crypter } from "../../dist/engine/secrets";
import { needs, type ResourceState } from "../../dist/engine/state";
import { equal, keepOld, markSecrets, reveal, secret, splitPath } from "../../dist/engine/values";
import { until, Workspace } from "./support";

let work: Workspace;
const given = process.env.PULUMI_CONFIG_PASSPHRASE;
beforeEach(() => {
    work = new Workspace();
    process.env.PULUMI_CONFIG_PASSPHRASE = "correct horse";
});
afterEach(() => {
    work.remove();
    delete process.env.PULUMI_CONFIG_PASSPHRASE;
    delete process.env.PULUMI_CONFIG_PASSPHRASE_FILE;
    if (given !== undefined) process.env.PULUMI_CONFIG_PASSPHRASE = given;
});

const short = (urn: string) => urn.split("::").pop() ?? "";

describe("the file", () => {
    it("names an operation before it begins, has every finished one, and is usable at every moment", async () => {
        const seen: string[] = [];
        const made = new Set<string>();
        work.provider.during = (method, name) => {
            const { deployment } = work.state();
            const pending = (deployment.pending_operations ?? []).map(
                ({ type, resource }) => `${type} ${short(resource.urn)}`,
            );
            seen.push(`${method} ${name}: ${pending.includes(`${method.replace(/e$/, "")}ing ${name}`)}`);
            const resources: ResourceState[] = deployment.resources ?? [];
            const there = new Set(resources.map(({ urn }) => urn));
            for (const resource of resources) for (const urn of needs(resource)) expect(there).toContain(urn);
            if (method === "create" && made.size > 0 && name === "c")
                expect(resources.map(({ urn }) => short(urn))).toContain("b");
            made.add(name);
        };
        const program = (kind: string) =>
            `const a = thing("a", { kind: "${kind}" }); const b = thing("b", { from: a.out }); thing("c", { from: b.out });`;
        await work.up(program("x"));
        await work.up(program("y"));
        await work.run("destroy");
        expect(seen).toEqual([
            "create a: true",
            "create b: true",
            "create c: true",
            "create a: true",
            "update b: true",
            "delete a: true",
            "delete c: true",
            "delete b: true",
            "delete a: true",
        ]);
        expect(work.state().deployment).not.toHaveProperty("pending_operations");
        expect(statSync(work.stateFile).mode & 0o777).toBe(0o600);
    });

    it("says what was cut off", async () => {
        await work.up(`thing("a");`);
        const state = work.state();
        const resource = state.deployment.resources?.find(({ urn }) => urn.endsWith("::a")) as ResourceState;
        state.deployment.pending_operations = [{ resource, type: "updating" }];
        writeFileSync(work.stateFile, JSON.stringify(state));
        expect((await work.run("up")).result).toBe("succeeded");
        expect(work.lines.join("\n")).toMatch(/Thing a: warning: the last run was cut off while updating it/);
        expect(work.state().deployment).not.toHaveProperty("pending_operations");
    });

    it("fails the run when it can't be written, even where the folder can be read", async () => {
        await work.up(`thing("a");`);
        mkdirSync(`${work.stateFile}.tmp`);
        const result = await work.up(`thing("a"); thing("b");`);
        expect(result.result).toBe("failed");
        expect(result.errors.map(({ message }) => message).join()).toMatch(/EISDIR/);
        expect(work.provider.done("begin")).toEqual(["create a"]);
    });
});

describe("secrets", () => {
    const program = `const p = pulumi.secret("canary-1");
        const a = thing("a", { password: p, deep: { list: ["x", p] }, plain: "canary-2" }, { additionalSecretOutputs: ["out", "plain"] });
        exports.password = a.password; exports.out = a.out; exports.plain = "visible";`;

    it("are never in the clear in the file, and come back", async () => {
        const result = await work.up(program);
        expect(result.outputs).toEqual({ password: "[secret]", out: "[secret]", plain: "visible" });
        const text = readFileSync(work.stateFile, "utf8");
        expect(text).not.toContain("canary-1");
        expect(text).not.toContain("out-1");
        expect(work.lines.join("\n")).not.toContain("canary-1");
        const stack = { cwd: work.directory, stack: "dev", stateDir: work.stateDir };
        expect(await readOutputs({ ...stack, showSecrets: true })).toEqual({
            password: "canary-1",
            out: "out-1",
            plain: "visible",
        });
        expect(await readOutputs(stack)).toEqual(result.outputs);
        const revealed = JSON.stringify(await work.revealed());
        expect(revealed).toContain('"plaintext":"\\"canary-1\\""');
        expect((await work.run("up")).changes).toMatchObject({ same: 2, update: 0 });
    });

    it("need the right passphrase, from the environment or a file", async () => {
        await work.up(program);
        process.env.PULUMI_CONFIG_PASSPHRASE = "wrong";
        expect((await work.run("up")).errors[0]?.message).toMatch(/incorrect passphrase/);
        delete process.env.PULUMI_CONFIG_PASSPHRASE;
        expect((await work.run("up")).errors[0]?.message).toMatch(
            /set PULUMI_CONFIG_PASSPHRASE or PULUMI_CONFIG_PASSPHRASE_FILE/,
        );
        process.env.PULUMI_CONFIG_PASSPHRASE_FILE = join(work.directory, "passphrase");
        writeFileSync(process.env.PULUMI_CONFIG_PASSPHRASE_FILE, "correct horse\n");
        expect((await work.run("up")).result).toBe("succeeded");
    });

    it("of the configuration reach the program as secrets", async () => {
        const crypter = await Crypter.open("correct horse");
        const secure = crypter.encrypt("canary-3");
        writeFileSync(
            join(work.directory, "Pulumi.dev.yaml"),
            `encryptionsalt: ${crypter.salt}\nconfig:\n  proj:token: {secure: "${secure}"}\n  proj:version: 1.10\n  proj:deep: {n: 1, s: {secure: "${secure}"}}\n  other:name: 007\n`,
        );
        const result = await work.up(
            `const c = new pulumi.Config(); exports.token = c.get("token"); exports.isSecret = pulumi.isSecret(c.requireSecret("token"));
            exports.secretly = c.requireSecret("token"); exports.version = c.require("version"); exports.deep = c.requireObject("deep").s.length;
            exports.name = new pulumi.Config("other").require("name"); exports.extra = c.require("extra");`.replace(
                'exports.token = c.get("token");',
                "",
            ),
            { config: { extra: "e" } },
        );
        expect(result.errors).toEqual([]);
        expect(result.outputs).toEqual({
            isSecret: true,
            secretly: "[secret]",
            version: "1.10",
            deep: 8,
            name: "007",
            extra: "e",
        });
    });

    it("survive encryption, whatever they are", async () => {
        const crypter = await Crypter.open("p");
        const again = await Crypter.open("p", crypter.salt);
        fc.assert(fc.property(fc.string({ unit: "binary" }), (text) => again.decrypt(crypter.encrypt(text)) === text));
        await expect(Crypter.open("q", crypter.salt)).rejects.toThrow("incorrect passphrase");
    });
});

describe("values", () => {
    const value = fc.letrec((tie) => ({
        any: fc.oneof(
            { maxDepth: 3 },
            fc.string(),
            fc.boolean(),
            fc.integer(),
            fc.constant(null),
            tie("list"),
            tie("map"),
        ),
        list: fc.array(tie("any"), { maxLength: 3 }),
        map: fc.dictionary(fc.stringMatching(/^[a-z]$/), tie("any"), { maxKeys: 3 }),
    }));
    const map = value.map as fc.Arbitrary<Record<string, never>>;

    it("marking secrets changes no value", () => {
        fc.assert(
            fc.property(map, map, (values, like) => {
                const marked = markSecrets(
                    values,
                    Object.fromEntries(Object.entries(like).map(([key, item]) => [key, secret(item)])),
                );
                expect(reveal(marked)).toEqual(values);
                expect(equal(marked, values)).toBe(true);
            }),
        );
    });

    it("keeping the old at a path makes it equal there, and keeping it again changes nothing", () => {
        fc.assert(
            fc.property(map, map, fc.stringMatching(/^[a-c]$/), (news, olds, path) => {
                const kept = keepOld(news, olds, [path]);
                expect(kept[path]).toEqual(olds[path]);
                expect(keepOld(kept, olds, [path])).toEqual(kept);
            }),
        );
    });

    it("paths", () => {
        expect(splitPath('a.b[0]["c.d"].e[*]')).toEqual(["a", "b", "0", "c.d", "e", "*"]);
    });
});

describe("the lock", () => {
    it("refuses a second run, naming the process, and lets the first one end", async () => {
        let release: () => void = () => undefined;
        const held = new Promise<void>((resolve) => {
            release = resolve;
        });
        work.provider.during = () => held;
        const first = work.up(`thing("a");`);
        await until(() => work.provider.events.length > 0, "the first run creates");
        const second = await runEngine({
            command: "destroy",
            cwd: work.directory,
            stack: "dev",
            stateDir: work.stateDir,
        });
        expect(second.errors[0]?.message).toContain(`the stack is being changed by process ${process.pid}`);
        release();
        expect((await first).result).toBe("succeeded");
        expect((await work.run("destroy")).result).toBe("succeeded");
    });

    it("of a dead process is taken over, also where its number was given to another", () => {
        const file = join(work.directory, "state/x.lock");
        mkdirSync(dirname(file), { recursive: true });
        const dead = spawnSync("true").pid;
        for (const holder of [
            { pid: dead, started: "1" },
            { pid: process.pid, started: "1" },
        ]) {
            writeFileSync(file, JSON.stringify(holder));
            const unlock = lock(file);
            expect(() => lock(file)).toThrow(`process ${process.pid}`);
            unlock();
        }
        lock(file)();
    });

    it("is not given up to a holder that can't be read", () => {
        const file = join(work.directory, "y.lock");
        writeFileSync(file, "{");
        expect(() => lock(file)).toThrow();
        chmodSync(file, 0o600);
    });
});
