import { createHash } from "node:crypto";
import type { MockResourceArgs } from "@pulumi/pulumi/runtime/mocks";

const REGION = "eu-central-1";
const ACCOUNT = "123456789012";

const arn = (service: string, resource: string) => `arn:aws:${service}:${REGION}:${ACCOUNT}:${resource}`;
const taggable = ({ inputs }: MockResourceArgs) => ({ region: REGION, tagsAll: inputs.tags });

/** The user data's own check looks at its shape. */
export const volumeId = (name: string) => `vol-${createHash("sha256").update(name).digest("hex").slice(0, 17)}`;

/** What AWS's resources, and ours for AWS, answer beside their inputs. */
export const AWS_OUTPUTS: Record<string, (args: MockResourceArgs) => Record<string, unknown>> = {
    "pulumi:providers:aws": () => ({}),
    "aws:cloudwatch/logGroup:LogGroup": (args) => ({
        ...taggable(args),
        arn: arn("logs", `log-group:${args.inputs.name}`),
    }),
    "aws:cloudwatch/metricAlarm:MetricAlarm": taggable,
    "aws:ebs/volume:Volume": (args) => ({ ...taggable(args), id: volumeId(args.name) }),
    "aws:ec2/eip:Eip": (args) => ({
        ...taggable(args),
        allocationId: `eipalloc-${args.name}`,
        publicIp: `address of ${args.name}`,
    }),
    "aws:ec2/eipAssociation:EipAssociation": () => ({ region: REGION }),
    "aws:ec2/instance:Instance": (args) => ({ ...taggable(args), privateIp: `private address of ${args.name}` }),
    "aws:ec2/launchTemplate:LaunchTemplate": (args) => ({ ...taggable(args), latestVersion: 7 }),
    "aws:ec2/securityGroup:SecurityGroup": taggable,
    "aws:ec2/volumeAttachment:VolumeAttachment": () => ({ region: REGION }),
    "aws:iam/instanceProfile:InstanceProfile": (args) => ({
        name: args.name,
        arn: `arn:aws:iam::${ACCOUNT}:instance-profile/${args.name}`,
    }),
    "aws:iam/role:Role": (args) => ({ name: args.name, arn: `arn:aws:iam::${ACCOUNT}:role/${args.name}` }),
    "aws:iam/rolePolicy:RolePolicy": () => ({}),
    "aws:ssm/parameter:Parameter": (args) => ({ ...taggable(args), arn: arn("ssm", `parameter${args.inputs.name}`) }),
    "aws:vpc/securityGroupEgressRule:SecurityGroupEgressRule": taggable,
    "aws:vpc/securityGroupIngressRule:SecurityGroupIngressRule": taggable,
    SpotInstance: ({ name }) => ({
        instanceId: `i-${name}`,
        privateIp: `private address of ${name}`,
        publicIp: "",
        capacity: "spot",
    }),
    Ec2Drain: () => ({ forced: false }),
    BuildkitRelease: ({ inputs }) => ({
        artifacts: Object.fromEntries(
            inputs.architectures.map((architecture: string) => [
                architecture,
                { url: `https://github.com/buildkit-${architecture}.tar.gz`, sha256: "0123456789abcdef".repeat(4) },
            ]),
        ),
    }),
    "buildfleet:aws:Ec2Fleet": () => ({}),
};
