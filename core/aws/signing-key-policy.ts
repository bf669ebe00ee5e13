/** One statement of a key's policy; its resource, `*`, is the key itself (KMS developer guide, "Key policies"). */
export interface KeyStatement {
    Sid: string;
    Effect: "Allow";
    Principal: { AWS: string | string[] };
    Action: string[];
    Resource: "*";
    Condition?: Record<string, Record<string, string>>;
}

export interface KeyPolicyDocument {
    Version: "2012-10-17";
    Statement: KeyStatement[];
}

/** KMS developer guide, "Key administrators", without what asymmetric keys don't have: everything but the use of the key. */
const ADMINISTRATION = [
    "kms:CancelKeyDeletion",
    "kms:CreateAlias",
    "kms:DeleteAlias",
    "kms:DescribeKey",
    "kms:DisableKey",
    "kms:EnableKey",
    "kms:GetKeyPolicy",
    // There is nothing to rotate, but the AWS provider asks with every read of a key, and of its policy.
    "kms:GetKeyRotationStatus",
    "kms:GetPublicKey",
    "kms:ListAliases",
    "kms:ListGrants",
    "kms:ListKeyPolicies",
    "kms:ListResourceTags",
    "kms:ListRetirableGrants",
    "kms:PutKeyPolicy",
    "kms:RevokeGrant",
    "kms:ScheduleKeyDeletion",
    "kms:TagResource",
    "kms:UntagResource",
    "kms:UpdateAlias",
    "kms:UpdateKeyDescription",
];
/** What cosign asks for to verify: the public half, and which algorithms it is for. */
const READING = ["kms:DescribeKey", "kms:GetPublicKey"];
/** The one algorithm that a key of this kind signs with, over a digest: nobody can have it sign something longer. */
const AS_COSIGN_DOES = {
    StringEquals: { "kms:MessageType": "DIGEST", "kms:SigningAlgorithm": "ECDSA_SHA_256" },
};

export interface KeyParties {
    signers: readonly string[];
    readers: readonly string[];
    administrators: readonly string[];
}

/**
 * Who may do what with a signing key. The account as such always keeps its administration, so that a key whose people are gone
 * can be taken over; where signers are named, its own policies can't let anybody else sign.
 *
 * @param keyArn tells the account and the partition.
 */
export function signingKeyPolicy(keyArn: string, { signers, readers, administrators }: KeyParties): KeyPolicyDocument {
    const [, partition = "aws", , , account = ""] = keyArn.split(":");
    const allow = (Sid: string, AWS: readonly string[], Action: string[], more: Partial<KeyStatement> = {}) =>
        AWS.length > 0
            ? [
                  {
                      Sid,
                      Effect: "Allow" as const,
                      Principal: { AWS: [...AWS].sort() },
                      Action,
                      Resource: "*" as const,
                      ...more,
                  },
              ]
            : [];
    const root = [`arn:${partition}:iam::${account}:root`];
    return {
        Version: "2012-10-17",
        Statement: [
            ...allow("AccountAdministers", root, ADMINISTRATION),
            ...allow("Administer", administrators, ADMINISTRATION),
            ...allow("Sign", signers.length > 0 ? signers : root, ["kms:Sign"], { Condition: AS_COSIGN_DOES }),
            ...allow("Verify", [...new Set([...signers, ...readers])], READING),
        ],
    };
}
