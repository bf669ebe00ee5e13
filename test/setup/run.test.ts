import { spawn, spawnSync } from "node:child_process";
import { mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, statSync, writeFileSync } from "node:fs";
import { hostname, tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, describe, expect, test } from "vitest";
import { isHeldByTheDead, readEvents } from "../../tools/run/pulumi.mjs";
import { toJson, toText } from "../../tools/run/report.mjs";
import { operate, programOf, removeLeftovers, stateFolder } from "../../tools/run/stack.mjs";
import { standIn } from "../support/stand-in";

let folder: string;

beforeEach(() => {
    folder = mkdtempSync(join(tmpdir(), "buildfleet-run-"));
});
afterEach(() => rmSync(folder, { recursive: true, force: true }));

const changes = { create: 0, update: 0, delete: 0, replace: 0, same: 32 };
const outputs = {
    ref: "127.0.0.1:5000/hello@sha256:1",
    tags: ["1.0.0", "1"],
    platforms: {
        "linux/arm64": {
            digest: `sha256:${"a".repeat(64)}`,
            node: "arm64",
            emulated: true,
            size: 11_248_630,
            durationMs: 2773,
        },
    },
    vulnerabilities: { "linux/arm64": { counts: { high: 0, low: 1 }, advisories: 3 } },
};
const report = { engine: "embedded", exitCode: 0, changes, outputs, errors: [], durationMs: 1234 };

describe("what is shown", () => {
    test("a table of the platforms, the outputs, and that nothing has changed", () => {
        expect(toText(report, "up").split("\n")).toEqual([
            "PLATFORM     NODE   EMULATED  DIGEST               SIZE     DURATION  FINDINGS",
            "linux/arm64  arm64  yes       sha256:aaaaaaaaaaaa  11.2 MB  2.8 s     1 low (3 advisories)",
            "",
            "ref: 127.0.0.1:5000/hello@sha256:1",
            "tags: 1.0.0, 1",
            "",
            "Nothing has changed: nothing was built, nothing was signed (32 resources).",
            "1.2 s, embedded engine",
        ]);
        const moved = { ...report, changes: { ...changes, create: 2, replace: 1 } };
        expect(toText(moved, "up")).toContain("Resources: 2 created, 1 replaced, 32 unchanged.");
        expect(toText(moved, "preview")).toContain("Resources: 2 to create, 1 to replace, 32 unchanged.");
    });

    test("what a preview does not know yet, in one line", () => {
        const unknown = { ref: "[unknown]", platforms: "[unknown]", capacities: { arm64: "spot" } };
        expect(
            toText({ ...report, outputs: unknown }, "preview")
                .split("\n")
                .slice(0, 2),
        ).toEqual(['capacities: {"arm64":"spot"}', "known after the next up: ref, platforms"]);
    });

    test("one JSON document, with the errors where it failed", () => {
        expect(JSON.parse(toJson(report))).toEqual({ engine: "embedded", changes, outputs, durationMs: 1234 });
        const errors = [{ urn: "u", message: "m" }];
        expect(JSON.parse(toJson({ ...report, exitCode: 1, errors })).errors).toEqual(errors);
    });
});

test("the Pulumi CLI's events give the counts and the errors", () => {
    const log = [
        { diagnosticEvent: { severity: "info", message: "fine" } },
        { diagnosticEvent: { severity: "error", urn: "urn:x", message: "<{%fg 1%}>error: no<{%reset%}>\n" } },
        {
            summaryEvent: {
                durationSeconds: 3,
                resourceChanges: { create: 2, same: 5, replace: 1, "create-replacement": 1 },
            },
        },
    ];
    expect(readEvents(log.map((event) => JSON.stringify(event)).join("\n"))).toEqual({
        changes: { create: 2, update: 0, delete: 0, replace: 1, same: 5 },
        errors: [{ urn: "urn:x", message: "error: no" }],
    });
    expect(readEvents("")).toEqual({ errors: [] });
});

