export interface Settings {
    /** 12 digits. */
    account: string;
    region: string;
    /**
     * On GitHub, as its tokens name it: `OWNER@OWNER-ID/NAME@ID`. Where the immutable form is not switched on, in a repository from before
     * July 15, 2026, `OWNER/NAME`. `gh api repos/OWNER/NAME --jq '.owner.id, .id'` prints the numbers.
     */
    repository: string;
    /** The job's environment: its protection rules say which branches may release. */
    environment: string;
    /** The name of the repository in ECR; its cache's is `cache/<name>`. */
    ecrRepository: string;
    /** The name of the `Ec2Fleet`, which is in the tag `buildfleet:fleet` of its machines. */
    fleet: string;
    signingKeyArn: string;
    /** Where Pulumi keeps the state of the stack. */
    stateBucket: string;
    /** The key of Pulumi's secrets provider (`awskms://`). */
    stateKeyArn: string;
}

const document = (...statements: object[]) => ({ Version: "2012-10-17", Statement: statements });

/** Only jobs of this repository in this environment: both claims are compared in full, not by a pattern. */
export const trustOf = (provider: string, { repository, environment }: Settings) =>
    document({
        Effect: "Allow",
        Principal: { Federated: provider },
        Action: "sts:AssumeRoleWithWebIdentity",
        Condition: {
            StringEquals: {
                "token.actions.githubusercontent.com:aud": "sts.amazonaws.com",
                "token.actions.githubusercontent.com:sub": `repo:${repository}:environment:${environment}`,
            },
        },
    });

/** What `pulumi up` of the images' stack does, and nothing else. `*` stands only where IAM knows no resource, and nothing is changed. */
export function releaseRights(settings: Settings) {
    const { account, region, ecrRepository, fleet, signingKeyArn, stateBucket, stateKeyArn } = settings;
    const allow = (Sid: string, Action: string[], Resource: string | string[], Condition?: object) => ({
        Sid,
        Effect: "Allow",
        Action,
        Resource,
        ...(Condition && { Condition }),
    });
    const instances = `arn:aws:ec2:${region}:${account}:instance/*`;
    const ofTheFleet = (prefix: string) => ({ StringEquals: { [`${prefix}:ResourceTag/buildfleet:fleet`]: fleet } });
    return document(
        allow("State", ["s3:GetObject", "s3:PutObject", "s3:DeleteObject"], `arn:aws:s3:::${stateBucket}/*`),
        allow("StateList", ["s3:ListBucket"], `arn:aws:s3:::${stateBucket}`),
        allow("StateSecrets", ["kms:Encrypt", "kms:Decrypt"], stateKeyArn),
        allow("Signing", ["kms:Sign", "kms:GetPublicKey", "kms:DescribeKey"], signingKeyArn),
        allow("RegistryLogin", ["ecr:GetAuthorizationToken"], "*"),
        allow("Images", ECR_ACTIONS, [
            `arn:aws:ecr:${region}:${account}:repository/${ecrRepository}`,
            `arn:aws:ecr:${region}:${account}:repository/cache/${ecrRepository}`,
        ]),
        allow("FindBuilders", ["ec2:DescribeInstances"], "*"),
        allow("WakeBuilders", ["ec2:StartInstances"], instances, ofTheFleet("aws")),
        allow("ReachBuilders", ["ssm:StartSession"], instances, ofTheFleet("ssm")),
        allow("ReachByPortForwarding", ["ssm:StartSession"], "arn:aws:ssm:*::document/AWS-StartPortForwardingSession"),
        allow(
            "OwnSessions",
            ["ssm:TerminateSession", "ssm:ResumeSession"],
            `arn:aws:ssm:${region}:${account}:session/\${aws:userid}-*`,
        ),
    );
}

/** Making the repository and keeping its settings, and moving images. Deleting either is not among them. */
const ECR_ACTIONS = [
    "ecr:CreateRepository",
    "ecr:DescribeRepositories",
    "ecr:GetLifecyclePolicy",
    "ecr:GetRepositoryPolicy",
    "ecr:ListTagsForResource",
    "ecr:PutImageScanningConfiguration",
    "ecr:PutImageTagMutability",
    "ecr:PutLifecyclePolicy",
    "ecr:SetRepositoryPolicy",
    "ecr:TagResource",
    "ecr:BatchCheckLayerAvailability",
    "ecr:BatchGetImage",
    "ecr:CompleteLayerUpload",
    "ecr:DescribeImages",
    "ecr:DescribeImageScanFindings",
    "ecr:GetDownloadUrlForLayer",
    "ecr:InitiateLayerUpload",
    "ecr:ListImages",
    "ecr:PutImage",
    "ecr:UploadLayerPart",
];
