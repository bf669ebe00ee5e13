import { existsSync, readdirSync, readFileSync } from "node:fs";
import { join, relative, resolve } from "node:path";
import { afterAll, describe, expect, it } from "vitest";
import { orphans } from "../support/kills";
import { type Run, TestStack } from "../support/stack";

const entry = resolve(__dirname, "../../stack.js");

/** Everything in the stack's folder, but for what its links lead to. */
const files = (stack: TestStack) =>
    readdirSync(stack.folder, { recursive: true, withFileTypes: true }).map(({ parentPath, name }) =>
        relative(stack.folder, join(parentPath, name)),
    );

/** Nothing was started and nothing made but the stack's own state, which holds the stack and no other resource. */
async function expectNothingDone(stack: TestStack, before: string[], run: Run): Promise<void> {
    expect(run.exitCode).toBe(1);
    expect(run.result).toBe("failed");
    const made = files(stack).filter((path) => !before.includes(path) && !path.startsWith("state"));
    expect(made).toEqual([]);
    const state = stack.path("state/stacks/e2e/test.json");
    const resources = existsSync(state) ? (JSON.parse(readFileSync(state, "utf8")).deployment.resources ?? []) : [];
    expect(resources.filter(({ type }: { type: string }) => type !== "pulumi:pulumi:Stack")).toEqual([]);
    expect(await orphans(stack.folder)).toEqual([]);
}

/**
 * Settings of the `local` stack, and a piece of the message for each thing that is wrong with them. A run of the whole tells all its
 * problems at once, so each has several; every kind by itself is `test/core/settings.test.ts`.
 */
const cases: [string, unknown, string[]][] = [
    [
        "names, numbers and platforms",
        {
            regsitry: {},
            registry: { port: 70_000 },
            image: { platforms: ["linux/arm64/v9", "linx/amd64"], version: "v1.4", repository: "Team/App" },
            nodes: { "linux/amd64": 0 },
        },
        [
            ...["regsitry", "registry.port", 'nodes["linux/amd64"]'],
            ...[
                "image.platforms[0]",
                'did you mean "linux/arm64"',
                "image.platforms[1]",
                'did you mean "linux/amd64"?',
            ],
            ...["image.version", 'did you mean "1.4.0"?', "image.repository", 'did you mean "team/app"?'],
        ],
    ],
    [
        "what is twice, too much or no choice",
        {
            registry: { port: "5000" },
            image: { platforms: ["linux/arm64", "linux/aarch64"], tags: ["a tag"], context: "" },
            nodes: { "linux/riscv64": 2 },
            emulation: "maybe",
            maxParallelism: 0.5,
        },
        [
            ...["registry.port", "image.platforms[1]: the same as item 0", "image.tags[0]", "image.context"],
            ...[
                'nodes["linux/riscv64"]: no image is built for this platform',
                "emulation",
                '"maybe"',
                "maxParallelism",
            ],
        ],
    ],
    [
        "a decision that is over, one without a reason, and a severity that is none",
        {
            scan: {
                failOn: "severe",
                ignore: [
                    { id: "CVE-2026-0001", reason: "not reachable", until: "2026-01-31" },
                    { id: "CVE-2026-0002", until: "2099-01-31" },
                ],
            },
        },
        [
            ...["scan.failOn", '"severe"', "scan.ignore[1].reason"],
            "scan.ignore[0].until: 2026-01-31 has passed; renew the decision or remove the entry",
        ],
    ],
    ["settings that are no table", ["registry"], ["buildfleet:settings"]],
];

describe("bad settings of the local stack", () => {
    const stack = new TestStack(`module.exports = require(${JSON.stringify(entry)});`);
    const before = files(stack);
    afterAll(() => stack.dispose());

    it.each(cases)(
        "%s",
        async (_case, settings, problems) => {
            const config = [
                "--config",
                "buildfleet:program=local",
                "--config",
                `buildfleet:settings=${JSON.stringify(settings)}`,
            ];
            const run = await stack.run("up", {}, config);
            const [message = ""] = run.stderr.match(/buildfleet:settings: \d+ problems?[\s\S]*/) ?? [run.stderr];
            for (const problem of problems) expect(message).toContain(problem);
            await expectNothingDone(stack, before, run);
        },
        300_000,
    );

    it("name a program that there is", async () => {
        const run = await stack.run("up", {}, ["--config", "buildfleet:program=moon"]);
        expect(run.stderr).toContain('"moon" is not a program');
        await expectNothingDone(stack, before, run);
    }, 300_000);
});

describe("bad arguments of an image in somebody's own program", () => {
    const stack = new TestStack(`
const registry = new buildfleet.LocalRegistry("registry", { port: 1 });
new buildfleet.MultiPlatformImage("app", {
    fleet: { nodes: [] },
    repository: registry.repository("app"),
    context: pulumi.output("app"),
    platforms: ["linux/arm64/v9"],
    version: "1.4",
    tags: ["a tag"],
    test: { command: [] },
    scan: { failOn: "severe", ignore: [{ id: "CVE-2026-0001", reason: "", until: "2026-01-31" }] },
    sign: { key: "awskms:" },
    buildArgs: { TOKEN: "x" },
    secrets: { TOKEN: pulumi.secret("x") },
});`);
    const before = files(stack);
    afterAll(() => stack.dispose());

    it("are all told at once, before anything of the image is declared", async () => {
        const run = await stack.run("preview");
        expect(run.exitCode).toBe(1);
        expect(run.stderr).toContain('MultiPlatformImage "app": 9 problems');
        for (const path of [
            "platforms[0]",
            "version",
            "tags[0]",
            "test.command",
            "scan.failOn",
            "scan.ignore[0].reason",
            "scan.ignore[0].until",
            "sign.key",
            "buildArgs.TOKEN",
        ])
            expect(run.stderr).toContain(`${path}: `);
        expect(run.steps.filter(({ urn }) => urn.includes("MultiPlatformImage"))).toEqual([]);
        expect(files(stack).filter((path) => !before.includes(path))).toEqual([]);
    }, 300_000);
});
