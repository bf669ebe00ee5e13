/** The stack `aws` on a machine that has neither AWS credentials nor the provider's plugin. */
import { execFile } from "node:child_process";
import { cpSync, existsSync, mkdirSync, mkdtempSync, readdirSync, rmSync, symlinkSync } from "node:fs";
import { tmpdir } from "node:os";
import { join, resolve } from "node:path";
import { promisify } from "node:util";
import { afterAll, afterEach, beforeEach, describe, expect, it, vi } from "vitest";
import { operate } from "../../tools/run/stack.mjs";
import { created } from "../support/example";
import { type EngineResult, TestStack } from "../support/stack";

const CHECKOUT = resolve(__dirname, "../..");
const run = promisify(execFile);
const folder = mkdtempSync(join(tmpdir(), "buildfleet-aws-"));
const state = join(folder, "state");
afterAll(() => rmSync(folder, { recursive: true, force: true }));

type Outcome = EngineResult & { stderr: string };

/** The checkout's own stack with the settings of Pulumi.aws.yaml or those given; a home and an environment without credentials. */
async function engine(command: "preview" | "up", settings?: object): Promise<Outcome> {
    const bare = Object.entries(process.env).filter(([name]) => !/^(AWS_|PULUMI_)/.test(name));
    const env = { ...Object.fromEntries(bare), HOME: folder, PULUMI_CONFIG_PASSPHRASE: "e2e" };
    const where = ["--cwd", CHECKOUT, "--stack", "aws", "--state", state, "--json"];
    const config = settings ? ["--config", `buildfleet:settings=${JSON.stringify(settings)}`] : [];
    const cli = join(CHECKOUT, "dist/engine/cli.js");
    const done = await run(process.execPath, [cli, command, ...where, ...config], { env }).catch((failure) => failure);
    return { ...JSON.parse(done.stdout), stderr: done.stderr };
}

const SUBNETS = [{ id: "subnet-0a1b2c3d4e5f60001", zone: "eu-central-1a", vpcId: "vpc-0a1b2c3d4e5f60000" }];
const FLEET = { subnets: SUBNETS, access: { mode: "ssm" } };

describe("a preview without credentials", () => {
    it("shows builders, repository, key and image, and says what it can't know", async () => {
        const preview = await engine("preview");
        expect(preview.errors).toEqual([]);
        expect(preview.result).toBe("succeeded");
        const declared = created(preview);
        expect(declared).toEqual(
            expect.arrayContaining([
                "buildfleet:aws:Ec2Fleet builders",
                "aws:ec2/instance:Instance builders-amd64",
                "aws:ec2/instance:Instance builders-arm64",
                "aws:ebs/volume:Volume builders-arm64-cache",
                "aws:ecr/repository:Repository repository",
                "aws:kms/key:Key signing-key-key",
                "buildfleet:index:MultiPlatformImage image",
                "docker-build:index:Image image-image-linux-amd64",
                "docker-build:index:Image image-image-linux-arm64",
            ]),
        );
        // Native or refused: one builder each, and no emulation anywhere.
        expect(declared.filter((line) => line.startsWith("BuildxBuilder "))).toHaveLength(2);
        const said = preview.stderr.split("\n").filter((line) => line.includes("pulumi-resource-aws"));
        expect(said).toHaveLength(1);
        expect(said[0]).toContain('package "aws": pulumi-resource-aws is not on PATH: its resources are only echoed');
        expect(Object.keys(preview.outputs).sort()).toEqual([
            "caches",
            "capacities",
            "client",
            "cost",
            "digest",
            "instanceIds",
            "nodes",
            "platforms",
            "ref",
            "sbom",
            "signature",
            "tags",
            "vulnerabilities",
        ]);
        expect(existsSync(state)).toBe(false);
    }, 300_000);

    it("refuses a look-up with its name, the reason and what to do", async () => {
        const fleet = { subnetIds: [SUBNETS[0]?.id], access: { mode: "ssm" } };
        const { result, errors } = await engine("preview", { fleet, role: "fleet" });
        expect(result).toBe("failed");
        expect(errors.map(({ message }) => message).join("\n")).toMatch(
            /the function aws:ec2\/getSubnet:getSubnet can't be called: .*pulumi-resource-aws is not on PATH; use the Pulumi CLI/,
        );
    }, 300_000);

    it("and an up makes nothing: it is refused where the program begins to need the plugin", async () => {
        const outcome = await engine("up");
        expect(outcome.errors.map(({ message }) => message)).toEqual([
            expect.stringMatching(/^no provider for package "aws": .*; a preview needs none$/),
        ]);
        expect(created(outcome)).toEqual([]);
    }, 300_000);
});