describe("with a Pulumi CLI on PATH", () => {
    let undo: () => void;
    const environment = { ...process.env };
    beforeEach(() => {
        for (const name of Object.keys(process.env)) if (name.startsWith("PULUMI_")) delete process.env[name];
        process.env.PULUMI_HOME = join(folder, "pulumi-home");
        process.env.BUILDFLEET_BASE = "public";
        const bin = join(folder, "bin");
        mkdirSync(bin);
        undo = standIn(
            bin,
            "pulumi",
            `echo "$@" >> ${folder}/calls
case "$1" in
stack) [ "$2" = output ] && echo '{"ref":"r"}' || env > ${folder}/env; exit 0;;
esac
while [ $# -gt 0 ]; do [ "$1" = --event-log ] && log=$2; shift; done
echo '{"summaryEvent":{"resourceChanges":{"create":3}}}' > "$log"
exit \${FAIL:-0}`,
        );
    });
    afterEach(() => {
        undo();
        process.env = environment;
    });
    const up = () => operate("up", { project: folder, stack: "local", config: ["a:b=c"], toolFolder: undefined });
    const seen = (name: string) =>
        new RegExp(`^${name}=(.*)$`, "m").exec(readFileSync(join(folder, "env"), "utf8"))?.[1];

    test("the state is kept in the project, with a passphrase that only its owner reads", async () => {
        expect(await up()).toMatchObject({
            engine: "pulumi",
            exitCode: 0,
            changes: { create: 3, same: 0 },
            outputs: { ref: "r" },
            errors: [],
        });
        const [select, run, output] = readFileSync(join(folder, "calls"), "utf8").trim().split("\n");
        expect(select).toBe("stack select --create local --non-interactive");
        expect(run).toMatch(/^up --stack local --non-interactive --event-log \S+ --yes --skip-preview --config a:b=c$/);
        expect(output).toBe("stack output --json --stack local");
        const state = join(folder, ".buildfleet");
        expect(seen("PULUMI_BACKEND_URL")).toBe(`file://${state}/pulumi`);
        const passphrase = join(state, "passphrase");
        expect(seen("PULUMI_CONFIG_PASSPHRASE_FILE")).toBe(passphrase);
        expect(statSync(passphrase).mode & 0o777).toBe(0o600);
        const kept = readFileSync(passphrase, "utf8");
        await up();
        expect(readFileSync(passphrase, "utf8")).toBe(kept);
    });

    test("a backend and a passphrase that the user chose are theirs", async () => {
        process.env.PULUMI_BACKEND_URL = "s3://states";
        await up();
        expect(seen("PULUMI_BACKEND_URL")).toBe("s3://states");
        expect(seen("PULUMI_CONFIG_PASSPHRASE_FILE")).toBeUndefined();
        expect(readdirSync(join(folder, ".buildfleet"))).toEqual(["base.json"]);
    });

    test("its exit code is ours", async () => {
        process.env.FAIL = "7";
        expect((await up()).exitCode).toBe(7);
    });
});

test("a destroy leaves the registry's bytes only, and a purge nothing", () => {
    const state = join(folder, ".buildfleet");
    for (const name of ["registry", "pulumi", "fleet"]) mkdirSync(join(state, name), { recursive: true });
    writeFileSync(join(state, "passphrase"), "x");
    writeFileSync(join(folder, "Pulumi.local.yaml"), "encryptionsalt: v1:x\n");
    removeLeftovers(folder, "local", false);
    expect(readdirSync(folder)).toEqual([".buildfleet"]);
    expect(readdirSync(state)).toEqual(["registry"]);
    removeLeftovers(folder, "local", true);
    expect(readdirSync(folder)).toEqual([]);
});

describe("a stack of another program", () => {
    test("is told by its settings, by an option, or by its name", () => {
        writeFileSync(join(folder, "Pulumi.prod.yaml"), "config:\n  aws:region: x\n  buildfleet:program: aws\n");
        expect(programOf(folder, "prod", [])).toBe("aws");
        expect(programOf(folder, "prod", ["buildfleet:program=local"])).toBe("local");
        expect(programOf(folder, "local", ["a:b=c"])).toBe("local");
        writeFileSync(join(folder, "Pulumi.local.yaml"), "config:\n  buildfleet:settings: {}\n");
        expect(programOf(folder, "local", [])).toBe("local");
    });

    test("keeps its state when the local stack is destroyed, and the other way round", () => {
        const [local, cloud] = [stateFolder(folder, "local", "local"), stateFolder(folder, "org/prod", "aws")];
        const states = () => readdirSync(folder).sort();
        for (const state of [local, cloud]) mkdirSync(join(state, "state"), { recursive: true });
        removeLeftovers(folder, "local", true);
        expect(states()).toEqual([".buildfleet-org-prod"]);
        mkdirSync(join(local, "state"), { recursive: true });
        removeLeftovers(folder, "org/prod", false, cloud);
        expect(states()).toEqual([".buildfleet"]);
    });
});

