import fc from "fast-check";
import { describe, expect, it } from "vitest";
import {
    branchOfPipeline,
    branchTag,
    commitTag,
    type GitFacts,
    type GitTagRules,
    gitTags,
    immutableOf,
} from "../../core/git-tags";
import { isTag } from "../../core/reference";
import { isFullVersion, versionTags } from "../../core/tags";

const commit = "0123456789abcdef0123456789abcdef01234567";
const clean: GitFacts = {
    commit,
    // 2026-11-22 23:59:59 UTC
    committedAt: Date.UTC(2026, 10, 22, 23, 59, 59) / 1000,
    branch: "feature/login",
    branches: ["main", "feature/login"],
    tags: ["v1.4.2"],
    changes: [],
};
const all: GitTagRules = { version: true, branch: true, commit: true, date: true, dirty: "refuse" };
const found = (facts: Partial<GitFacts>, rules: Partial<GitTagRules> = {}, taken: string[] = []) =>
    gitTags({ ...clean, ...facts }, { ...all, ...rules }, taken).problems.map((problem) => problem.found);

const branchName = fc.oneof(
    fc.stringMatching(/^[a-z0-9_]{115,135}$/),
    fc.string({ minLength: 1, maxLength: 200 }),
    fc.string({ unit: "binary", minLength: 1 }),
    fc.array(fc.constantFrom("a", "-", ".", "/", "é", "日本", "1"), { minLength: 1 }).map((parts) => parts.join("")),
);

describe("tags from Git", () => {
    it("are the branch's, the commit's and its day's; the version is the Git tag's", () => {
        expect(gitTags(clean, all)).toEqual({
            tags: ["feature-login", "sha-0123456789ab", "2026-11-22"],
            version: "1.4.2",
            problems: [],
        });
        const none = { version: false, branch: false, commit: false, date: false };
        expect(gitTags(clean, { ...all, ...none })).toEqual({ tags: [], version: "", problems: [] });
    });

    it("have no branch where HEAD is at none", () => {
        expect(gitTags({ ...clean, branch: "" }, all).tags).toEqual(["sha-0123456789ab", "2026-11-22"]);
    });

    it("take the highest of a commit's versions by SemVer, and pass over what is none", () => {
        const version = (...tags: string[]) => gitTags({ ...clean, tags }, all).version;
        expect(version("v1.9.0", "1.10.0", "v1.10.0-rc.1", "nightly", "1.4", "app/v9.0.0")).toBe("1.10.0");
        expect(version("v2.0.0-rc.1")).toBe("2.0.0-rc.1");
        expect(version("nightly")).toBe("");
    });

    it("tell of a version that no image's tag can hold", () => {
        expect(found({ tags: ["v1.4.2+5"] })).toEqual(['"v1.4.2+5" at this commit is no tag for an image']);
    });

    it("stay the same through the day, whatever the clock says, and from one run to the next", () => {
        fc.assert(
            fc.property(fc.integer({ min: 0, max: 4_102_444_799 }), fc.nat(86_399), (start, later) => {
                const day = Math.floor(start / 86_400) * 86_400;
                const at = (committedAt: number) => gitTags({ ...clean, committedAt }, all).tags.at(-1);
                expect(at(day + later)).toBe(at(day));
                expect(at(day)).not.toBe(at(day + 86_400));
                expect(at(day)).toBe(new Date(day * 1000).toISOString().slice(0, 10));
            }),
        );
    });
});

describe("a work tree with changes", () => {
    const changes = ["a", "b", "c", "d", "e", "f", "g"];

    it("is refused, the changes named", () => {
        expect(found({ changes })).toEqual([
            "what is built has changes that are not committed (a, b, c, d, e and 2 more)",
        ]);
        expect(found({ changes: ["a"] })[0]).toContain("(a)");
    });

    it("marks what says where it came from, and releases neither version nor date", () => {
        expect(gitTags({ ...clean, changes }, { ...all, dirty: "mark" })).toEqual({
            tags: ["feature-login-dirty", "sha-0123456789ab-dirty"],
            version: "",
            problems: [],
        });
    });
});

