import { execFileSync, spawnSync } from "node:child_process";
import { cpSync, mkdirSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { dirname, join, resolve } from "node:path";
import { afterAll, beforeAll, describe, expect, it } from "vitest";

const CHECKOUT = resolve(__dirname, "../..");

/** A breach of each rule: who, by which line, and the rule that must refuse it. */
const BREACHES: [file: string, line: string, rule: string][] = [
    ["core/a.ts", 'import "../drivers/target";', "arrow-core"],
    ["core/b.ts", 'import type { T } from "../resources/target/index"; export type A = T;', "arrow-core"],
    ["drivers/a.ts", 'import "../resources/target/index";', "arrow-drivers"],
    ["drivers/b.ts", 'import "../engine/target";', "arrow-drivers"],
    ["resources/a/operations.ts", 'import "../../components/target";', "arrow-resources"],
    ["components/a.ts", 'import type { T } from "../drivers/target"; export type A = T;', "arrow-components"],
    ["components/b.ts", 'import "../stacks/target";', "arrow-components"],
    ["stacks/a.ts", 'import "../components/target";', "arrow-stacks"],
    ["stacks/b.ts", 'import "../engine/target";', "arrow-stacks"],
    ["engine/a.ts", 'import "../core/target";', "arrow-engine"],
    ["engine/b.ts", 'import type { T } from "../index"; export type A = T;', "arrow-engine"],
    [
        "index.ts",
        'import "./engine/target"; import "./components/cloud"; import "./components/f"; export type T = 1;',
        "arrow-index",
    ],
    ["aws.ts", 'import "./drivers/target"; import "./components/cloud"; export type T = 1;', "arrow-aws"],
    ["core/d.ts", 'import "../aws";', "arrow-core"],
    ["components/e.ts", 'import "../aws";', "arrow-components"],
    ["engine/c.ts", 'import "../aws";', "arrow-engine"],
    ["core/c.ts", 'import "./of-c";', "no-cycle"],
    ["components/c.ts", 'import "../resources/target/operations";', "program-declares-only"],
    ["resources/b/index.ts", 'import "../../drivers/target";', "program-declares-only"],
    ["resources/dynamic.ts", 'import "./operations";', "program-declares-only"],
    ["components/aws/a.ts", 'import "../../resources/target/operations";', "program-declares-only"],
    ["core/e.ts", 'import "left-pad";', "no-unresolvable"],
    ["core/f.ts", 'import "only-for-tests";', "no-development-dependency"],
    ["components/cloud.ts", 'import "@pulumi/aws";', "no-development-dependency"],
];

/** What must not be refused. */
const ALLOWED: [file: string, line: string][] = [
    ["resources/c/index.ts", 'import type { T } from "../../drivers/target"; export type A = T;'],
    ["resources/d/operations.ts", 'import "../../drivers/target"; import "../../core/target";'],
    ["components/d.ts", 'import "../resources/target/index"; import "../core/target";'],
    ["stacks/c.ts", 'import "../index"; import "../aws"; import "../core/target";'],
    [
        "components/aws/b.ts",
        'import "../target"; import "../../core/target"; import "../../resources/target/index"; import "peer";',
    ],
];

const TARGETS = [
    "core/target.ts",
    "drivers/target.ts",
    "resources/target/index.ts",
    "resources/target/operations.ts",
    "resources/operations.ts",
    "components/target.ts",
    "stacks/target.ts",
    "engine/target.ts",
];

interface Violation {
    from: string;
    to: string;
    rule: { name: string };
}

describe("the rules on who imports whom", () => {
    const folder = mkdtempSync(join(tmpdir(), "buildfleet-arrows-"));
    let violations: Violation[];

    beforeAll(() => {
        const write = (file: string, text: string) => {
            mkdirSync(dirname(join(folder, file)), { recursive: true });
            writeFileSync(join(folder, file), `${text}\n`);
        };
        for (const file of TARGETS) write(file, "export type T = 1;");
        write("core/of-c.ts", 'import type { C } from "./c"; export type D = C;');
        write("components/f.ts", 'import "./aws/b";');
        for (const [file, line] of [...BREACHES, ...ALLOWED]) write(file, line);
        for (const name of ["only-for-tests", "@pulumi/aws", "peer"]) {
            write(`node_modules/${name}/package.json`, JSON.stringify({ name, main: "index.js" }));
            write(`node_modules/${name}/index.js`, "");
        }
        const devDependencies = { "only-for-tests": "1", "@pulumi/aws": "1", peer: "1" };
        write("package.json", JSON.stringify({ name: "x", devDependencies, peerDependencies: { peer: "1" } }));
        for (const file of ["tsconfig.json", ".dependency-cruiser.cjs"])
            cpSync(join(CHECKOUT, file), join(folder, file));
        violations = cruise(folder);
    }, 300_000);
    afterAll(() => rmSync(folder, { recursive: true, force: true }));

    it.each(BREACHES)("%s: %s", (file, _line, rule) => {
        expect(violations.filter(({ from }) => from === file).map((violation) => violation.rule.name)).toContain(rule);
    });

    it("refuse a cloud's SDK, and the components for it, anywhere below the package's entry", () => {
        const found = violations.filter(({ rule }) => rule.name === "no-cloud-sdk");
        expect(found.map(({ from, to }) => `${from} ${to}`).sort()).toEqual([
            "index.ts components/aws/b.ts",
            "index.ts node_modules/@pulumi/aws/index.js",
        ]);
    });

    it.each(ALLOWED)("allow %s", (file) => {
        expect(violations.filter(({ from }) => from === file)).toEqual([]);
    });
});

describe("the compiled package", () => {
    it("loads nothing that acts, and no cloud's SDK", () => {
        const script = 'require("buildfleet"); console.log(JSON.stringify(Object.keys(require.cache)))';
        const loaded: string[] = JSON.parse(
            execFileSync(process.execPath, ["-e", script], { cwd: CHECKOUT }).toString(),
        );
        const own = loaded
            .filter((path) => path.startsWith(join(CHECKOUT, "dist")))
            .map((path) => path.slice(CHECKOUT.length));
        expect(own).toContain("/dist/components/images/multi-platform-image.js");
        expect(own.filter((path) => /^\/dist\/(drivers|engine|stacks)\/|operations\.js$/.test(path))).toEqual([]);
        expect(loaded.filter((path) => path.includes("/@pulumi/aws/"))).toEqual([]);
    });
});

function cruise(folder: string): Violation[] {
    const cli = join(CHECKOUT, "node_modules/dependency-cruiser/bin/dependency-cruise.mjs");
    const folders = ["index.ts", "aws.ts", "core", "drivers", "resources", "components", "stacks", "engine"];
    const { stdout, stderr } = spawnSync(
        process.execPath,
        [cli, "--config", ".dependency-cruiser.cjs", "--output-type", "json", ...folders],
        { cwd: folder, encoding: "utf8", maxBuffer: 64 * 1024 * 1024 },
    );
    if (stdout === "") throw new Error(stderr);
    return JSON.parse(stdout).summary.violations;
}
