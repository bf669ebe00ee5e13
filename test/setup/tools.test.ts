import { execFileSync, spawn } from "node:child_process";
import { chmodSync, mkdirSync, mkdtempSync, readdirSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, expect, test } from "vitest";
import { inspectTools, installTools, type Toolbox } from "../../tools/setup/tools.mjs";

const CHILD = join(__dirname, "../support/setup-child.mjs");
let folder: string;
let cache: string;
let modules: string;

beforeEach(() => {
    folder = mkdtempSync(join(tmpdir(), "buildfleet-setup-"));
    cache = join(folder, "cache");
    modules = join(folder, "modules");
    mkdirSync(join(modules, "fake"), { recursive: true });
    pin("v1.2.3");
});
afterEach(() => rmSync(folder, { recursive: true, force: true }));

function pin(version: string) {
    writeFileSync(join(modules, "fake/go.mod"), `module m\n\nrequire example.com/fake ${version}\n`);
    writeFileSync(join(modules, "fake/go.sum"), `example.com/fake ${version} h1:x\n`);
}

/** A set-up process whose lines are handed over as they come. */
function startSetup(...args: string[]) {
    const child = spawn(process.execPath, [CHILD, cache, modules, ...args], { stdio: ["ignore", "pipe", "pipe"] });
    let output = "";
    const waiting: (() => void)[] = [];
    const add = (text: string) => {
        output += text;
        for (const check of waiting) check();
    };
    child.stdout.setEncoding("utf8").on("data", add);
    child.stderr.setEncoding("utf8").on("data", add);
    const ended = new Promise<void>((resolve) => child.once("close", () => resolve()));
    const said = (text: string) =>
        new Promise<void>((resolve, reject) => {
            const check = () => output.includes(text) && resolve();
            waiting.push(check);
            check();
            void ended.then(() => reject(new Error(`ended without "${text}":\n${output}`)));
        });
    return { child, ended, said, output: () => output };
}

const setup = () => execFileSync(process.execPath, [CHILD, cache, modules], { encoding: "utf8" });

test("tools are made once, and again when their pin changes", () => {
    expect(setup()).toBe("compile first\ncompile second\ndone cached cached\n");
    expect(setup()).toBe("done cached cached\n");
    pin("v1.2.4");
    expect(setup()).toBe("compile first\ncompile second\ndone cached cached\n");
    expect(execFileSync(join(cache, "bin/second"), { encoding: "utf8" })).toBe("second 1.0.0\n");
});

test("a binary without its stamp does not count", () => {
    setup();
    rmSync(join(cache, "stamps/first.json"));
    expect(setup()).toBe("compile first\ndone cached cached\n");
    rmSync(join(cache, "bin/second"));
    expect(setup()).toBe("compile second\ndone cached cached\n");
});

test("a set-up that was killed goes on where it was, and leaves nothing half made", async () => {
    const killed = startSetup("hang");
    await killed.said("hanging");
    killed.child.kill("SIGKILL");
    await killed.ended;
    expect(readdirSync(join(cache, "bin"))).toEqual(["first"]);

    expect(setup()).toBe("compile second\ndone cached cached\n");
    expect(readdirSync(cache).sort()).toEqual(["bin", "setup.lock", "stamps"]);
});

test("a second set-up waits for the first, also when that one dies", async () => {
    const first = startSetup("hang");
    await first.said("hanging");
    const second = startSetup();
    await second.said("waiting for it");
    expect(second.output()).not.toContain("compile");
    first.child.kill("SIGKILL");
    await second.said("done cached cached");
    expect(second.output()).toContain("compile second");
});

test("a tool of the user's is asked for its version once", async () => {
    const own = join(folder, "own");
    mkdirSync(own);
    writeFileSync(join(own, "fake"), `#!/bin/sh\necho asked >> ${join(folder, "asked")}\necho fake v2.0.0\n`);
    chmodSync(join(own, "fake"), 0o755);
    const tool = {
        name: "fake",
        minimum: "1.5.0",
        why: "",
        versionArgs: ["--version"],
        module: "fake",
        goModule: "example.com/fake",
        goPackage: "example.com/fake",
    };
    const compiled: string[] = [];
    const toolbox: Toolbox = {
        tools: [tool],
        modules,
        cache,
        folders: [own],
        compile: async (_toolbox, { name }, output) => {
            compiled.push(name);
            writeFileSync(output, "#!/bin/sh\n");
            chmodSync(output, 0o755);
        },
    };
    for (let i = 0; i < 3; i++) {
        const [state] = await inspectTools(toolbox);
        expect(state).toMatchObject({ action: "path", path: join(own, "fake"), shadowed: false });
    }
    expect(execFileSync("cat", [join(folder, "asked")], { encoding: "utf8" })).toBe("asked\n");

    const stricter = { ...toolbox, tools: [{ ...tool, minimum: "2.1.0" }] };
    await installTools(stricter, await inspectTools(stricter));
    expect(compiled).toEqual(["fake"]);
    expect((await inspectTools(stricter))[0]).toMatchObject({ action: "cached", shadowed: true });
});
