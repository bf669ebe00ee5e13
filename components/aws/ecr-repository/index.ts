import { LifecyclePolicy } from "@pulumi/aws/ecr/lifecyclePolicy";
import { PullThroughCacheRule } from "@pulumi/aws/ecr/pullThroughCacheRule";
import { ReplicationConfiguration } from "@pulumi/aws/ecr/replicationConfiguration";
import { Repository as AwsRepository, type RepositoryArgs } from "@pulumi/aws/ecr/repository";
import { RepositoryPolicy } from "@pulumi/aws/ecr/repositoryPolicy";
import * as pulumi from "@pulumi/pulumi";
import { cacheLifecycle, type LifecyclePolicy as Rules, releaseLifecycle } from "../../../core/aws/ecr-lifecycle";
import { repositoryPolicy } from "../../../core/aws/repository-policy";
import { checkRepositorySettings, type RepositorySettings } from "../../../core/aws/repository-settings";
import { tagMutability } from "../../../core/aws/tag-mutability";
import type { CacheSourceArgs, CacheTargetArgs } from "../../images/cache-args";
import { withoutOutputs } from "../../plain";
import type { EcrAccessArgs, Repository } from "../../registry/repository";
import { applyTransform } from "../../transform";
import type { EcrRepositoryArgs, EcrRepositoryTransform } from "./args";

export type * from "./args";

/** A build cache in a repository of its own, as a `MultiPlatformImage` takes it: `...repository.cache`. */
export interface EcrCache {
    cacheFrom: CacheSourceArgs[];
    cacheTo: CacheTargetArgs[];
}

/** What all children share. */
interface Scope {
    name: string;
    args: EcrRepositoryArgs;
    settings: RepositorySettings;
    transform: EcrRepositoryTransform;
    child: pulumi.CustomResourceOptions;
}

/**
 * A repository in ECR for images that are released once and stay what they are: tags immutable but for those that move by
 * nature (`version` or `movingTags` say which; without either, only full versions and commits' tags stay), encrypted, scanned,
 * closed to all but who is named, and kept in bounds by rules that never take a part of an index that is there.
 *
 * ```ts
 * const repository = new EcrRepository("team/app", { version: "1.4.2", cache: {} });
 * const image = new MultiPlatformImage("app", { fleet, repository, ...repository.cache, version: "1.4.2", … });
 * ```
 *
 * @throws SettingsError with every problem of the arguments at once, before anything is declared.
 */
export class EcrRepository extends pulumi.ComponentResource implements Repository {
    /** `123456789012.dkr.ecr.eu-central-1.amazonaws.com/team/app`; known when its policies are in force. */
    readonly name: pulumi.Output<string>;
    /** The same, known as soon as it exists. */
    readonly url: pulumi.Output<string>;
    readonly arn: pulumi.Output<string>;
    /** `team/app` */
    readonly repositoryName: pulumi.Output<string>;
    /** How it is reached: with tokens that whoever runs Pulumi gets by AWS credentials of their own. */
    readonly connection: { ecr: EcrAccessArgs };
    /** Set where `cache` is. */
    readonly cache: EcrCache | undefined;

    constructor(name: string, args: EcrRepositoryArgs = {}, options?: pulumi.ComponentResourceOptions) {
        const settings = resolve(name, args);
        super("buildfleet:aws:EcrRepository", name, {}, options);
        const scope = { name, args, settings, transform: args.transform ?? {}, child: { parent: this } };
        const repository = createRepository(scope, name, releaseArgs(scope));
        const guards = [
            ...(settings.lifecycle ? [createLifecycle(scope, name, repository, releaseRules(settings))] : []),
            ...createPolicy(scope, repository),
            ...createReplication(scope, repository),
            ...createPullThrough(scope),
        ];
        this.arn = repository.arn;
        this.url = repository.repositoryUrl;
        this.name = afterAll(repository.repositoryUrl, guards);
        this.repositoryName = repository.name;
        this.connection = { ecr: { region: regionOf(repository.arn), registryId: repository.registryId } };
        this.cache = settings.cache && createCache(scope, settings.cache);
        this.registerOutputs({ name: this.name, url: this.url, arn: this.arn, repositoryName: this.repositoryName });
    }
}

function resolve(name: string, args: EcrRepositoryArgs): RepositorySettings {
    const { transform, ...rest } = args;
    const named = { ...rest, name: args.name ?? name };
    const subject = `EcrRepository ${JSON.stringify(name)}`;
    return checkRepositorySettings(subject, withoutOutputs(named)) as RepositorySettings;
}

/** The value, when these are done. */
const afterAll = (value: pulumi.Output<string>, others: pulumi.CustomResource[]) =>
    pulumi.all([value, ...others.map(({ id }) => id)]).apply(([known]) => known as string);

