import { Provider } from "@pulumi/aws/provider";
import * as pulumi from "@pulumi/pulumi";
import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { EcrRepository, type EcrRepositoryArgs } from "../../components/aws/ecr-repository";
import { repositoryPolicy } from "../../core/aws/repository-policy";
import { parseEcrName } from "../../core/aws/repository-settings";
import { parseTagFilter, tagMutability } from "../../core/aws/tag-mutability";
import { isFullVersion, versionTags } from "../../core/tags";
import { MultiPlatformImage } from "../../index";
import { declare, digestOf, find, inventory } from "../support/declared";
import { matches } from "../support/ecr-lifecycle-model";

const declareRepository = (args?: EcrRepositoryArgs, options?: pulumi.ComponentResourceOptions) =>
    declare(() => {
        const { name, url, arn, repositoryName, connection, cache } = new EcrRepository("team/app", args, options);
        return { name, url, arn, repositoryName, connection, cache };
    });
const REPOSITORY = "aws:ecr/repository:Repository";
const ROLE = "arn:aws:iam::111122223333:role/deploy";

describe("an EcrRepository", () => {
    it("is a repository and its rules, and says how it is reached", async () => {
        const { resources, result } = await declareRepository();
        expect(inventory(resources)).toEqual([
            "aws:ecr/lifecyclePolicy:LifecyclePolicy team/app-lifecycle",
            `${REPOSITORY} team/app`,
            "buildfleet:aws:EcrRepository team/app",
        ]);
        expect(find(resources, "team/app", REPOSITORY)).toMatchObject({
            parent: "team/app",
            inputs: {
                name: "team/app",
                encryptionConfigurations: [{ encryptionType: "AES256" }],
                imageScanningConfiguration: { scanOnPush: true },
                forceDelete: false,
            },
        });
        const url = "123456789012.dkr.ecr.eu-central-1.amazonaws.com/team/app";
        expect(result).toEqual({
            name: url,
            url,
            arn: "arn:aws:ecr:eu-central-1:123456789012:repository/team/app",
            repositoryName: "team/app",
            connection: { ecr: { region: "eu-central-1", registryId: "123456789012" } },
        });
    });

    it("has everything that can be set, all of it below it, tagged, and of the provider that was given", async () => {
        const { resources } = await declare(() => {
            const provider = new Provider("elsewhere", { region: "eu-west-1" });
            return new EcrRepository(
                "team/app",
                {
                    kmsKey: "arn:aws:kms:eu-west-1:123456789012:key/1234abcd-12ab-34cd-56ef-1234567890ab",
                    pull: [ROLE],
                    push: [pulumi.output("arn:aws:iam::123456789012:role/ci")],
                    replication: { destinations: [{ region: "us-east-1" }] },
                    pullThroughCache: { public: { upstream: "public.ecr.aws" } },
                    cache: { expireAfterDays: 7 },
                    tags: { team: "platform" },
                },
                { provider },
            ).name;
        });
        const children = resources.filter(({ type }) => type.startsWith("aws:"));
        expect(children.map(({ name }) => name).sort()).toEqual([
            "ecr-replication",
            "team/app",
            "team/app-cache",
            "team/app-cache-lifecycle",
            "team/app-lifecycle",
            "team/app-policy",
            "team/app-pull-public",
        ]);
        for (const child of children) expect(child).toMatchObject({ parent: "team/app", madeBy: "elsewhere" });
        for (const { inputs } of children.filter(({ type }) => type === REPOSITORY)) {
            expect(inputs.tags).toEqual({ team: "platform" });
            expect(inputs.encryptionConfigurations).toEqual([
                { encryptionType: "KMS", kmsKey: expect.stringContaining(":key/1234abcd") },
            ]);
        }
        expect(find(resources, "ecr-replication").inputs.replicationConfiguration.rules).toEqual([
            {
                destinations: [{ region: "us-east-1", registryId: "123456789012" }],
                repositoryFilters: [{ filter: "team/app", filterType: "PREFIX_MATCH" }],
            },
        ]);
        expect(JSON.parse(find(resources, "team/app-policy").inputs.policy)).toEqual(
            repositoryPolicy([ROLE], ["arn:aws:iam::123456789012:role/ci"]),
        );
    });

    it("takes images whose builds keep their cache beside it", async () => {
        const { resources } = await declare(() => {
            const repository = new EcrRepository("app", { cache: {} });
            const fleet = { nodes: [{ name: "a", endpoint: "unix:///a.sock", platforms: ["linux/arm64"] }] };
            return new MultiPlatformImage("app", {
                ...{ fleet, repository, ...repository.cache },
                ...{ context: ".", platforms: ["linux/arm64"], sign: false, scan: { failOn: "none" } },
            }).ref;
        });
        const host = "123456789012.dkr.ecr.eu-central-1.amazonaws.com";
        const ref = `${host}/cache/app:cache-linux-arm64`;
        expect(find(resources, "app-image-linux-arm64").inputs).toMatchObject({
            cacheFrom: [{ registry: { ref } }],
            cacheTo: [{ registry: { ref, mode: "max", imageManifest: true, ociMediaTypes: true } }],
            exports: [{ image: { names: [`${host}/app`] } }],
        });
        expect(find(resources, "app-cache", REPOSITORY).inputs).toMatchObject({
            imageTagMutability: "MUTABLE",
            forceDelete: true,
        });
        expect(find(resources, "app-login").inputs).toEqual({
            registry: host,
            ecr: { region: "eu-central-1", registryId: "123456789012" },
        });
        // What ECR's rules of expiry know platforms' images by.
        expect(find(resources, "app-promotion").inputs.children).toEqual([digestOf("app-image-linux-arm64")]);
    });

    it("is known by its name when its policies are in force", async () => {
        const { resources } = await declare(() => {
            const repository = new EcrRepository("app", { pull: [ROLE] });
            return new EcrRepository("after", { tags: { first: repository.name } }).arn;
        });
        const { dependsOn } = find(resources, "after", REPOSITORY);
        expect(dependsOn).toEqual(expect.arrayContaining(["app", "app-lifecycle", "app-policy"]));
    });

    it("gives each child its transform", async () => {
        const { resources } = await declareRepository({
            pull: [ROLE],
            cache: {},
            transform: {
                repository: (args, name) => ({ ...args, tags: { name: name ?? "" } }),
                lifecyclePolicy: (args) => ({ ...args, policy: "{}" }),
                policy: (args) => ({ ...args, policy: "mine" }),
            },
        });
        expect(find(resources, "team/app-cache").inputs.tags).toEqual({ name: "team/app-cache" });
        expect(find(resources, "team/app-lifecycle").inputs.policy).toBe("{}");
        expect(find(resources, "team/app-policy").inputs.policy).toBe("mine");
    });

    it("has no rules where nothing is to expire", async () => {
        expect(inventory((await declareRepository({ lifecycle: false })).resources)).toHaveLength(2);
    });
});

