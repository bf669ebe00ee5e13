import { Provider } from "@pulumi/aws/provider";
import { describe, expect, it } from "vitest";
import { Ec2Fleet } from "../../components/aws/ec2-fleet";
import { declare, find, inventory } from "../support/declared";
import { declareFleet, filesOf, PRIVATE, subnets } from "./declare-fleet";

const NODE = [
    "Certificate builders-X-cert",
    "Ec2Drain builders-X-drain",
    "Ec2Drain builders-X-farewell",
    "aws:ebs/volume:Volume builders-X-cache",
    "aws:ec2/launchTemplate:LaunchTemplate builders-X-template",
    "aws:ec2/volumeAttachment:VolumeAttachment builders-X-cache",
    "aws:iam/instanceProfile:InstanceProfile builders-X-profile",
    "aws:iam/role:Role builders-X-role",
    "aws:iam/rolePolicy:RolePolicy builders-X-rights",
    "aws:ssm/parameter:Parameter builders-X-tls",
];
const nodeResources = (node: string, ...more: string[]) => [...NODE, ...more].map((name) => name.replace("X", node));
const INSTANCE = "aws:ec2/instance:Instance builders-X";
const SPOT = "SpotInstance builders-X";
const INGRESS = "aws:vpc/securityGroupIngressRule:SecurityGroupIngressRule";
const FLEET = [
    "BuildkitRelease builders-buildkit",
    "Certificate builders-client",
    "CertificateAuthority builders-ca",
    "aws:cloudwatch/logGroup:LogGroup builders-logs",
    "aws:ec2/securityGroup:SecurityGroup builders-builders",
    "aws:vpc/securityGroupEgressRule:SecurityGroupEgressRule builders-out-ipv4",
    "aws:vpc/securityGroupEgressRule:SecurityGroupEgressRule builders-out-ipv6",
    "buildfleet:aws:Ec2Fleet builders",
];
const all = (...parts: (string | string[])[]) => parts.flat().sort();
const FROM = `${INGRESS} builders-from-10-0-0-0-16`;

