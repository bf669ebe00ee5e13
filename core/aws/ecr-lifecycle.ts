import { parseDigest } from "../digest";

/*
 * What ECR's lifecycle rules can and can't tell apart (user guide, "Lifecycle policy evaluation rules") decides what may be expired:
 *
 * - A staged index, a signature, an attestation and a platform's image are all "untagged": to one who gates before it tags, an
 *   `untagged` rule is never safe. A signature that is older than the rule's days would go while its image lives on
 *   (aws/containers-roadmap#2613), and so would an index that waits for its release. So there is no such rule.
 * - `any`, and a pattern that matches everything, count images of platforms and signatures as if they were releases. So releases
 *   are counted by the pattern of their tags alone.
 * - An image that an index refers to is never expired while the index is there. So a platform's image, which gets a tag of its
 *   own when its index is released, can be expired by a rule that takes all of those tags: it can only hit the ones that lost
 *   their last index. Without that tag their bytes, which are nearly all there is, would stay for ever.
 * - Signatures and attestations follow their image within a day, by themselves.
 * - An image that matches a rule's tags can't be expired by a later rule. So what must stay is matched first.
 */

/** Days or numbers of images; `PutLifecyclePolicy`'s own form. */
export interface LifecycleRule {
    rulePriority: number;
    description: string;
    selection: {
        tagStatus: "tagged" | "untagged" | "any";
        /** All of them must match a tag; `*` stands for any characters, at most four times. */
        tagPatternList?: string[];
        countType: "imageCountMoreThan" | "sinceImagePushed";
        countUnit?: "days";
        countNumber: number;
    };
    action: { type: "expire" };
}

export interface LifecyclePolicy {
    rules: LifecycleRule[];
}

/** How many releases are kept. */
export interface Retention {
    /** Pattern of a release's tag; `*.*.*` is every full version and nothing else that is tagged here. */
    tags: string;
    /** So many of them, by the time they were pushed. */
    newest: number;
}

/** Prefix of the tag that each platform's image gets when its index is released; no branch is called so. */
const CHILD_PREFIX = "child-sha256-";

/** The tag of a platform's image: made of its digest (64 of its digits), so it never moves. */
export const childTag = (digest: string) => `${CHILD_PREFIX}${parseDigest(digest).replace(/^.*:/, "").slice(0, 64)}`;

/** More images than a repository can hold by default (20,000 is the quota's order): expires nothing, and shields what matches. */
const NEVER = 99_999;

type Selected = Pick<LifecycleRule["selection"], "tagStatus" | "tagPatternList">;

function rule(description: string, selected: Selected, count: { newest: number } | { days: number }) {
    return {
        description,
        selection: {
            ...selected,
            ...("newest" in count
                ? { countType: "imageCountMoreThan" as const, countNumber: count.newest }
                : { countType: "sinceImagePushed" as const, countUnit: "days" as const, countNumber: count.days }),
        },
        action: { type: "expire" as const },
    };
}

const tagged = (pattern: string): Selected => ({ tagStatus: "tagged", tagPatternList: [pattern] });

/** In order; ECR sorts by the priority, and a policy in another order would differ from what it gives back. */
const numbered = (rules: Omit<LifecycleRule, "rulePriority">[]): LifecyclePolicy => ({
    rules: rules.map((each, i) => ({ rulePriority: i + 1, ...each })),
});

/**
 * The policy of a repository that images are released to: of the releases that match a pattern the newest stay, with their
 * platforms' images, signatures and attestations; what has one of the protected tags stays in any case. What was staged and
 * never released stays, too.
 *
 * @param protectedTags tags or patterns: the images that carry one are never expired.
 */
export function releaseLifecycle(releases: readonly Retention[], protectedTags: readonly string[]): LifecyclePolicy {
    return numbered([
        ...protectedTags.map((tag) => rule(`Keep what ${tag} points at`, tagged(tag), { newest: NEVER })),
        rule("Platform images that no index refers to any more", tagged(`${CHILD_PREFIX}*`), { days: 1 }),
        ...releases.map(({ tags, newest }) => rule(`The newest ${newest} of ${tags}`, tagged(tags), { newest })),
    ]);
}

/** The policy of a repository for build caches: whatever was not written again for so many days goes. */
export function cacheLifecycle(days: number): LifecyclePolicy {
    return numbered([
        rule("Caches that were written anew", { tagStatus: "untagged" }, { days: 1 }),
        rule(`Caches that nothing wrote for ${days} days`, { tagStatus: "any" }, { days }),
    ]);
}

/** Whether a pattern of ECR's (`*` alone is special) matches a tag. */
export function matchesTag(pattern: string, tag: string): boolean {
    const source = pattern.split("*").map((part) => part.replace(/[.+?^${}()|[\]\\]/g, "\\$&"));
    return new RegExp(`^${source.join(".*")}$`).test(tag);
}

/** Tags that are not a release's: a pattern for releases that matches one of them would count what it must not. */
export const NO_RELEASES: readonly { tag: string; what: string }[] = [
    { tag: childTag(`sha256:${"0".repeat(64)}`), what: "the tags of platform images" },
    { tag: `sha256-${"0".repeat(64)}`, what: "the tags that hold signatures where a registry has no referrers" },
];
