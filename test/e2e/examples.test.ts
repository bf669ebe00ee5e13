import { readFileSync } from "node:fs";
import { join, resolve } from "node:path";
import { afterAll, describe, expect, it } from "vitest";
import { parse } from "yaml";
import { releaseRights, type Settings, trustOf } from "../../examples/github-actions/role/policies";
import { created, Example } from "../support/example";
import { TestStack } from "../support/stack";

const EXAMPLES = resolve(__dirname, "../../examples");

/** What is there of a kind, in any number. */
const kinds = (lines: string[]) => [...new Set(lines.map((line) => line.split(" ")[0]))];

describe("examples/aws", () => {
    const example = new Example("aws");
    afterAll(() => example.dispose());

    it("is what the compiler takes", async () => {
        expect(await example.typeProblems()).toBe("");
    }, 300_000);

    it("previews without credentials: builders, repository, key and image", async () => {
        const preview = await example.preview("dev");
        expect(preview.errors).toEqual([]);
        const declared = created(preview);
        expect(declared).toEqual(
            expect.arrayContaining([
                "buildfleet:aws:Ec2Fleet builders",
                "aws:ec2/instance:Instance builders-amd64",
                "aws:ec2/instance:Instance builders-arm64",
                "buildfleet:aws:EcrRepository app",
                "buildfleet:index:MultiPlatformImage app",
            ]),
        );
        expect(declared.filter((line) => line.startsWith("BuildxBuilder "))).toHaveLength(2);
        expect(Object.keys(preview.outputs).sort()).toEqual(["cost", "ref"]);
    }, 300_000);
});

describe("examples/aws-split", () => {
    const [builders, images] = [new Example("aws-split/fleet"), new Example("aws-split/images")];
    /** Stands for the first stack, deployed: AWS is not there. Its outputs have the names and shapes of the example's. */
    const deployed = new TestStack(
        `module.exports = {
            nodes: [{ name: "arm64", platforms: ["linux/arm64"], endpoint: "tcp://127.0.0.1:1", serverName: "arm64",
                      ec2: { instanceId: "i-0a1b2c3d4e5f60001", region: "eu-central-1", tunnel: true } }],
            client: pulumi.secret({ ca: "ca", certificate: "certificate", privateKey: "xyzzy" }),
            signingKey: "awskms:///arn:aws:kms:eu-central-1:123456789012:key/1",
        };`,
        { name: "prod", env: { PULUMI_CONFIG_PASSPHRASE: "example" } },
    );
    afterAll(async () => {
        builders.dispose();
        images.dispose();
        await deployed.dispose();
    });

    it("is what the compiler takes, in both halves", async () => {
        expect(await builders.typeProblems()).toBe("");
        expect(await images.typeProblems()).toBe("");
    }, 240_000);

    it("one half makes builders and key, and hands on what the other needs", async () => {
        const preview = await builders.preview("prod");
        expect(preview.errors).toEqual([]);
        expect(kinds(created(preview))).toEqual(expect.arrayContaining(["buildfleet:aws:Ec2Fleet", "aws:kms/key:Key"]));
        expect(created(preview).join()).not.toMatch(/ecr|MultiPlatformImage/);
        expect(Object.keys(preview.outputs).sort()).toEqual(["client", "nodes", "signingKey"]);
    }, 300_000);

    it("the other half builds on them, and says so where they were not made yet", async () => {
        const early = await images.preview("prod", deployed.path("state"));
        expect(early.errors.map(({ message }) => message).join()).toContain(
            'there is no stack "organization/builders/prod" yet',
        );
        deployed.setProject("builders");
        await deployed.up();
        const preview = await images.preview("prod", deployed.path("state"));
        expect(preview.errors).toEqual([]);
        expect(created(preview)).toEqual(
            expect.arrayContaining(["buildfleet:aws:EcrRepository app", "buildfleet:index:MultiPlatformImage app"]),
        );
        expect(created(preview).join()).not.toMatch(/aws:ec2|aws:kms/);
        expect(JSON.stringify(preview)).not.toContain("xyzzy");
    }, 300_000);
});

