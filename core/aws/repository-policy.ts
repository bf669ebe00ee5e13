/** One statement of a repository's policy; the resource is the repository itself. */
export interface RepositoryStatement {
    Sid: string;
    Effect: "Allow";
    Principal: { AWS: string[] };
    Action: string[];
}

export interface RepositoryPolicyDocument {
    Version: "2012-10-17";
    Statement: RepositoryStatement[];
}

/** Manifests, layers, and what refers to them: `ListImageReferrers` asks for `BatchGetImage` (API reference). */
const PULL = ["ecr:BatchCheckLayerAvailability", "ecr:BatchGetImage", "ecr:GetDownloadUrlForLayer"];

/**
 * What a release does besides pulling: layers and manifests, the list of tags (which of `1.4`, `1`, `latest` may move), and ECR's
 * own findings. Nothing is ever deleted.
 */
const PUSH = [
    "ecr:CompleteLayerUpload",
    "ecr:DescribeImageScanFindings",
    "ecr:InitiateLayerUpload",
    "ecr:ListImages",
    "ecr:PutImage",
    "ecr:StartImageScan",
    "ecr:UploadLayerPart",
];

/**
 * Lets principals of other accounts (and of this one, where their own policies don't) pull, or pull and push. Whoever does either
 * needs `ecr:GetAuthorizationToken` in a policy of their own besides: it is of the registry, not of a repository.
 *
 * @returns nothing where there is nobody to let in: ECR takes no policy without statements.
 */
export function repositoryPolicy(
    pull: readonly string[],
    push: readonly string[],
): RepositoryPolicyDocument | undefined {
    const allow = (Sid: string, principals: readonly string[], actions: string[]): RepositoryStatement[] =>
        principals.length > 0
            ? [{ Sid, Effect: "Allow", Principal: { AWS: [...principals].sort() }, Action: actions }]
            : [];
    const Statement = [...allow("Pull", pull, PULL), ...allow("PushAndPull", push, [...PULL, ...PUSH].sort())];
    return Statement.length > 0 ? { Version: "2012-10-17", Statement } : undefined;
}
