import { z } from "zod";
import { FormatError } from "../problems";
import { always, choice, type Fault, flag, late, off, text, whole } from "../schema";
import { fields, list, table } from "../schema-tables";
import { checkSettings, type Late } from "../settings";
import { parseVersion, versionExpected } from "../tags";
import { quote } from "../text";
import { arn } from "./leaves";
import { principals, resourceTags } from "./principals";
import { repositoryChecks } from "./repository-checks";
import { parseTagFilter } from "./tag-mutability";
import { needsCredentials, UPSTREAM_NAMES } from "./upstreams";

const nameExpected = "2 to 256 lower-case letters and digits, parted by single / . _ -";

/** As `CreateRepository` takes it (API reference, "repositoryName"). */
export function parseEcrName(value: string): string {
    const right = /^(?:[a-z0-9]+(?:[._-][a-z0-9]+)*\/)*[a-z0-9]+(?:[._-][a-z0-9]+)*$/.test(value);
    if (!right || value.length < 2 || value.length > 256) {
        throw new FormatError(`${quote(value)} is not a name of a repository in ECR`, nameExpected);
    }
    return value;
}

const repositoryName = text(nameExpected, parseEcrName);

const region = text('a region such as "eu-west-1"', (value) => {
    if (!/^[a-z]{2,4}(?:-[a-z]+){1,2}-\d{1,2}$/.test(value)) {
        throw new FormatError(`${quote(value)} is not a region`, 'a region such as "eu-west-1"');
    }
    return value;
});
const account = text("an account's number, 12 digits", (value) => {
    if (!/^\d{12}$/.test(value)) throw new FormatError(`${quote(value)} is not an account`, "12 digits");
    return value;
});

/** A pattern of a lifecycle rule (user guide, "Lifecycle policy properties": at most four `*`). */
const releasePattern = text('a pattern of tags such as "*.*.*"', (value) => {
    if (!/^[0-9a-zA-Z._*-]{1,128}$/.test(value) || (value.match(/\*/g)?.length ?? 0) > 4) {
        throw new FormatError(`${quote(value)} is not a pattern of tags`, 'tags, with at most four "*"');
    }
    return value;
});

const lifecycle = fields({
    releases: list(
        fields({
            tags: releasePattern.describe("Which tags are releases; `*.*.*` is every full version"),
            newest: whole({ min: 1, max: 10_000 }).describe("How many of them are kept, the newest by time of push"),
        }),
        { of: "rules {tags, newest}", identity: ({ tags }) => tags },
    )
        .default([{ tags: "*.*.*", newest: 100 }])
        .describe("What is kept of the releases; their platforms' images and signatures go with them"),
    protectedTags: list(text("a tag or a pattern", parseTagFilter), { of: "tags", identity: (tag) => tag })
        .default(["latest"])
        .describe("What these point at is never expired"),
});

const upstream = text("a registry that ECR can pull through", (value) => {
    if (needsCredentials(value) === undefined) {
        const hint = /^(?:docker\.io|index\.docker\.io)$/.test(value)
            ? 'did you mean "registry-1.docker.io"?'
            : undefined;
        throw new FormatError(
            `${quote(value)} is no registry that ECR pulls through`,
            `one of ${UPSTREAM_NAMES}`,
            hint,
        );
    }
    return value;
});

const cacheRule = fields({
    upstream: upstream.describe("Host of the registry"),
    credentialArn: arn(
        "secretsmanager",
        /^secret:ecr-pullthroughcache\//,
        "arn:aws:secretsmanager:eu-central-1:123456789012:secret:ecr-pullthroughcache/docker-hub-AbCdEf",
    )
        .optional()
        .describe("Secret with its credentials; its name begins with ecr-pullthroughcache/"),
});

function prefixFault(value: string): Fault | undefined {
    const right = /^[a-z0-9]+(?:[._-][a-z0-9]+)*$/.test(value) && value.length >= 2 && value.length <= 30;
    return right
        ? undefined
        : {
              found: `${quote(value)} is not a prefix`,
              expected: "2 to 30 lower-case letters and digits, parted by . _ -",
          };
}

/** The schema of an `EcrRepository`'s arguments. */
export function repositorySettings() {
    return fields({
        name: late(repositoryName).optional().describe("In the registry; the component's name when unset"),
        version: text(versionExpected, parseVersion)
            .optional()
            .describe("The version that is released: its tags `1.4`, `1` and `latest` may move, all others not"),
        movingTags: list(text("a tag or a pattern", parseTagFilter), { of: "tags", identity: (tag) => tag })
            .optional()
            .describe(
                "Tags that may move, all others not; unset with `version`, too: all but full versions (majors 0 to 3) and commits",
            ),
        encryption: choice(["aes256", "kms"]).optional().describe("`kms` where a key is given, else `aes256`"),
        kmsKey: late(
            arn(
                "kms",
                /^(?:key|alias)\/\S+$/,
                "arn:aws:kms:eu-central-1:123456789012:key/1234abcd-12ab-34cd-56ef-1234567890ab",
            ),
        )
            .optional()
            .describe("The customer's key; AWS's own for ECR when unset"),
        scanOnPush: flag().default(true).describe("Whether ECR scans what is pushed"),
        forceDelete: flag().default(false).describe("Whether a repository with images in it may be deleted"),
        lifecycle: z.union([off(), lifecycle]).prefault({}).describe("What expires; `false`: nothing ever does"),
        pull: late(principals).default([]).describe("Who else may pull: ARNs of roles, users, accounts"),
        push: late(principals).default([]).describe("Who else may push and pull"),
        replication: fields({
            destinations: list(
                fields({ region, registryId: late(account).optional().describe("The account; this one when unset") }),
                {
                    of: "destinations {region, registryId}",
                    min: 1,
                    identity: (to) =>
                        typeof to.region === "string" ? `${to.region} ${String(to.registryId ?? "")}` : undefined,
                },
            ),
        })
            .optional()
            .describe("Copies in other regions or accounts; it is the configuration of the whole registry"),
        pullThroughCache: table(cacheRule, "rules by prefix", prefixFault)
            .default({})
            .describe("Registries that ECR pulls through, by the prefix their images get here"),
        cache: fields({
            name: repositoryName.optional().describe("`cache/<name>` when unset"),
            expireAfterDays: whole({ min: 1, max: 3650 })
                .default(30)
                .describe("A cache that was not written for so long goes"),
        })
            .optional()
            .describe("A repository of its own for build caches, whose tags move"),
        tags: resourceTags.default({}).describe("Of everything that can have tags"),
    }).superRefine(repositoryChecks, always);
}

/** An `EcrRepository`'s arguments after parsing, defaults filled in. */
export type RepositorySettings = z.output<ReturnType<typeof repositorySettings>>;

/** @throws SettingsError with every problem at once. */
export function checkRepositorySettings(subject: string, value: unknown): Late<RepositorySettings> {
    return checkSettings(subject, repositorySettings() as z.ZodType<RepositorySettings>, value);
}