describe("examples/github-actions", () => {
    const role = new Example("github-actions/role");
    afterAll(() => role.dispose());
    const read = (file: string) => parse(readFileSync(join(EXAMPLES, "github-actions", file), "utf8"));
    const workflow = read("release.yml");
    const job = workflow.jobs.release;

    it("asks for a token of GitHub's and for nothing else, and only in its job", () => {
        expect(workflow.permissions).toEqual({});
        expect(job.permissions).toEqual({ contents: "read", "id-token": "write" });
        expect(Object.keys(workflow.jobs)).toEqual(["release"]);
        expect(workflow.concurrency["cancel-in-progress"]).toBe(false);
    });

    it("stores no secret, and runs no action that can be changed behind its back", () => {
        const text = readFileSync(join(EXAMPLES, "github-actions/release.yml"), "utf8");
        expect(text).not.toMatch(/secrets\.|access-key|PASSPHRASE|ACCESS_TOKEN/i);
        const used = text.match(/uses: .*/g) ?? [];
        expect(used.length).toBeGreaterThan(5);
        for (const line of used) expect(line).toMatch(/^uses: [\w./-]+@[0-9a-f]{40} # v\d+\.\d+\.\d+$/);
        // Nothing that others write (titles, branches) gets into a shell.
        for (const { run } of job.steps) expect(run ?? "").not.toContain("${{");
    });

    it("takes the role before Pulumi runs, and runs `up`", () => {
        const action = (name: string) =>
            job.steps.findIndex(({ uses }: { uses?: string }) => uses?.startsWith(`${name}@`));
        const login = job.steps[action("aws-actions/configure-aws-credentials")];
        expect(login.with["role-to-assume"]).toMatch(/^\$\{\{ vars\.\w+ \}\}$/);
        expect(action("pulumi/actions")).toBeGreaterThan(action("aws-actions/configure-aws-credentials"));
        expect(job.steps[action("pulumi/actions")].with.command).toBe("up");
    });

    const settings: Settings = read("role/Pulumi.prod.yaml").config["release-role:settings"];

    it("the role trusts that environment of that repository, compared in full", () => {
        const [statement, ...more] = trustOf("arn:github", settings).Statement as {
            Action: string;
            Condition: Record<string, Record<string, string>>;
        }[];
        expect(more).toEqual([]);
        expect(statement?.Condition).toEqual({
            StringEquals: {
                "token.actions.githubusercontent.com:aud": "sts.amazonaws.com",
                "token.actions.githubusercontent.com:sub": `repo:${settings.repository}:environment:${job.environment}`,
            },
        });
        expect(JSON.stringify(statement)).not.toContain("*");
    });

    it("the role may change nothing but what is named", () => {
        const statements = releaseRights(settings).Statement as {
            Sid: string;
            Action: string[];
            Resource: string | string[];
        }[];
        const everywhere = statements.filter(({ Resource }) => [Resource].flat().includes("*"));
        // IAM knows no resource for these; they only read.
        expect(everywhere.flatMap(({ Action }) => Action)).toEqual([
            "ecr:GetAuthorizationToken",
            "ec2:DescribeInstances",
        ]);
        const actions = statements.flatMap(({ Action }) => Action);
        expect(
            actions.filter((action) =>
                /\*|Delete(?!Object)|iam:|ec2:(?!StartInstances|DescribeInstances)/.test(action),
            ),
        ).toEqual([]);
    });

    it("is what the compiler takes, and previews", async () => {
        expect(await role.typeProblems()).toBe("");
        const preview = await role.preview("prod");
        expect(preview.errors).toEqual([]);
        expect(created(preview)).toEqual([
            "aws:iam/openIdConnectProvider:OpenIdConnectProvider github",
            "aws:iam/role:Role release",
            "aws:iam/rolePolicy:RolePolicy release",
        ]);
    }, 300_000);
});

describe("examples/onprem and examples/airgap", () => {
    const [onprem, collect, load] = [
        new Example("onprem"),
        new Example("airgap/collect"),
        new Example("airgap/load"),
    ] as const;
    afterAll(() => {
        for (const example of [onprem, collect, load]) example.dispose();
    });

    it("are what the compiler takes", async () => {
        for (const example of [onprem, collect, load]) expect(await example.typeProblems()).toBe("");
    }, 300_000);

    it("a machine room previews without a host: a registry, a builder on each host, and the image", async () => {
        const secret = { "onprem:registryPassword": "a password of the room" };
        const preview = await onprem.preview("room", undefined, secret);
        expect(preview.errors).toEqual([]);
        expect(created(preview)).toEqual(
            expect.arrayContaining([
                "buildfleet:index:RegistryServer registry",
                "RegistryService registry-service",
                "ManagedHost builders-arm-1",
                "ManagedHost builders-x86-1",
                "buildfleet:index:MultiPlatformImage app",
            ]),
        );
        expect(Object.keys(preview.outputs).sort()).toEqual(["platforms", "ref"]);
    }, 300_000);

    it("one side of the air gap writes what the other builds with", async () => {
        const [outside, inside] = [await collect.preview("world"), await load.preview("room")];
        expect([...outside.errors, ...inside.errors]).toEqual([]);
        expect(created(outside)).toEqual(["ImageMirror collect", "buildfleet:index:ImageMirror collect"]);
        expect(created(inside)).toEqual(
            expect.arrayContaining(["ImageMirror load", "buildfleet:index:MultiPlatformImage app"]),
        );
    }, 300_000);
});