describe("the complete set of resources", () => {
    it("of one arm64 and one amd64 node", async () => {
        const { resources } = await declareFleet();
        expect(inventory(resources)).toEqual(
            all(FLEET, FROM, nodeResources("arm64", INSTANCE), nodeResources("amd64", INSTANCE)),
        );
    });

    it("of spot with fallback, and of several nodes", async () => {
        const { resources, result } = await declareFleet({
            nodes: { arm64: { capacity: "spot", fallback: "on-demand", count: 2 }, amd64: { capacity: "spot" } },
        });
        expect(inventory(resources)).toEqual(
            all(FLEET, FROM, ...["arm64", "arm64-2", "amd64"].map((node) => nodeResources(node, SPOT))),
        );
        expect(find(resources, "builders-arm64-2").inputs).toMatchObject({
            launchTemplateId: "id of builders-arm64-2-template",
            launchTemplateVersion: "7",
            region: "eu-central-1",
            subnetId: subnets[1]?.id,
            fallback: "on-demand",
        });
        expect(find(resources, "builders-amd64").inputs.fallback).toBe("none");
        expect(result.capacities).toEqual({ arm64: "spot", "arm64-2": "spot", amd64: "spot" });
    });

    it("of public access: an address per node, and no other door", async () => {
        const { resources, result } = await declareFleet({
            nodes: { arm64: {} },
            access: { mode: "public", from: ["203.0.113.0/24"] },
        });
        const address = [
            "aws:ec2/eip:Eip builders-X-address",
            "aws:ec2/eipAssociation:EipAssociation builders-X-address",
        ];
        expect(inventory(resources)).toEqual(
            all(FLEET, `${INGRESS} builders-from-203-0-113-0-24`, nodeResources("arm64", INSTANCE, ...address)),
        );
        expect(result.nodes[0]?.endpoint).toBe("tcp://address of builders-arm64-address:8372");
    });

    it("of Session Manager: no door at all, and the channel's rights", async () => {
        const { resources, result } = await declareFleet({ nodes: { arm64: {} }, access: { mode: "ssm" } });
        expect(inventory(resources)).toEqual(all(FLEET, nodeResources("arm64", INSTANCE)));
        const { Statement } = JSON.parse(find(resources, "builders-arm64-rights").inputs.policy);
        expect(Statement.map(({ Sid }: { Sid: string }) => Sid)).toEqual([
            "OwnCertificate",
            "OwnLogStream",
            "SessionHeartbeat",
            "SessionChannels",
        ]);
        expect(result.nodes[0]).toMatchObject({ ec2: { tunnel: true } });
    });

    it("of instance storage, a mirror and alarms", async () => {
        const archive = { url: "https://mirror.internal/b.tar.gz", sha256: "ab".repeat(32) };
        const { resources, result } = await declareFleet({
            nodes: { arm64: { instanceType: "c8gd.2xlarge", cacheVolume: "instance-store" } },
            buildkit: { artifacts: { arm64: archive } },
            alarms: { topicArn: "arn:aws:sns:eu-central-1:123456789012:builders" },
        });
        const alarms = ["status", "disk", "buildkit", "certificate"].map(
            (kind) => `aws:cloudwatch/metricAlarm:MetricAlarm builders-X-alarm-${kind}`,
        );
        expect(inventory(resources)).toEqual(
            all(
                FLEET.filter((name) => !name.startsWith("BuildkitRelease")),
                FROM,
                nodeResources("arm64", INSTANCE, ...alarms).filter((name) => !/-cache$/.test(name)),
            ),
        );
        expect(result.caches).toEqual({ arm64: { kind: "instance-store", lostOnStop: true } });
        expect(filesOf(resources, "arm64")["/etc/buildfleet/host.env"]).toContain("CACHE_KIND='instance-store'");
        const disk = find(resources, "builders-arm64-alarm-disk").inputs;
        expect(disk).toMatchObject({
            namespace: "Buildfleet",
            metricName: "DiskUsedPercent",
            dimensions: { Fleet: "shop/dev/builders", Node: "arm64" },
            alarmActions: ["arn:aws:sns:eu-central-1:123456789012:builders"],
        });
        expect(filesOf(resources, "arm64")["/etc/buildfleet/host.env"]).toContain("FLEET='shop/dev/builders'");
        expect(find(resources, "builders-arm64-alarm-certificate").inputs).toMatchObject({
            metricName: "CertificateDaysLeft",
            comparisonOperator: "LessThanThreshold",
            threshold: 14,
            treatMissingData: "notBreaching",
        });
    });

    it("has the fleet as parent, its provider, and its tags", async () => {
        const tags = { team: "platform", Name: "mine" };
        const { resources } = await declare(() => {
            const provider = new Provider("frankfurt", { region: "eu-central-1" });
            new Ec2Fleet(
                "builders",
                { ...PRIVATE, tags, alarms: { topicArn: "arn:aws:sns:eu-central-1:123456789012:builders" } },
                { providers: [provider] },
            );
        });
        const children = resources.filter(({ name }) => !["builders", "frankfurt"].includes(name));
        for (const { name, parent, type, madeBy, inputs } of children) {
            expect(parent, name).toBe("builders");
            expect(name).toMatch(/^builders-/);
            if (!type.startsWith("aws:")) continue;
            expect(madeBy, name).toBe("frankfurt");
            // These have none in AWS.
            if (/RolePolicy$|Association$|VolumeAttachment$/.test(type)) continue;
            const node = /^builders-(arm64|amd64)/.exec(name)?.[1];
            expect(inputs.tags, name).toEqual({
                ...tags,
                "buildfleet:fleet": "builders",
                ...(node ? { "buildfleet:node": node } : {}),
            });
        }
        for (const { tags: launched } of find(resources, "builders-arm64-template").inputs.tagSpecifications)
            expect(launched).toMatchObject(tags);
    });
});

describe("transform", () => {
    it("has the last word on every child, and is told its name", async () => {
        const seen: string[] = [];
        const tell = <Args>(args: Args, name?: string): Args => {
            seen.push(`${name}`);
            return args;
        };
        const kinds = [
            ...[
                "authority",
                "certificate",
                "buildkitRelease",
                "securityGroup",
                "ingressRule",
                "egressRule",
                "logGroup",
            ],
            ...["parameter", "role", "rolePolicy", "instanceProfile", "volume", "launchTemplate", "instance"],
            ...["spotInstance", "drain", "attachment", "address", "addressAssociation", "alarm"],
        ];
        const { resources } = await declareFleet({
            nodes: { arm64: {}, amd64: { capacity: "spot" } },
            access: { mode: "public", from: ["203.0.113.0/24"] },
            alarms: { topicArn: "arn:aws:sns:eu-central-1:123456789012:builders" },
            transform: {
                ...Object.fromEntries(kinds.map((kind) => [kind, tell])),
                volume: (args, name) => ({ ...tell(args, name), finalSnapshot: true }),
            },
        });
        const children = resources.map(({ name }) => name).filter((name) => name !== "builders");
        expect(seen.sort()).toEqual(children.sort());
        expect(find(resources, "builders-arm64-cache", "aws:ebs/volume:Volume").inputs.finalSnapshot).toBe(true);
    });
});