describe("tags of a repository", () => {
    const mutability = async (args: EcrRepositoryArgs) => {
        const { inputs } = find((await declareRepository(args)).resources, "team/app", REPOSITORY);
        const filters = inputs.imageTagMutabilityExclusionFilters as
            | { filter: string; filterType: string }[]
            | undefined;
        expect(filters?.every(({ filterType }) => filterType === "WILDCARD") ?? true).toBe(true);
        return [inputs.imageTagMutability, filters?.map(({ filter }) => filter)];
    };

    it.each<[EcrRepositoryArgs, string, string[] | undefined]>([
        [{ movingTags: [] }, "IMMUTABLE", undefined],
        [{ movingTags: ["latest", "branch-*"] }, "IMMUTABLE_WITH_EXCLUSION", ["latest", "branch-*"]],
        [{ version: "1.4.2" }, "IMMUTABLE_WITH_EXCLUSION", ["1.4", "1", "latest"]],
        [{ version: "0.4.2", movingTags: ["stable"] }, "IMMUTABLE_WITH_EXCLUSION", ["stable", "0.4", "latest"]],
        [{ version: "2.0.0-rc.1" }, "IMMUTABLE", undefined],
        [{}, "MUTABLE_WITH_EXCLUSION", ["0.*.*", "1.*.*", "2.*.*", "3.*.*", "sha-*"]],
    ])("%j: %s %j", async (args, expected, filters) => {
        expect(await mutability(args)).toEqual([expected, filters]);
    });

    const version = fc
        .tuple(fc.integer({ min: 0, max: 3 }), fc.nat(20), fc.nat(20), fc.constantFrom("", "-rc.1"))
        .map(([major, minor, patch, pre]) => `${major}.${minor}.${patch}${pre}`);
    const moves = ({ imageTagMutability, filters }: ReturnType<typeof tagMutability>, tag: string) =>
        filters.some((filter) => matches(filter, tag)) === imageTagMutability.startsWith("IMMUTABLE");

    it("let a release set all of its tags, and never move a full version, whichever way they are declared", () => {
        fc.assert(
            fc.property(version, (text) => {
                for (const tags of [tagMutability(undefined, text), tagMutability(undefined, undefined)])
                    for (const tag of versionTags(text, { isHighest: true }))
                        expect([tag, moves(tags, tag)]).toEqual([tag, !isFullVersion(tag)]);
            }),
        );
    });

    it("are no patterns that let a full version move", () => {
        const piece = fc.constantFrom("*", "1", ".", "4", "-", "rc", "latest", "v");
        const pattern = fc.array(piece, { minLength: 1, maxLength: 5 }).map((pieces) => pieces.join(""));
        const accepted = (text: string) => {
            try {
                return parseTagFilter(text) === text;
            } catch {
                return false;
            }
        };
        fc.assert(
            fc.property(pattern.filter(accepted), version, (filter, text) => {
                expect(matches(filter, text)).toBe(false);
            }),
            { numRuns: 5_000 },
        );
    });
});

