import { describe, expect, it } from "vitest";
import { ASSUME_ROLE, nodePolicy, SESSION_CHANNELS } from "../../core/aws/policies";

const parameterArn = "arn:aws:ssm:eu-central-1:123456789012:parameter/buildfleet/shop/dev/builders/arm64/tls";
const logGroupArn = "arn:aws:logs:eu-central-1:123456789012:log-group:/buildfleet/shop/dev/builders";
const parameterKeyArn = "arn:aws:kms:eu-central-1:123456789012:key/1234abcd";
const certificate = { Sid: "OwnCertificate", Effect: "Allow", Action: ["ssm:GetParameter"], Resource: parameterArn };
const stream = {
    Sid: "OwnLogStream",
    Effect: "Allow",
    Action: ["logs:CreateLogStream", "logs:PutLogEvents"],
    Resource: `${logGroupArn}:log-stream:arm64`,
};
const key = {
    Sid: "OwnCertificatesKey",
    Effect: "Allow",
    Action: ["kms:Decrypt"],
    Resource: parameterKeyArn,
    Condition: { StringEquals: { "kms:EncryptionContext:PARAMETER_ARN": parameterArn } },
};
const heartbeat = {
    Sid: "SessionHeartbeat",
    Effect: "Allow",
    Action: ["ssm:UpdateInstanceInformation"],
    Resource: "arn:aws:ec2:eu-central-1:123456789012:instance/*",
};
const channels = { Sid: "SessionChannels", Effect: "Allow", Action: [...SESSION_CHANNELS], Resource: "*" };

describe("a node's rights, statement by statement", () => {
    it.each([
        ["as by default", {}, [certificate, stream]],
        ["with a customer's key", { parameterKeyArn }, [certificate, key, stream]],
        ["through Session Manager", { sessions: true }, [certificate, stream, heartbeat, channels]],
        ["with both", { sessions: true, parameterKeyArn }, [certificate, key, stream, heartbeat, channels]],
        ["a log group's ARN as some give it", { logGroupArn: `${logGroupArn}:*` }, [certificate, stream]],
    ])("%s", (_name, rights, statements) => {
        const document = nodePolicy({ parameterArn, logGroupArn, node: "arm64", sessions: false, ...rights });
        expect(document).toEqual({ Version: "2012-10-17", Statement: statements });
    });

    it("follow the partition", () => {
        const arn = parameterArn.replace("arn:aws:", "arn:aws-us-gov:");
        const { Statement } = nodePolicy({ parameterArn: arn, node: "arm64", sessions: true });
        expect(Statement.find(({ Sid }) => Sid === "SessionHeartbeat")?.Resource).toMatch(/^arn:aws-us-gov:ec2:/);
    });

    it("are taken by EC2 only", () => {
        expect(JSON.parse(ASSUME_ROLE)).toEqual({
            Version: "2012-10-17",
            Statement: [{ Effect: "Allow", Principal: { Service: "ec2.amazonaws.com" }, Action: "sts:AssumeRole" }],
        });
    });
});
