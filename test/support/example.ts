import { execFile } from "node:child_process";
import { cpSync, mkdirSync, mkdtempSync, rmSync, symlinkSync } from "node:fs";
import { tmpdir } from "node:os";
import { dirname, join, resolve } from "node:path";
import { promisify } from "node:util";
import type { EngineResult } from "./stack";

const CHECKOUT = resolve(__dirname, "../..");
const run = promisify(execFile);

/** What `npm install` would put beside an example. */
const PACKAGES = ["@pulumi", "@types/node", "undici-types", "typescript"];

/** No credentials, no settings of the AWS SDK, no home that has some; programs were type-checked before. */
const BARE = Object.entries(process.env).filter(([name]) => !/^(AWS_|PULUMI_)/.test(name));

/** A copy of an example in a folder of its own, with its packages. */
export class Example {
    readonly folder = mkdtempSync(join(tmpdir(), "buildfleet-example-"));

    constructor(name: string) {
        cpSync(join(CHECKOUT, "examples", name), this.folder, { recursive: true });
        const modules = join(this.folder, "node_modules");
        for (const [from, to] of [
            [CHECKOUT, "buildfleet"],
            ...PACKAGES.map((each) => [join(CHECKOUT, "node_modules", each), each]),
        ] as [string, string][]) {
            mkdirSync(dirname(join(modules, to)), { recursive: true });
            symlinkSync(from, join(modules, to));
        }
    }

    /** What the compiler says of the program; nothing when it is right. */
    async typeProblems(): Promise<string> {
        const tsc = join(CHECKOUT, "node_modules/typescript/bin/tsc");
        return run(process.execPath, [tsc, "-p", "."], { cwd: this.folder }).then(
            () => "",
            (failure: { stdout: string }) => failure.stdout,
        );
    }

    /** A preview of one of its stacks; `state` is the folder of the states, where another stack's is looked up. */
    async preview(
        stack: string,
        state = join(this.folder, "state"),
        config: Record<string, string> = {},
    ): Promise<EngineResult & { stderr: string }> {
        const settings = Object.entries(config).flatMap(([key, value]) => ["--config", `${key}=${value}`]);
        const where = ["--cwd", this.folder, "--stack", stack, "--state", state, "--json", ...settings];
        const env = {
            ...Object.fromEntries(BARE),
            HOME: this.folder,
            PULUMI_CONFIG_PASSPHRASE: "example",
            PULUMI_NODEJS_TRANSPILE_ONLY: "true",
        };
        const args = [join(CHECKOUT, "dist/engine/cli.js"), "preview", ...where];
        const done = await run(process.execPath, args, { cwd: this.folder, env }).catch((failure) => failure);
        return { ...JSON.parse(done.stdout), stderr: done.stderr };
    }

    dispose(): void {
        rmSync(this.folder, { recursive: true, force: true });
    }
}

/** `type name` of everything a preview would create, sorted; components of ours and dynamic resources by their short type. */
export const created = ({ steps }: EngineResult) =>
    steps
        .filter(({ op, urn }) => op === "create" && !urn.includes("::pulumi:pulumi:Stack::"))
        .map(({ urn }) => {
            const [, , types = "", name = ""] = urn.split("::");
            return `${(types.split("$").pop() ?? "").replace(/^pulumi-nodejs:dynamic\/buildfleet:/, "")} ${name}`;
        })
        .sort();