describe("a repository's policy", () => {
    const everyone = repositoryPolicy(["arn:aws:iam::1:root"], ["arn:aws:iam::2:role/ci"])?.Statement ?? [];

    it("lets the named pull, and others push, and nobody delete or change anything", () => {
        expect(everyone.map(({ Sid, Principal }) => [Sid, Principal.AWS])).toEqual([
            ["Pull", ["arn:aws:iam::1:root"]],
            ["PushAndPull", ["arn:aws:iam::2:role/ci"]],
        ]);
        const actions = everyone.flatMap(({ Action }) => Action);
        expect(actions.filter((action) => /\*|Delete|Policy|Tag|Replicate|CreateRepository/.test(action))).toEqual([]);
        const [pull] = everyone;
        expect(pull?.Action).toEqual([
            "ecr:BatchCheckLayerAvailability",
            "ecr:BatchGetImage",
            "ecr:GetDownloadUrlForLayer",
        ]);
    });

    it("is none where nobody is named", () => {
        expect(repositoryPolicy([], [])).toBeUndefined();
    });
});

describe("settings that are wrong", () => {
    it.each<[string, object, string]>([
        ["a name in capitals", { name: "Team/App" }, 'name: "Team/App" is not a name of a repository in ECR'],
        ["a name with two dashes", { name: "a--b" }, "name: "],
        ["a name of one letter", { name: "a" }, "name: "],
        ["a pattern that moves versions", { movingTags: ["1.*"] }, 'movingTags[0]: "1.*" would let 1.4.2 move'],
        ["every tag moving", { movingTags: ["*"] }, "movingTags[0]: "],
        ["three stars", { movingTags: ["a*b*c*"] }, 'has more than two "*"'],
        ["too many moving tags", { version: "1.4.2", movingTags: ["a", "b", "c"] }, "movingTags: 6 tags would move"],
        ["the same tag twice", { movingTags: ["a", "a"] }, "movingTags[1]: the same as item 0"],
        ["a version that is none", { version: "1.4" }, 'version: "1.4" is not a version'],
        [
            "a key without KMS",
            { encryption: "aes256", kmsKey: "arn:aws:kms:eu-west-1:123456789012:key/a" },
            "kmsKey: set together",
        ],
        ["a key's id", { kmsKey: "1234abcd" }, "kmsKey: "],
        ["everybody", { pull: ["*"] }, 'pull[0]: "*" may be anybody'],
        ["an account's number", { pull: ["123456789012"] }, 'did you mean "arn:aws:iam::123456789012:root"?'],
        ["a service", { push: ["ecs.amazonaws.com"] }, "push[0]: "],
        [
            "a pattern of everything",
            { lifecycle: { releases: [{ tags: "*", newest: 3 }] } },
            "matches the tags of platform images",
        ],
        [
            "keeping none",
            { lifecycle: { releases: [{ tags: "*.*.*", newest: 0 }] } },
            "lifecycle.releases[0].newest: 0",
        ],
        ["a rule for what is protected", { lifecycle: { releases: [{ tags: "latest", newest: 3 }] } }, "is protected"],
        ["an untagged rule", { lifecycle: { untagged: 1 } }, "lifecycle.untagged: not a setting"],
        ["no destination", { replication: { destinations: [] } }, "replication.destinations: empty"],
        ["a zone", { replication: { destinations: [{ region: "eu-west-1a" }] } }, "is not a region"],
        ["the cache in the repository", { cache: { name: "team/app" } }, "cache.name: the same"],
        [
            "a cache that is replicated",
            { cache: { name: "team/app-cache" }, replication: { destinations: [{ region: "eu-west-1" }] } },
            "would be replicated",
        ],
        [
            "Docker Hub by its short name",
            { pullThroughCache: { hub: { upstream: "docker.io" } } },
            'did you mean "registry-1.docker.io"?',
        ],
        [
            "Docker Hub without credentials",
            { pullThroughCache: { hub: { upstream: "registry-1.docker.io" } } },
            "credentialArn: missing",
        ],
        ["a prefix with a slash", { pullThroughCache: { "a/b": { upstream: "quay.io" } } }, "is not a prefix"],
        ["AWS's own tag", { tags: { "aws:cloudformation": "x" } }, "is reserved for AWS"],
        ["a setting that is none", { mutable: true }, "mutable: not a setting"],
    ])("%s", async (_what, args, said) => {
        await expect(declareRepository(args as EcrRepositoryArgs)).rejects.toThrow(said);
    });

    it("are told all at once, before anything is declared", async () => {
        const wrong = { name: "A", pull: ["*"], movingTags: ["*"] };
        await expect(declareRepository(wrong)).rejects.toThrow('EcrRepository "team/app": 3 problems');
    });

    it("are not those of names that ECR takes", () => {
        const part = fc.stringMatching(/^[a-z0-9]{1,12}$/);
        const path = fc.array(
            fc.array(part, { minLength: 1, maxLength: 3 }).map((parts) => parts.join("-")),
            {
                minLength: 1,
                maxLength: 4,
            },
        );
        fc.assert(
            fc.property(
                path.map((parts) => parts.join("/")).filter((name) => name.length > 1),
                (name) => {
                    expect(parseEcrName(name)).toBe(name);
                },
            ),
        );
    });
});
