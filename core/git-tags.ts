import { createHash } from "node:crypto";
import type { Problem } from "./problems";
import { isTag } from "./reference";
import { compareVersions, parseSemver, type Version } from "./semver";
import { isFullVersion, versionTags } from "./tags";
import { quote } from "./text";

/** What Git says of a work tree. */
export interface GitFacts {
    /** Full hash of HEAD. */
    commit: string;
    /** When it was committed, in seconds since 1970. */
    committedAt: number;
    /** `feature/login`; empty where HEAD is at no branch. */
    branch: string;
    /** Names of all branches that are known here, the remotes' included. */
    branches: readonly string[];
    /** Git tags at HEAD. */
    tags: readonly string[];
    /** Paths that differ from HEAD, of those that are built from. */
    changes: readonly string[];
}

/** Which tags an image gets from Git. */
export interface GitTagRules {
    version: boolean;
    branch: boolean;
    commit: boolean;
    date: boolean;
    /** What a work tree with changes does: refuse, or mark the tags with `-dirty`. */
    dirty: "refuse" | "mark";
}

/** What came of it: tags, the version where a Git tag names one (else empty), and what is wrong. */
export interface GitTags {
    tags: string[];
    version: string;
    problems: Problem[];
}

const longestTag = 128;
const dirtyMark = "-dirty";
const commitPattern = /^sha-[0-9a-f]{12}$/;

/**
 * The tags of a work tree:
 *
 * - version: that of the highest Git tag at the commit that is one (`v1.4.2`, `1.4.2`), for {@link versionTags};
 * - branch: its name, what no tag can hold replaced by `-` ({@link branchTag});
 * - commit: `sha-` and 12 digits of its hash;
 * - date: the day (UTC) of the commit, so that it stays the same until there is another commit.
 *
 * With changes that are not committed nothing is what its commit says: that is a problem, or, marked, gives the branch's and
 * the commit's tag with `-dirty`, and neither version nor date.
 *
 * @param taken tags that the image has anyway.
 */
export function gitTags(facts: GitFacts, rules: GitTagRules, taken: readonly string[] = []): GitTags {
    const dirty = facts.changes.length > 0;
    const mark = dirty ? dirtyMark : "";
    const versions = rules.version && !dirty ? versionsAt(facts.tags) : { version: "", problems: [] };
    const named = rules.branch && facts.branch !== "";
    const branch = named ? [branchTag(facts.branch, longestTag - mark.length) + mark] : [];
    const commit = rules.commit ? [commitTag(facts.commit) + mark] : [];
    const date = rules.date && !dirty ? [new Date(facts.committedAt * 1000).toISOString().slice(0, 10)] : [];
    const problems = [
        ...(dirty && rules.dirty === "refuse" ? [dirtyProblem(facts.changes)] : []),
        ...versions.problems,
        ...(named ? branchProblems(facts, mark) : []),
        ...takenProblems(versions.version, taken),
    ];
    return { tags: [...branch, ...commit, ...date], version: versions.version, problems };
}

/** `sha-` and the first 12 digits of a commit's hash: the prefix lets rules of registries name all of them. */
export function commitTag(commit: string): string {
    return `sha-${commit.slice(0, 12)}`;
}

/**
 * A branch's name as a tag: what a tag can't hold becomes `-` (`feature/login` is `feature-login`). One that is too long, or has
 * nothing left, ends in 8 digits of its SHA-256.
 */
export function branchTag(branch: string, longest: number = longestTag): string {
    const hash = createHash("sha256").update(branch).digest("hex").slice(0, 8);
    const tag = branch.replace(/[^A-Za-z0-9_.-]+/g, "-").replace(/^[.-]+/, "");
    if (tag === "") {
        return `branch-${hash}`;
    }
    return tag.length > longest ? `${tag.slice(0, longest - hash.length - 1)}-${hash}` : tag;
}

/** Kinds of tags that an image may declare immutable as a whole. */
export type ImmutableKind = "versions" | "commits";

/**
 * Those of an image's tags that may never move.
 *
 * @param kinds `versions`: every full version, prereleases too (`1.4.2`, `2.0.0-rc.1`); `commits`: every commit's tag.
 * @param names further ones, by name.
 */
export function immutableOf(
    tags: readonly string[],
    kinds: readonly ImmutableKind[],
    names: readonly string[],
): string[] {
    const byKind = tags.filter(
        (tag) =>
            (kinds.includes("versions") && isFullVersion(tag)) ||
            (kinds.includes("commits") && commitPattern.test(tag)),
    );
    return [...new Set([...names, ...byKind])];
}

