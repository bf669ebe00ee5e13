import type { LifecyclePolicyArgs } from "@pulumi/aws/ecr/lifecyclePolicy";
import type { PullThroughCacheRuleArgs } from "@pulumi/aws/ecr/pullThroughCacheRule";
import type { ReplicationConfigurationArgs } from "@pulumi/aws/ecr/replicationConfiguration";
import type { RepositoryArgs } from "@pulumi/aws/ecr/repository";
import type { RepositoryPolicyArgs } from "@pulumi/aws/ecr/repositoryPolicy";
import type * as pulumi from "@pulumi/pulumi";
import type { Transform } from "../../transform";

/** How many releases are kept. */
export interface EcrRetention {
    /** Pattern of a release's tags; `*.*.*` is every full version. */
    tags: string;
    /** So many of them, the newest by time of push. */
    newest: number;
}

export interface EcrLifecycleArgs {
    /** Default the newest 100 full versions. Their platforms' images, signatures and attestations go with them. */
    releases?: EcrRetention[];
    /** Tags or patterns; what they point at is never expired. Default `latest`. */
    protectedTags?: string[];
}

export interface EcrDestination {
    region: string;
    /** The account, 12 digits; default this one. */
    registryId?: pulumi.Input<string>;
}

/**
 * Copies of this repository in other regions or accounts, made by ECR after each push. ECR has one replication configuration
 * per account and region, and this is all of it: what others set there is replaced, and deleting the component ends
 * it. Only one repository of a stack may set it (the other is refused as a duplicate); for several repositories declare an
 * `aws.ecr.ReplicationConfiguration` of your own instead. Repositories whose names begin with this one's are copied, too: ECR
 * knows prefixes only. Lifecycle rules and settings are not copied.
 */
export interface EcrReplicationArgs {
    destinations: EcrDestination[];
}

/** A registry whose images ECR pulls and keeps: `<registry>/<prefix>/library/alpine`. One rule per prefix and registry. */
export interface EcrPullThroughArgs {
    /** `public.ecr.aws`, `registry-1.docker.io`, `ghcr.io`, … */
    upstream: string;
    /** Secret of Secrets Manager with its credentials, for registries that want some; its name begins with `ecr-pullthroughcache/`. */
    credentialArn?: pulumi.Input<string>;
}

/** A repository of its own for build caches: its tags move, and what nothing writes any more expires. */
export interface EcrCacheArgs {
    /** Default `cache/<name>`. */
    name?: string;
    /** Default 30. */
    expireAfterDays?: number;
}

export interface EcrRepositoryArgs {
    /** In the registry: `team/app`; default the component's name. Another name makes another repository. */
    name?: string;
    /**
     * The version that is released, the image's own `version`: its tags `1.4`, `1` and `latest` may move, and all others
     * are immutable.
     */
    version?: string;
    /**
     * Tags or patterns that may move, at most five with those of `version`; all others are immutable, `[]`: every one. Default,
     * with no `version` either: all may move but full versions (of the majors 0 to 3) and commits' tags (`sha-…`).
     */
    movingTags?: string[];
    /** Default `kms` where a key is given, else `aes256`. A change makes another repository. */
    encryption?: "aes256" | "kms";
    /** ARN of a key of yours; default AWS's own for ECR. */
    kmsKey?: pulumi.Input<string>;
    /** Default true. A registry with enhanced scanning has settings of its own. */
    scanOnPush?: boolean;
    /** Delete a repository that has images in it; default false. */
    forceDelete?: boolean;
    /** What expires; `false`: nothing ever does. */
    lifecycle?: EcrLifecycleArgs | false;
    /** ARNs of roles, users, accounts that may pull, besides who may by policies of their own. */
    pull?: pulumi.Input<string>[];
    /** The same to push and pull. */
    push?: pulumi.Input<string>[];
    replication?: EcrReplicationArgs;
    /** By the prefix that the images get here. */
    pullThroughCache?: Record<string, EcrPullThroughArgs>;
    /** Default none. */
    cache?: EcrCacheArgs;
    tags?: Record<string, pulumi.Input<string>>;
    transform?: EcrRepositoryTransform;
}

/** Last word on the children's arguments; the second argument is the child's name. */
export interface EcrRepositoryTransform {
    /** Of the repository, and of the cache's. */
    repository?: Transform<RepositoryArgs>;
    /** Of the repository, and of the cache's. */
    lifecyclePolicy?: Transform<LifecyclePolicyArgs>;
    policy?: Transform<RepositoryPolicyArgs>;
    replication?: Transform<ReplicationConfigurationArgs>;
    pullThroughCacheRule?: Transform<PullThroughCacheRuleArgs>;
}