test("a stack's own settings survive a destroy", () => {
    mkdirSync(join(folder, ".buildfleet/pulumi"), { recursive: true });
    writeFileSync(join(folder, "Pulumi.local.yaml"), "encryptionsalt: v1:x\nconfig:\n  a:b: c\n");
    removeLeftovers(folder, "local", false);
    expect(readdirSync(folder)).toEqual(["Pulumi.local.yaml"]);
});

test("an interruption reaches the engine once, and its exit code is ours", async () => {
    const script = `
        import { runChild } from ${JSON.stringify(join(__dirname, "../../tools/run/child.mjs"))};
        const program = 'trap "echo interrupted; exit 42" INT; echo ready; while :; do sleep 0.05; done';
        const { exitCode } = await runChild("sh", ["-c", program], { cwd: ".", env: process.env, stdout: "inherit" });
        process.exitCode = exitCode;`;
    const child = spawn(process.execPath, ["--input-type=module", "--eval", script], { detached: true });
    let output = "";
    const exitCode = await new Promise((resolve) => {
        child.stdout.setEncoding("utf8").on("data", (text) => {
            output += text;
            // As a terminal does it: to the whole group.
            if (output === "ready\n" && child.pid) process.kill(-child.pid, "SIGINT");
        });
        child.once("close", resolve);
    });
    expect({ output, exitCode }).toEqual({ output: "ready\ninterrupted\n", exitCode: 42 });
});

test("what it does not know is refused before anything is set up", () => {
    const run = (...args: string[]) =>
        spawnSync(process.execPath, [join(__dirname, "../../tools/run.mjs"), ...args], { encoding: "utf8" });
    for (const args of [["up", "--purge"], ["up", "--jsn"], ["upp"], []]) {
        const { status, stderr, stdout } = run(...args);
        expect(status, args.join(" ")).toBe(1);
        expect(stderr).toContain("usage:");
        expect(stdout).toBe("");
    }
});

test("what needs the Pulumi CLI says so before anything is set up", () => {
    const run = join(__dirname, "../../tools/run.mjs");
    for (const command of ["up", "refresh", "destroy"]) {
        const options = { encoding: "utf8", env: { ...process.env, PATH: folder } } as const;
        const { status, stderr } = spawnSync(process.execPath, [run, command, "--stack", "aws"], options);
        expect(status, command).toBe(1);
        expect(stderr).toMatch(
            /the stack aws needs the Pulumi CLI, which is not on PATH; install it .* a preview works/,
        );
    }
});

describe("the lock of a run that was killed", () => {
    test("is told from one that is held, from another machine's, and from another stack's", () => {
        const backend = mkdtempSync(join(tmpdir(), "buildfleet-backend-"));
        const folder = join(backend, ".pulumi/locks/organization/buildfleet/local");
        const lock = (name: string, pid: number, host = hostname()) =>
            writeFileSync(join(folder, `${name}.json`), JSON.stringify({ pid, username: "u", hostname: host }));
        try {
            expect(isHeldByTheDead(backend, "local")).toBe(false);
            mkdirSync(folder, { recursive: true });
            expect(isHeldByTheDead(backend, "local")).toBe(false);
            lock("killed", 2 ** 22 + 1);
            expect(isHeldByTheDead(backend, "local")).toBe(true);
            expect(isHeldByTheDead(backend, "other")).toBe(false);
            lock("alive", process.pid);
            expect(isHeldByTheDead(backend, "local")).toBe(false);
            lock("alive", 2 ** 22 + 1, "another-machine");
            expect(isHeldByTheDead(backend, "local")).toBe(false);
        } finally {
            rmSync(backend, { recursive: true, force: true });
        }
    });
});
