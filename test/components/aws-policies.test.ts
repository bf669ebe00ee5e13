import { describe, expect, it } from "vitest";
import { Ec2Fleet, type FleetAccess } from "../../components/aws/ec2-fleet";
import { EcrRepository } from "../../components/aws/ecr-repository";
import { ImageSigningKey } from "../../components/aws/image-signing-key";
import { type Declared, declare, find } from "../support/declared";
import { tooWide } from "../support/policies";

const subnets = [{ id: "subnet-00000000", zone: "eu-central-1a", vpcId: "vpc-00000000" }];
const key = "arn:aws:kms:eu-central-1:123456789012:key/1234abcd-12ab-34cd-56ef-1234567890ab";
const role = (name: string) => `arn:aws:iam::123456789012:role/${name}`;

/** Everything of ours that has policies, with all that makes them longer. */
const declareAll = (access: FleetAccess) =>
    declare(() => {
        new Ec2Fleet("builders", { subnets, access, parameterKey: key, nodes: { arm64: { count: 2 }, amd64: {} } });
        new EcrRepository("team/app", { pull: [role("deploy")], push: [role("ci")], kmsKey: key, cache: {} });
        new EcrRepository("plain");
        new ImageSigningKey("images", {
            signers: [role("ci")],
            readers: [role("deploy")],
            administrators: [role("admin")],
        });
        new ImageSigningKey("open");
    });

describe("every policy that any component declares", () => {
    it.each<[FleetAccess]>([
        [{ mode: "private", from: ["10.0.0.0/16", "sg-00000000"] }],
        [{ mode: "public", from: ["203.0.113.0/24"] }],
        [{ mode: "ssm" }],
    ])("lets nobody write on everything: access %j", async (access) => {
        const { resources } = await declareAll(access);
        const { documents, problems } = tooWide(resources, { sessions: access.mode === "ssm" });
        expect(problems).toEqual([]);
        // Per node: who may take the role, and what it may; the repository's; the keys' two.
        expect(documents).toBe(3 * 2 + 1 + 2);
    });

    it("has Session Manager's channels on * as the one exception, and in its mode alone", async () => {
        const { resources } = await declareAll({ mode: "ssm" });
        const { problems } = tooWide(resources);
        expect(new Set(problems.map((problem) => problem.replace(/^builders-[a-z0-9-]+: /, "")))).toEqual(
            new Set(
                ["CreateControlChannel", "CreateDataChannel", "OpenControlChannel", "OpenDataChannel"].map(
                    (action) => `ssmmessages:${action} on *`,
                ),
            ),
        );
        const other = await declareAll({ mode: "private", from: ["10.0.0.0/16"] });
        expect(find(other.resources, "builders-amd64-rights").inputs.policy).not.toContain("ssmmessages");
    });
});

describe("the check itself", () => {
    const policy = (type: string, ...statements: object[]) =>
        [{ name: "p", type, inputs: { policy: JSON.stringify({ Statement: statements }) } }] as unknown as Declared[];
    const allow = (Action: string | string[], Resource: string) => ({ Effect: "Allow", Action, Resource });
    const POLICY = "aws:iam/policy:Policy";
    const KEY = "aws:kms/keyPolicy:KeyPolicy";

    it.each([
        [POLICY, allow("ec2:StartInstances", "*")],
        [POLICY, allow(["ssm:GetParameter", "ssm:PutParameter"], "*")],
        [POLICY, allow("logs:*", "arn:aws:logs:eu-central-1:1:log-group:x")],
        [POLICY, allow("ec2:StopInstances", "arn:aws:ec2:eu-central-1:1:instance/*")],
        [POLICY, allow("ssmmessages:OpenDataChannel", "*")],
        [POLICY, { Effect: "Allow", NotAction: "iam:*", Resource: "arn:x" }],
        [KEY, { ...allow("kms:Sign", "*"), Principal: "*" }],
        [KEY, { ...allow("kms:Sign", "*"), Principal: { AWS: ["*"] } }],
        [KEY, { ...allow("kms:*", "*"), Principal: { AWS: role("ci") } }],
    ])("finds, in %s, %j", (type, statement) => {
        expect(tooWide(policy(type, statement)).problems).toHaveLength(1);
    });

    it("lets reading pass, and what is named", () => {
        const fine = [
            allow("ec2:DescribeInstances", "*"),
            allow("ec2:StopInstances", "arn:aws:ec2:eu-central-1:1:instance/i-1"),
        ];
        expect(tooWide(policy(POLICY, ...fine))).toEqual({ documents: 1, problems: [] });
        const own = { ...allow("kms:Sign", "*"), Principal: { AWS: role("ci") } };
        expect(tooWide(policy(KEY, own)).problems).toEqual([]);
        expect(tooWide(policy(POLICY, allow("ssmmessages:OpenDataChannel", "*")), { sessions: true }).problems).toEqual(
            [],
        );
    });
});