/** `arn:aws:ecr:eu-central-1:123456789012:repository/team/app` */
const regionOf = (arn: pulumi.Output<string>) => arn.apply((text) => text.split(":")[3] ?? "");

function createRepository(scope: Scope, name: string, args: RepositoryArgs): AwsRepository {
    return new AwsRepository(name, applyTransform(scope.transform.repository, args, name), scope.child);
}

function commonArgs({ args, settings }: Scope): RepositoryArgs {
    const { kmsKey } = args;
    const encryptionType = (settings.encryption ?? (kmsKey === undefined ? "aes256" : "kms")).toUpperCase();
    return {
        encryptionConfigurations: [{ encryptionType, ...(kmsKey === undefined ? {} : { kmsKey }) }],
        tags: args.tags ?? {},
    };
}

function releaseArgs(scope: Scope): RepositoryArgs {
    const { name, version, movingTags, scanOnPush, forceDelete } = scope.settings;
    const { imageTagMutability, filters } = tagMutability(movingTags, version);
    const exclusions = filters.map((filter) => ({ filter, filterType: "WILDCARD" }));
    return {
        ...commonArgs(scope),
        name: name as string,
        imageTagMutability,
        ...(exclusions.length > 0 ? { imageTagMutabilityExclusionFilters: exclusions } : {}),
        imageScanningConfiguration: { scanOnPush },
        forceDelete,
    };
}

function releaseRules({ lifecycle }: RepositorySettings): Rules {
    if (!lifecycle) throw new Error("unreachable: there is no policy without rules");
    return releaseLifecycle(lifecycle.releases, lifecycle.protectedTags);
}

function createLifecycle(scope: Scope, name: string, repository: AwsRepository, rules: Rules): LifecyclePolicy {
    const child = `${name}-lifecycle`;
    const args = { repository: repository.name, policy: JSON.stringify(rules) };
    return new LifecyclePolicy(child, applyTransform(scope.transform.lifecyclePolicy, args, child), scope.child);
}

function createPolicy({ name, args, transform, child }: Scope, repository: AwsRepository): RepositoryPolicy[] {
    const { pull = [], push = [] } = args;
    if (pull.length + push.length === 0) return [];
    const policy = pulumi
        .all([pulumi.all(pull), pulumi.all(push)])
        .apply(([pullers, pushers]) => JSON.stringify(repositoryPolicy(pullers, pushers)));
    const policyArgs = { repository: repository.name, policy };
    return [new RepositoryPolicy(`${name}-policy`, applyTransform(transform.policy, policyArgs), child)];
}

function createReplication({ args, transform, child }: Scope, repository: AwsRepository) {
    if (!args.replication) return [];
    const destinations = args.replication.destinations.map(({ region, registryId }) => ({
        region,
        registryId: registryId ?? repository.registryId,
    }));
    const rules = [{ destinations, repositoryFilters: [{ filter: repository.name, filterType: "PREFIX_MATCH" }] }];
    const replicationArgs = { replicationConfiguration: { rules } };
    // There is one per registry, so all components give it one name: Pulumi refuses the second.
    const name = "ecr-replication";
    return [new ReplicationConfiguration(name, applyTransform(transform.replication, replicationArgs), child)];
}

function createPullThrough({ name, args, transform, child }: Scope): PullThroughCacheRule[] {
    return Object.entries(args.pullThroughCache ?? {}).map(([prefix, { upstream, credentialArn }]) => {
        const childName = `${name}-pull-${prefix}`;
        const rule = {
            ecrRepositoryPrefix: prefix,
            upstreamRegistryUrl: upstream,
            ...(credentialArn === undefined ? {} : { credentialArn }),
        };
        return new PullThroughCacheRule(
            childName,
            applyTransform(transform.pullThroughCacheRule, rule, childName),
            child,
        );
    });
}

/** What is in it can be made again, so its tags move and deleting it loses nothing. */
function createCache(scope: Scope, cache: NonNullable<RepositorySettings["cache"]>): EcrCache {
    const name = `${scope.name}-cache`;
    const repository = createRepository(scope, name, {
        ...commonArgs(scope),
        name: cache.name ?? `cache/${scope.settings.name}`,
        imageTagMutability: "MUTABLE",
        imageScanningConfiguration: { scanOnPush: false },
        forceDelete: true,
    });
    const rules = createLifecycle(scope, name, repository, cacheLifecycle(cache.expireAfterDays));
    const ref = pulumi.interpolate`${afterAll(repository.repositoryUrl, [rules])}:cache`;
    return {
        cacheFrom: [{ registry: { ref } }],
        // ECR takes caches in an image's form alone (aws/containers-roadmap#876).
        cacheTo: [{ registry: { ref, mode: "max", imageManifest: true, ociMediaTypes: true } }],
    };
}
