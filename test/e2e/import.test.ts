import { execFile } from "node:child_process";
import { cpSync, existsSync, mkdtempSync, readFileSync, realpathSync, rmSync, symlinkSync } from "node:fs";
import { tmpdir } from "node:os";
import { join, resolve } from "node:path";
import { promisify } from "node:util";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { freePort } from "../support/port";
import { type EngineResult, removeStackFolder } from "../support/stack";

const CHECKOUT = resolve(__dirname, "../..");
const run = promisify(execFile);

/** Another team's folder: the example, and the package as it would be published. Nothing in it leads to the checkout. */
describe("a program of another team", () => {
    const folder = realpathSync(mkdtempSync(join(tmpdir(), "buildfleet-import-")));
    const config: string[] = [];
    let first: EngineResult;

    beforeAll(async () => {
        cpSync(join(CHECKOUT, "examples/import"), folder, { recursive: true });
        await run("npm", ["pack", "--pack-destination", folder], { cwd: CHECKOUT });
        await run("npm", ["install", "--prefer-offline", "--no-audit", "--no-fund", "--fetch-retries=5"], {
            cwd: folder,
        });
        const { baseReferences, seedRegistry } = await import("../../tools/seed-registry.mjs");
        await seedRegistry(join(folder, ".buildfleet/registry"));
        const port = await freePort();
        const { source, base } = baseReferences();
        const buildArgs = { BASE: source === "public" ? base : `127.0.0.1:${port}/${base}` };
        config.push("--config", `greeter:port=${port}`, "--config", `greeter:buildArgs=${JSON.stringify(buildArgs)}`);
        first = await engine("up");
    }, 300_000);
    afterAll(() => removeStackFolder(folder));

    /** The engine is the checkout's: it is no part of the package, as Pulumi's is not. */
    async function engine(command: "up" | "destroy"): Promise<EngineResult> {
        const where = ["--cwd", folder, "--stack", "team", "--state", join(folder, "state"), "--json"];
        const { stdout } = await run(
            process.execPath,
            [join(CHECKOUT, "dist/engine/cli.js"), command, ...where, ...config],
            {
                cwd: folder,
                env: {
                    ...process.env,
                    PULUMI_CONFIG_PASSPHRASE: "team",
                    BUILDX_CONFIG: join(folder, "buildx"),
                    DOCKER_CONFIG: join(folder, "docker"),
                },
            },
        );
        return JSON.parse(stdout);
    }

    it("has the package from its tarball, not from the checkout", () => {
        const installed = realpathSync(join(folder, "node_modules/buildfleet/package.json"));
        expect(installed.startsWith(folder)).toBe(true);
        expect(JSON.parse(readFileSync(installed, "utf8")).name).toBe("buildfleet");
    });

    it("releases its image for both platforms", () => {
        expect(first.outputs.ref).toMatch(/^127\.0\.0\.1:\d+\/team\/greeter@sha256:[0-9a-f]{64}$/);
        expect([...first.outputs.tags].sort()).toEqual(["1", "1.0", "1.0.0", "latest"]);
        expect(Object.keys(first.outputs.platforms).sort()).toEqual(["linux/amd64", "linux/arm64"]);
    });

    it("changes nothing the second time", async () => {
        const second = await engine("up");
        expect(second.steps.filter(({ op }) => op !== "same")).toEqual([]);
        expect(second.outputs).toEqual(first.outputs);
    }, 300_000);

    describe("the part for AWS", () => {
        const provider = join(folder, "node_modules/@pulumi/aws");
        const load = (script: string) => run(process.execPath, ["-e", script], { cwd: folder });

        it("is not needed by a program without it, and says what it needs itself", async () => {
            expect(existsSync(provider)).toBe(false);
            await expect(load('require("buildfleet/aws")')).rejects.toThrow(
                'buildfleet/aws needs @pulumi/aws, which is not installed beside it: run "npm install @pulumi/aws"',
            );
        });

        it("is there, from the tarball, where @pulumi/aws is", async () => {
            symlinkSync(join(CHECKOUT, "node_modules/@pulumi/aws"), provider);
            const names = "Object.entries(aws).map(([name, value]) => [name, typeof value])";
            const required = await load(`const aws = require("buildfleet/aws"); console.log(JSON.stringify(${names}))`);
            const imported = await load(
                'import("buildfleet/aws").then(({ Ec2Fleet, EcrRepository, ImageSigningKey }) => console.log(Ec2Fleet.name, EcrRepository.name, ImageSigningKey.name))',
            );
            rmSync(provider);
            expect(JSON.parse(required.stdout)).toEqual([
                ["Ec2Fleet", "function"],
                ["EcrRepository", "function"],
                ["ImageSigningKey", "function"],
            ]);
            expect(imported.stdout).toBe("Ec2Fleet EcrRepository ImageSigningKey\n");
        });
    });

    it("is taken down by what it installed", async () => {
        const { result, changes } = await engine("destroy");
        expect([result, changes.same]).toEqual(["succeeded", 0]);
    }, 300_000);
});
