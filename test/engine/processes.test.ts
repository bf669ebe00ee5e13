/** The engine as a process: its command line, signals, sudden death, and providers in processes of their own. */
import { type ChildProcess, spawn } from "node:child_process";
import { chmodSync, existsSync, mkdirSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { REPO, until, Workspace } from "./support";

let work: Workspace;
const started: number[] = [];
beforeEach(() => {
    work = new Workspace();
});
afterEach(() => {
    for (const pid of started.splice(0)) if (alive(pid)) process.kill(pid, "SIGKILL");
    work.remove();
});

function alive(pid: number): boolean {
    try {
        process.kill(pid, 0);
        return !/^State:\s+Z/m.test(readFileSync(`/proc/${pid}/status`, "utf8"));
    } catch {
        return false;
    }
}

/** Dynamic resources that leave traces: their pids, a daemon, a child that doesn't end. */
const DYNAMIC = `const provider = {
    async create(inputs) {
        const fs = require("fs"), { spawn } = require("child_process");
        const note = (name, text) => fs.writeFileSync(inputs.folder + "/" + name, String(text));
        if (inputs.daemon) { const d = spawn("sleep", ["60"], { detached: true, stdio: "ignore" }); d.unref(); note("daemon", d.pid); }
        if (inputs.slow) {
            note("provider", process.pid); note("child", spawn("sleep", ["60"], { stdio: "ignore" }).pid); note("slow", "begun");
            while (!fs.existsSync(inputs.folder + "/go")) await new Promise((r) => setTimeout(r, 20));
        }
        return { id: "made-" + inputs.label, outs: inputs };
    },
    async update(id, olds, inputs) { return { outs: inputs }; },
};
class Dyn extends pulumi.dynamic.Resource { constructor(n, i, o) { super(provider, n, i, o); } }
require("fs").writeFileSync(__dirname + "/program", String(process.pid));
`;

interface Finished {
    code: number | null;
    stdout: string;
    stderr: string;
}

function cli(args: string[], env: NodeJS.ProcessEnv = {}): { process: ChildProcess; finished: Promise<Finished> } {
    const where = ["--cwd", work.directory, "--stack", "dev", "--state", work.stateDir];
    const child = spawn(process.execPath, [join(REPO, "dist/engine/cli.js"), ...args, ...where], {
        env: { ...process.env, ...env },
        stdio: ["ignore", "pipe", "pipe"],
    });
    const output = { stdout: "", stderr: "" };
    child.stdout.on("data", (data) => {
        output.stdout += data;
    });
    child.stderr.on("data", (data) => {
        output.stderr += data;
    });
    const finished = new Promise<Finished>((resolve) => child.on("close", (code) => resolve({ code, ...output })));
    return { process: child, finished };
}

const note = (name: string) => Number(readFileSync(join(work.directory, name), "utf8"));
const dynamicNames = () =>
    (work.state().deployment.resources ?? [])
        .filter(({ type }) => type.includes("dynamic"))
        .map(({ urn }) => urn.split("::").pop());

describe("the command line", () => {
    it("prints one JSON document on stdout, progress on stderr, and says by its code how it went", async () => {
        const password = { PULUMI_CONFIG_PASSPHRASE: "p" };
        work.write(`${DYNAMIC} const d = new Dyn("d", { label: new pulumi.Config().require("label") });
            exports.id = d.id; exports.secret = pulumi.secret("canary");`);
        const up = await cli(["up", "--json", "--config", "label=x=y"], password).finished;
        expect(up.code).toBe(0);
        const result = JSON.parse(up.stdout);
        expect(result).toMatchObject({
            result: "succeeded",
            changes: { create: 2 },
            errors: [],
            outputs: { id: "made-x=y", secret: "[secret]" },
        });
        expect(up.stderr).toMatch(/ \+ {2}pulumi-nodejs:dynamic:Resource d created \(\d+\.\d\ds\)/);
        expect(up.stderr).not.toContain("canary");
        expect(JSON.parse((await cli(["output", "--json", "--show-secrets"], password).finished).stdout)).toEqual({
            id: "made-x=y",
            secret: "canary",
        });
        const exported = JSON.parse((await cli(["export"]).finished).stdout);
        expect(exported.deployment.resources).toHaveLength(3);
        work.write("throw new Error('no luck')");
        const failed = await cli(["preview", "--json"], password).finished;
        expect(failed.code).toBe(1);
        expect(JSON.parse(failed.stdout).errors[0].message).toContain("no luck");
        expect((await cli(["destroy"], password).finished).code).toBe(0);
    });

    it.each([
        [["frobnicate"], /unknown command "frobnicate"/],
        [["up", "--parallel", "0"], /--parallel: "0" is not a number above 0/],
        [["up", "--config", "x"], /--config takes KEY=VALUE/],
        [["up", "--nope"], /--nope/],
    ])("%j is refused", async (args, message) => {
        const { code, stderr } = await cli(args).finished;
        expect(code).toBe(1);
        expect(stderr).toMatch(message);
    });
});

describe("the engine's end", () => {
    const program = `${DYNAMIC} const folder = __dirname; const a = new Dyn("a", { folder, label: "a", daemon: true });
        const b = new Dyn("b", { folder, label: "b", slow: true }, { dependsOn: a }); new Dyn("c", { folder, label: "c" }, { dependsOn: b });`;

    it("by SIGKILL takes its processes along, leaves daemons and a usable state; the next run goes on", async () => {
        work.write(program);
        const engine = cli(["up"]);
        await until(() => existsSync(join(work.directory, "slow")), "b is being created", 20_000);
        const [daemon, ...own] = ["daemon", "provider", "child", "program"].map(note) as [number, ...number[]];
        started.push(daemon, ...own);
        expect([daemon, ...own].every(alive)).toBe(true);
        engine.process.kill("SIGKILL");
        await engine.finished;
        await until(() => !own.some(alive), "program, provider and its child are gone");
        expect(alive(daemon)).toBe(true);
        expect(dynamicNames()).toEqual(["a"]);
        expect(work.state().deployment.pending_operations).toMatchObject([
            { type: "creating", resource: { inputs: { label: "b" } } },
        ]);
        writeFileSync(join(work.directory, "go"), "");
        const next = await cli(["up", "--json"]).finished;
        expect(next.code).toBe(0);
        expect(JSON.parse(next.stdout).changes).toMatchObject({ create: 2, same: 2 });
        expect(next.stderr).toContain("the last run was cut off while creating it");
        expect(dynamicNames()).toEqual(["a", "b", "c"]);
        expect(note("daemon")).toBe(daemon);
    });

    it("by SIGTERM waits for what is under way, begins nothing more, and records it", async () => {
        work.write(program);
        const engine = cli(["up", "--json"]);
        await until(() => existsSync(join(work.directory, "slow")), "b is being created", 20_000);
        const own = ["daemon", "provider", "child", "program"].map(note);
        started.push(...own);
        engine.process.kill("SIGTERM");
        await until(() => !alive(note("program")), "the program has ended");
        writeFileSync(join(work.directory, "go"), "");
        const { code, stdout, stderr } = await engine.finished;
        expect(code).toBe(1);
        expect(stderr).toContain("cancelling");
        expect(JSON.parse(stdout).errors).toEqual([{ urn: "", message: "cancelled" }]);
        expect(dynamicNames()).toEqual(["a", "b"]);
        expect(work.state().deployment).not.toHaveProperty("pending_operations");
        await until(() => !alive(note("provider")), "the provider has ended");
    });

    it("is not held up by a daemon that kept the program's output open", async () => {
        work.write(`const d = require("child_process").spawn("sleep", ["60"], { detached: true, stdio: "inherit" }); d.unref();
            require("fs").writeFileSync(__dirname + "/daemon", String(d.pid));`);
        const { code } = await cli(["up"]).finished;
        started.push(note("daemon"));
        expect(code).toBe(0);
        expect(alive(note("daemon"))).toBe(true);
    });
});

/** A plugin as others write them: on the SDK's own provider server. */
const PLUGIN = `#!${process.execPath}
const provider = require(${JSON.stringify(join(REPO, "node_modules/@pulumi/pulumi/provider"))});
class Fake {
    version = "1.2.3";
    async check(urn, olds, news) { return { inputs: { ...news, checked: true }, failures: news.bad ? [{ property: "bad", reason: "is bad" }] : [] }; }
    async diff(id, urn, olds, news) { return { changes: olds.size !== news.size }; }
    async create(urn, inputs) { if (inputs.fail) throw new Error("the plugin says no"); return { id: "p-1", outs: { ...inputs, made: "yes" } }; }
    async update(id, urn, olds, news) { return { outs: { ...news, made: "again" } }; }
    async read(id, urn, props) { return { id, props }; }
    async delete(id) { require("fs").writeFileSync(process.cwd() + "/deleted", id); }
    async invoke(token, inputs) { return { outputs: { token, twice: inputs.n * 2 } }; }
}
provider.main(new Fake(), process.argv.slice(2));
`;

it("keeps a dynamic resource that was made but isn't ready", async () => {
    work.write(`const provider = { create: async () => {
            throw Object.assign(new Error("no"), { id: "half", properties: { a: 1 }, reasons: ["still starting"] });
        } };
        new (class extends pulumi.dynamic.Resource {})(provider, "d", { a: 1 });`);
    const { code, stdout } = await cli(["up", "--json"]).finished;
    expect(code).toBe(1);
    expect(JSON.parse(stdout).errors[0].message).toBe("not ready: still starting");
    const made = work.state().deployment.resources?.find(({ urn }) => urn.endsWith("::d"));
    expect(made).toMatchObject({ id: "half", initErrors: ["still starting"], outputs: { a: 1 } });
});

describe("a provider plugin on PATH", () => {
    it("is used for its package", async () => {
        const bin = join(work.directory, "bin");
        mkdirSync(bin);
        writeFileSync(join(bin, "pulumi-resource-fake"), PLUGIN);
        chmodSync(join(bin, "pulumi-resource-fake"), 0o755);
        const env = { PATH: `${bin}:${process.env.PATH}` };
        const program = (
            inputs: string,
        ) => `const r = new pulumi.CustomResource("fake:index:Thing", "r", { made: undefined, ...${inputs} });
            exports.made = r.made; exports.twice = pulumi.runtime.invoke("fake:index:double", { n: 21 }).then((r) => r.twice);`;
        const up = async (inputs: string) => {
            work.write(program(inputs));
            return JSON.parse((await cli(["up", "--json"], env).finished).stdout);
        };
        expect(await up("{ size: 1 }")).toMatchObject({ result: "succeeded", outputs: { made: "yes", twice: 42 } });
        expect(await up("{ size: 2 }")).toMatchObject({ changes: { update: 1, same: 1 }, outputs: { made: "again" } });
        expect((await up("{ size: 2, bad: true }")).errors[0].message).toMatch(
            /resource 'r': property bad value {true} has a problem: is bad/,
        );
        expect((await cli(["destroy"], env).finished).code).toBe(0);
        expect(readFileSync(join(work.directory, "deleted"), "utf8")).toBe("p-1");
        expect((await up("{ fail: true }")).errors[0].message).toContain("the plugin says no");
        const without = JSON.parse((await cli(["up", "--json"]).finished).stdout);
        expect(without.errors[0].message).toMatch(
            /^nothing was done: no provider for package "fake": pulumi-resource-fake is not on PATH/,
        );
    });
});