describe("bad settings", () => {
    it("of all parts are told at once, and nothing is declared", async () => {
        const { result, stderr, steps } = await engine("preview", {
            fleet: {
                subnets: SUBNETS,
                access: { mode: "public", from: ["0.0.0.0/0"] },
                nodes: { arm64: { instanceType: "c7i.2xlarge" } },
            },
            image: { platforms: ["linux/arm64/v9"], version: "v1" },
            scan: { failOn: "severe" },
            fleetStack: "organization/buildfleet/builders",
            regoin: "eu-central-1",
        });
        expect(result).toBe("failed");
        const [message = ""] = /buildfleet:settings: \d+ problems[\s\S]*/.exec(stderr) ?? [];
        for (const path of [
            "fleet.access.from[0]",
            "fleet.nodes.arm64",
            "image.platforms[0]",
            "image.version",
            "scan.failOn",
            "fleetStack: of no use to a stack with role: all; leave it out, or choose role: images",
            "regoin",
        ])
            expect(message).toContain(path);
        expect(steps.filter(({ urn }) => !urn.includes("::pulumi:pulumi:Stack::"))).toEqual([]);
    }, 300_000);

    it("of a half are those that it has no use for, too", async () => {
        const { stderr } = await engine("preview", { role: "images", fleet: FLEET });
        expect(stderr).toContain("buildfleet:settings: 2 problems");
        expect(stderr).toContain("fleet: of no use to a stack with role: images");
        expect(stderr).toContain("fleetStack: missing");
    }, 300_000);
});

describe("in two stacks", () => {
    const builders = new TestStack(
        `module.exports = {
            nodes: [{ name: "amd64", platforms: ["linux/amd64"], endpoint: "tcp://10.0.1.4:8372", serverName: "amd64" }],
            client: pulumi.secret({ ca: "ca", certificate: "certificate", privateKey: "xyzzy" }),
        };`,
        { name: "builders" },
    );
    afterAll(() => builders.dispose());

    it("the first has the fleet alone, and hands on its nodes and a secret", async () => {
        const preview = await engine("preview", { role: "fleet", fleet: FLEET });
        expect(preview.errors).toEqual([]);
        expect(created(preview).join()).not.toMatch(/ecr|kms|MultiPlatformImage/);
        expect(Object.keys(preview.outputs)).toEqual(expect.arrayContaining(["nodes", "client"]));
    }, 300_000);

    it("the second builds on what the first hands on, and makes no machine", async () => {
        await builders.up();
        cpSync(builders.path("state/stacks/e2e"), join(state, "stacks/e2e"), { recursive: true });
        const preview = await engine("preview", { role: "images", fleetStack: "organization/e2e/builders" });
        expect(preview.errors).toEqual([]);
        expect(created(preview).join()).not.toMatch(/aws:ec2/);
        expect(created(preview)).toEqual(
            expect.arrayContaining([
                "aws:ecr/repository:Repository repository",
                "buildfleet:index:MultiPlatformImage image",
            ]),
        );
        expect(JSON.stringify(preview)).not.toContain("xyzzy");
    }, 300_000);
});

describe("npm run preview -- --stack aws", () => {
    const project = join(folder, "checkout");
    beforeEach(() => {
        mkdirSync(project);
        for (const name of ["Pulumi.yaml", "Pulumi.aws.yaml", "stack.js", "package.json"])
            cpSync(join(CHECKOUT, name), join(project, name));
        for (const name of ["dist", "node_modules", "examples"]) symlinkSync(join(CHECKOUT, name), join(project, name));
        for (const name of Object.keys(process.env)) if (/^(AWS_|PULUMI_)/.test(name)) vi.stubEnv(name, undefined);
    });
    afterEach(() => vi.unstubAllEnvs());

    it("needs no registry, no base image and no local stack", async () => {
        const options = { project, stack: "aws", config: [], toolFolder: undefined };
        const report = await operate("preview", options);
        expect(report.exitCode).toBe(0);
        expect(report.changes?.create).toBeGreaterThan(40);
        expect(readdirSync(project).filter((name) => name.startsWith(".buildfleet"))).toEqual([".buildfleet-aws"]);
        expect(readdirSync(join(project, ".buildfleet-aws"))).toEqual(["passphrase"]);
    }, 300_000);
});