describe("a branch's tag", () => {
    it("is the branch's name where a tag can be named so", () => {
        fc.assert(
            fc.property(fc.stringMatching(/^[A-Za-z0-9_][A-Za-z0-9_.-]{0,120}$/), (name) => {
                expect(branchTag(name)).toBe(name);
            }),
        );
        expect(branchTag("dependabot/npm_and_yarn/@types/node-20")).toBe("dependabot-npm_and_yarn-types-node-20");
    });

    it("is a tag for every name, and stays one when it is marked", () => {
        fc.assert(
            fc.property(branchName, fc.boolean(), (branch, dirty) => {
                const changes = dirty ? ["file"] : [];
                const { tags } = gitTags({ ...clean, branch, changes }, { ...all, dirty: "mark" });
                expect(tags.filter((tag) => !isTag(tag))).toEqual([]);
                expect(new Set(tags).size).toBe(tags.length);
            }),
        );
    });

    it("keeps long names apart", () => {
        fc.assert(
            fc.property(fc.string({ minLength: 1 }), fc.string({ minLength: 1 }), (left, right) => {
                fc.pre(left !== right);
                const long = "x".repeat(130);
                expect(branchTag(long + left)).not.toBe(branchTag(long + right));
            }),
        );
    });

    it("is refused where another branch has the same", () => {
        const branches = ["feature/login", "feature-login", "feature/login", "main"];
        expect(found({ branches })).toEqual([
            'branches "feature/login" and "feature-login" give the same tag, "feature-login"',
        ]);
        expect(found({ branches }, { branch: false })).toEqual([]);
    });

    it.each([
        ["latest", "the tag of the highest version"],
        ["1.4", "a version's tag"],
        ["1", "a version's tag"],
        ["1.4.2", "a version's tag"],
        ["sha-0123456789ab", "a commit's tag"],
        ["2026-11-22", "a day's tag"],
        ["main-dirty", "the tag of a work tree with changes"],
    ])("%s is refused: it is %s", (branch, meaning) => {
        expect(found({ branch, branches: [branch] })).toEqual([`branch "${branch}" gives "${branch}", ${meaning}`]);
    });

    it("is refused where it has the form of a digest's tag", () => {
        const branch = `sha256-${"0".repeat(64)}.sig`;
        expect(found({ branch, branches: [branch] }).join()).toContain("a digest's tag");
    });

    it("never is one that a version, a commit, a day or `latest` has", () => {
        const risky = fc.oneof(
            branchName,
            fc.stringMatching(/^[0-9./-]{1,12}$/),
            fc.constantFrom("latest", "/latest", "1.4", "v1.4", commitTag(commit), "2026-11-22", "/2026-11-22"),
        );
        fc.assert(
            fc.property(risky, (branch) => {
                const { tags, version, problems } = gitTags({ ...clean, branch, branches: [] }, all);
                const versions = versionTags(version, { isHighest: true });
                expect(problems.length > 0 || new Set([...tags, ...versions]).size === 3 + versions.length).toBe(true);
            }),
        );
    });
});

describe("tags that are given, too", () => {
    it("may not be those of Git's version: one moves always, the other only forward", () => {
        expect(found({}, {}, ["stable", "1.4"])).toEqual([
            '"1.4" is among the tags, and a tag of version 1.4.2, which Git has at this commit',
        ]);
        expect(found({}, { version: false }, ["1.4"])).toEqual([]);
    });
});

describe("immutable tags", () => {
    const tags = ["1.4.2", "2.0.0-rc.1", "1.4", "1", "latest", "main", "sha-0123456789ab", "sha-0123456789ab-dirty"];

    it("are those of the kinds, and those by name", () => {
        expect(immutableOf(tags, ["versions"], [])).toEqual(["1.4.2", "2.0.0-rc.1"]);
        expect(immutableOf(tags, ["commits"], ["main"])).toEqual(["main", "sha-0123456789ab"]);
        expect(immutableOf(tags, [], ["main"])).toEqual(["main"]);
    });

    it("are never tags that move: a version's lines, a marked commit, a branch, a day", () => {
        fc.assert(
            fc.property(fc.tuple(fc.nat(9), fc.nat(9), fc.nat(9)), fc.boolean(), (version, dirty) => {
                const text = version.join(".");
                const facts = { ...clean, tags: [text], changes: dirty ? ["file"] : [] };
                const made = gitTags(facts, { ...all, dirty: "mark" });
                const released = made.version === "" ? [] : versionTags(made.version, { isHighest: true });
                const fixed = immutableOf([...made.tags, ...released], ["versions", "commits"], []);
                expect(fixed).toEqual(dirty ? [] : ["sha-0123456789ab", text]);
                expect(fixed.filter((tag) => tag !== commitTag(commit)).every(isFullVersion)).toBe(true);
            }),
        );
    });
});

describe("a pipeline's branch", () => {
    const buildkite = { BUILDKITE_BRANCH: "main", BUILDKITE_COMMIT: commit, BUILDKITE_PULL_REQUEST: "false" };

    it.each<[string, Record<string, string>, string]>([
        ["GitLab", { CI_COMMIT_BRANCH: "main", CI_COMMIT_SHA: commit }, "main"],
        ["GitLab, of another commit", { CI_COMMIT_BRANCH: "main", CI_COMMIT_SHA: "f".repeat(40) }, ""],
        ["GitLab, a tag or merge request", { CI_COMMIT_SHA: commit }, ""],
        ["Buildkite", buildkite, "main"],
        ["Buildkite, a pull request", { ...buildkite, BUILDKITE_PULL_REQUEST: "7" }, ""],
        ["Buildkite, a tag", { ...buildkite, BUILDKITE_TAG: "v1" }, ""],
        ["none", {}, ""],
    ])("%s: %s", (_name, env, branch) => {
        expect(branchOfPipeline(env, commit)).toBe(branch);
    });
});
