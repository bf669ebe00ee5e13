import { realpath } from "node:fs/promises";
import { isAbsolute, relative, resolve } from "node:path";
import { branchOfPipeline, type GitFacts } from "../core/git-tags";
import { type RunOptions, run } from "./process";

/**
 * Git looks at the folder it is given, also in a hook, where these say something else (githooks(5)); it takes no lock and
 * starts no watcher, so that looking leaves the work tree as it is.
 */
const ENVIRONMENT = {
    GIT_DIR: undefined,
    GIT_WORK_TREE: undefined,
    GIT_INDEX_FILE: undefined,
    GIT_PREFIX: undefined,
    GIT_NAMESPACE: undefined,
    GIT_OPTIONAL_LOCKS: "0",
    GIT_TERMINAL_PROMPT: "0",
    LC_ALL: "C",
};
const LOOK_ONLY = ["--literal-pathspecs", "-c", "core.fsmonitor=false"];

/**
 * What Git says of the work tree that holds a folder.
 *
 * @param paths whose changes count, relative to the current folder or absolute; those outside of the work tree are not looked at.
 * @throws CommandError where it is no work tree, or one without a commit.
 */
export async function readGit(folder: string, paths: string[]): Promise<GitFacts> {
    const git = async (args: string[], options: RunOptions = {}) =>
        (
            await run("git", ["-C", resolve(folder), ...LOOK_ONLY, ...args], {
                env: ENVIRONMENT,
                timeoutMs: 60_000,
                next: "set gitTags.folder to a folder of a Git work tree that has a commit, or leave gitTags out",
                ...options,
            })
        ).stdout.trimEnd();
    const root = await git(["rev-parse", "--show-toplevel"]);
    const [committedAt = "", commit = ""] = (await git(["rev-list", "--max-count=1", "--timestamp", "HEAD"])).split(
        " ",
    );
    const [head, tags, branches, changes] = await Promise.all([
        git(["symbolic-ref", "--quiet", "HEAD"], { okExitCodes: [0, 1] }),
        git(["for-each-ref", "--points-at=HEAD", "--format=%(refname:lstrip=2)", "refs/tags"]),
        git(["for-each-ref", "--format=%(refname)", "refs/heads", "refs/remotes"]),
        changesOf(root, paths, git),
    ]);
    return {
        commit,
        committedAt: Number(committedAt),
        branch: head.replace(/^refs\/heads\//, "") || branchOfPipeline(process.env, commit),
        branches: [...new Set(linesOf(branches).map(branchName))].sort(),
        tags: linesOf(tags),
        changes,
    };
}

const linesOf = (text: string) => text.split("\n").filter((line) => line !== "");

/** `refs/heads/main` and `refs/remotes/origin/main` are both `main`. */
const branchName = (ref: string) => ref.replace(/^refs\/(?:heads|remotes\/[^/]+)\//, "");

/** Changed, staged and new files; what .gitignore names is not looked at. */
async function changesOf(root: string, paths: string[], git: (args: string[]) => Promise<string>): Promise<string[]> {
    const inside = (await Promise.all(paths.map((path) => pathIn(root, path)))).filter((path) => path !== undefined);
    if (inside.length === 0) return [];
    const status = [
        "status",
        "--porcelain=v1",
        "-z",
        "--no-renames",
        "--untracked-files=normal",
        "--ignore-submodules=none",
    ];
    const entries = (await git([...status, "--", ...inside])).split("\0").filter((entry) => entry !== "");
    return entries.map((entry) => entry.slice(3));
}

/** Absolute; nothing where it is outside of the work tree, or is not there. */
async function pathIn(root: string, path: string): Promise<string | undefined> {
    const real = await realpath(resolve(path)).catch((error: NodeJS.ErrnoException) => {
        if (error.code === "ENOENT" || error.code === "ENOTDIR") return undefined;
        throw error;
    });
    if (real === undefined) return undefined;
    const below = relative(await realpath(root), real);
    return below.startsWith("..") || isAbsolute(below) ? undefined : real;
}
