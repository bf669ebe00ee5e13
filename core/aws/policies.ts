/** One statement of an IAM policy, in IAM's own spelling. */
export interface PolicyStatement {
    Sid: string;
    Effect: "Allow";
    Action: string[];
    Resource: string | string[];
    Condition?: Record<string, Record<string, string>>;
}

export interface PolicyDocument {
    Version: "2012-10-17";
    Statement: PolicyStatement[];
}

/** What a node's rights are about; ARNs of its own things only. */
export interface NodeRights {
    /** The node's TLS parameter. */
    parameterArn: string;
    /** Customer's key of the parameter; nothing for AWS's own, whose use needs no right beside the parameter's. */
    parameterKeyArn?: string;
    /** The fleet's log group, without `:*`. */
    logGroupArn?: string;
    /** Its log stream, named like the node. */
    node: string;
    /** It is reached through Session Manager. */
    sessions: boolean;
}

/** EC2 alone may take the role. */
export const ASSUME_ROLE = JSON.stringify({
    Version: "2012-10-17",
    Statement: [{ Effect: "Allow", Principal: { Service: "ec2.amazonaws.com" }, Action: "sts:AssumeRole" }],
});

/**
 * The one set of actions with `*` as resource: Session Manager's channels, for which IAM has no resource types (Service authorization
 * reference, "Actions, resources, and condition keys for Amazon Session Manager Message Gateway Service"). Only nodes of access
 * mode `ssm` have them.
 */
export const SESSION_CHANNELS = [
    "ssmmessages:CreateControlChannel",
    "ssmmessages:CreateDataChannel",
    "ssmmessages:OpenControlChannel",
    "ssmmessages:OpenDataChannel",
] as const;

/**
 * All that a builder may do: read its own key and certificate, write to its own log stream (metrics travel in it), and, in access
 * mode `ssm`, keep its Session Manager channel. No rights in ECR: who builds brings the registry's credentials with each session.
 */
export function nodePolicy({ parameterArn, parameterKeyArn, logGroupArn, node, sessions }: NodeRights): PolicyDocument {
    const statements: PolicyStatement[] = [
        { Sid: "OwnCertificate", Effect: "Allow", Action: ["ssm:GetParameter"], Resource: parameterArn },
    ];
    if (parameterKeyArn !== undefined) {
        statements.push({
            Sid: "OwnCertificatesKey",
            Effect: "Allow",
            Action: ["kms:Decrypt"],
            Resource: parameterKeyArn,
            // Parameter Store encrypts under the parameter's name: the key opens nothing else (SSM user guide, "SecureString").
            Condition: { StringEquals: { "kms:EncryptionContext:PARAMETER_ARN": parameterArn } },
        });
    }
    if (logGroupArn !== undefined) {
        statements.push({
            Sid: "OwnLogStream",
            Effect: "Allow",
            Action: ["logs:CreateLogStream", "logs:PutLogEvents"],
            Resource: `${logGroupArn.replace(/:\*$/, "")}:log-stream:${node}`,
        });
    }
    if (sessions) {
        statements.push(
            {
                Sid: "SessionHeartbeat",
                Effect: "Allow",
                Action: ["ssm:UpdateInstanceInformation"],
                Resource: instancesBeside(parameterArn),
            },
            { Sid: "SessionChannels", Effect: "Allow", Action: [...SESSION_CHANNELS], Resource: "*" },
        );
    }
    return { Version: "2012-10-17", Statement: statements };
}

/** The instances of the account and region that another ARN is of: the role is there before its instance is. */
function instancesBeside(arn: string): string {
    const [, partition, , region, account] = arn.split(":");
    return `arn:${partition}:ec2:${region}:${account}:instance/*`;
}