/**
 * The branch that a pipeline builds, for those that check out a commit and no branch: GitLab (docs.gitlab.com/ci/variables,
 * set in no pipeline of a merge request or tag) and Buildkite (buildkite.com/docs/pipelines/configure/environment-variables).
 * Only where they speak of this very commit, and never a pull request's: its author chooses the branch's name.
 */
export function branchOfPipeline(env: Readonly<Record<string, string | undefined>>, commit: string): string {
    if (env.CI_COMMIT_BRANCH && env.CI_COMMIT_SHA === commit) {
        return env.CI_COMMIT_BRANCH;
    }
    const { BUILDKITE_BRANCH, BUILDKITE_COMMIT, BUILDKITE_PULL_REQUEST, BUILDKITE_TAG } = env;
    const pushed = BUILDKITE_COMMIT === commit && BUILDKITE_PULL_REQUEST === "false" && !BUILDKITE_TAG;
    return (pushed && BUILDKITE_BRANCH) || "";
}

function versionsAt(tags: readonly string[]): { version: string; problems: Problem[] } {
    const named = tags.flatMap((tag) => {
        const parsed = parseSemver(tag.replace(/^v/, ""));
        return parsed === undefined ? [] : [{ tag, text: tag.replace(/^v/, ""), parsed }];
    });
    // What no tag of an image can hold is told, not passed over: the release would go without its version.
    const problems = named
        .filter(({ text }) => !isTag(text))
        .map(({ tag }): Problem => {
            const hint = "a tag can't carry build metadata: tag the commit without it, or set gitTags.version to false";
            return {
                path: "version",
                found: `${quote(tag)} at this commit is no tag for an image`,
                expected: "a version",
                hint,
            };
        });
    const [highest] = named
        .filter(({ text }) => isTag(text))
        .sort((left, right) => compareVersions(right.parsed as Version, left.parsed as Version));
    return { version: highest?.text ?? "", problems };
}

function dirtyProblem(changes: readonly string[]): Problem {
    const shown = changes.slice(0, 5).join(", ");
    const rest = changes.length > 5 ? ` and ${changes.length - 5} more` : "";
    return {
        path: "dirty",
        found: `what is built has changes that are not committed (${shown}${rest})`,
        expected: "no changes",
        hint: 'commit them, or set gitTags.dirty to "mark", which tags with "-dirty" and releases no version',
    };
}

/** A branch's name is somebody's free choice; it must not become a tag that means something else, or another branch's. */
function branchProblems({ branch, branches }: GitFacts, mark: string): Problem[] {
    const tag = branchTag(branch, longestTag - mark.length);
    const expected = "a tag of the branch's own";
    const hint = "rename the branch, or set gitTags.branch to false and give tags";
    const meaning = meaningOf(tag);
    const same = branches.filter((other) => other !== branch && branchTag(other, longestTag - mark.length) === tag);
    return [
        ...(meaning === undefined
            ? []
            : [{ path: "branch", found: `branch ${quote(branch)} gives ${quote(tag)}, ${meaning}`, expected, hint }]),
        ...(same.length === 0
            ? []
            : [
                  {
                      path: "branch",
                      found: `branches ${[branch, ...new Set(same)].map(quote).join(" and ")} give the same tag, ${quote(tag)}`,
                      expected,
                      hint,
                  },
              ]),
    ];
}

function meaningOf(tag: string): string | undefined {
    if (tag === "latest") {
        return "the tag of the highest version";
    }
    if (isFullVersion(tag) || /^\d+(?:\.\d+)?$/.test(tag)) {
        return "a version's tag";
    }
    if (commitPattern.test(tag)) {
        return "a commit's tag";
    }
    if (/^(?:child-)?sha256-[0-9a-f]{64}/.test(tag)) {
        return "a digest's tag";
    }
    if (/^\d{4}-\d{2}-\d{2}$/.test(tag)) {
        return "a day's tag";
    }
    return tag.endsWith(dirtyMark) ? "the tag of a work tree with changes" : undefined;
}

/** A tag that is given moves always; a version's moves only forward. One name can't do both. */
function takenProblems(version: string, taken: readonly string[]): Problem[] {
    const own = version === "" ? [] : versionTags(version);
    return taken
        .filter((tag) => own.includes(tag))
        .map((tag) => ({
            path: "version",
            found: `${quote(tag)} is among the tags, and a tag of version ${version}, which Git has at this commit`,
            expected: "tags besides the version's",
            hint: "leave it out of tags",
        }));
}
