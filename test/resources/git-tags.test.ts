import { execFileSync } from "node:child_process";
import { mkdirSync, mkdtempSync, realpathSync, rmSync, statSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, describe, expect, it, vi } from "vitest";
import { type Inputs, operations } from "../../resources/git-tags/operations";

const UNKNOWN = "04da6b54-80e4-46f7-96ec-b56ff0331ba9";
/** 2026-11-21 23:30 in UTC; the next day where it was committed. */
const WHEN = "2026-11-22T00:30:00+01:00";
let root: string;
let commit: string;

const git = (...args: string[]) =>
    execFileSync("git", ["-C", root, "-c", "user.name=a", "-c", "user.email=a@example.com", ...args], {
        encoding: "utf8",
        env: { ...process.env, GIT_AUTHOR_DATE: WHEN, GIT_COMMITTER_DATE: WHEN, GIT_CONFIG_GLOBAL: "/dev/null" },
        stdio: ["ignore", "pipe", "ignore"],
    }).trim();
const write = (path: string, text = path) => writeFileSync(join(root, path), text);
const rules = { version: true, branch: true, commit: true, date: true, dirty: "refuse" as const };

/** As the engine asks: the inputs complete, or what is wrong. */
async function check(more: Partial<Inputs> = {}) {
    const asked = { folder: join(root, "service"), paths: [], rules, taken: [], ...more };
    const { inputs, failures } = await operations.check({}, asked);
    return { ...(inputs as Inputs), failures: failures.map(({ property, reason }) => `${property}: ${reason}`) };
}

beforeEach(() => {
    root = realpathSync(mkdtempSync(join(tmpdir(), "git-tags-")));
    git("init", "--quiet", "--initial-branch=feature/login");
    mkdirSync(join(root, "service"));
    write("service/Dockerfile");
    write("notes");
    git("add", ".");
    git("commit", "--quiet", "--no-gpg-sign", "-m", "first");
    commit = git("rev-parse", "HEAD");
});
afterEach(() => {
    vi.unstubAllEnvs();
    rmSync(root, { recursive: true });
});

describe("what Git says", () => {
    it("is read when the inputs are checked, so that a preview knows it", async () => {
        git("tag", "v1.4.2");
        git("tag", "--no-sign", "-a", "-m", "annotated", "v1.5.0-rc.1");
        expect(await check()).toMatchObject({
            commit,
            branch: "feature/login",
            dirty: false,
            tags: ["feature-login", `sha-${commit.slice(0, 12)}`, "2026-11-21"],
            version: "1.5.0-rc.1",
            failures: [],
        });
    });

    it("is no change until there is another commit, branch or tag", async () => {
        const { failures: _, ...inputs } = await check();
        const { outs } = await operations.create(inputs);
        const changes = async () => {
            const { failures: _, ...now } = await check();
            return (await operations.diff("", outs, now)).changes;
        };
        expect(await changes()).toBe(false);
        write("notes", "not built from");
        expect(await changes()).toBe(false);
        git("tag", "v1.0.0");
        expect(await changes()).toBe(true);
        git("tag", "-d", "v1.0.0");
        expect(await changes()).toBe(false);
        git("commit", "--quiet", "--no-gpg-sign", "--allow-empty", "-m", "second");
        expect(await changes()).toBe(true);
    });

    it("has the branch although a tag has its name, and none at a detached HEAD", async () => {
        git("tag", "feature/login");
        expect((await check()).branch).toBe("feature/login");
        git("checkout", "--quiet", "--detach");
        expect((await check()).branch).toBe("");
        vi.stubEnv("CI_COMMIT_BRANCH", "main");
        vi.stubEnv("CI_COMMIT_SHA", commit);
        expect((await check()).tags?.[0]).toBe("main");
    });

    it("knows the remotes' branches: their tags may be the same", async () => {
        git("update-ref", "refs/remotes/origin/feature-login", "HEAD");
        expect((await check()).failures).toEqual([
            'branch: branches "feature/login" and "feature-login" give the same tag, "feature-login"; ' +
                "rename the branch, or set gitTags.branch to false and give tags",
        ]);
    });

    it("is that of the folder, also in a hook that says something else", async () => {
        vi.stubEnv("GIT_DIR", "/nowhere");
        vi.stubEnv("GIT_INDEX_FILE", "/nowhere/index");
        expect(await check()).toMatchObject({ commit, dirty: false, failures: [] });
    });

    it("waits where the folder is not known yet", async () => {
        const checked = await check({ folder: UNKNOWN });
        expect([checked.failures, checked.commit, checked.tags]).toEqual([[], undefined, undefined]);
    });
});

describe("changes that are not committed", () => {
    it.each<[string, () => void]>([
        ["a changed file", () => write("service/Dockerfile", "other")],
        ["a new file", () => write("service/new file")],
        ["a file that is gone", () => rmSync(join(root, "service/Dockerfile"))],
        [
            "a staged change",
            () => {
                write("service/Dockerfile", "other");
                git("add", ".");
            },
        ],
        [
            "a new file where the user's settings hide them",
            () => {
                write("service/new file");
                git("config", "status.showUntrackedFiles", "no");
            },
        ],
    ])("%s is refused, and named", async (_name, change) => {
        change();
        const { failures } = await check();
        expect(failures.join()).toMatch(
            /^dirty: what is built has changes that are not committed \(service\/(?:Dockerfile|new file)\); commit them/,
        );
    });

    it("mark the tags where that is asked", async () => {
        git("tag", "v1.4.2");
        write("service/Dockerfile", "other");
        expect(await check({ rules: { ...rules, dirty: "mark" } })).toMatchObject({
            dirty: true,
            tags: ["feature-login-dirty", `sha-${commit.slice(0, 12)}-dirty`],
            version: "",
            failures: [],
        });
    });

    it("count only where something is built from", async () => {
        write("notes", "other");
        expect((await check()).failures).toEqual([]);
        expect((await check({ paths: [join(root, "service"), join(root, "notes")] })).failures).toHaveLength(1);
        const elsewhere = [join(root, "service"), tmpdir(), join(root, "not there")];
        expect((await check({ paths: elsewhere })).failures).toEqual([]);
    });

    it("do not count where .gitignore names them", async () => {
        write(".gitignore", "out\n");
        write("service/out");
        expect((await check()).failures).toEqual([]);
    });

    it("are looked for in a file whose name is a pattern, literally", async () => {
        write("service/[D]ockerfile");
        git("add", ".");
        git("commit", "--quiet", "--no-gpg-sign", "-m", "second");
        write("service/Dockerfile", "other");
        expect((await check({ paths: [join(root, "service/[D]ockerfile")] })).failures).toEqual([]);
    });
});

describe("looking", () => {
    it("changes nothing, not even Git's index", async () => {
        const index = join(root, ".git/index");
        // Same content, other times: `git status` would write them down.
        write("service/Dockerfile");
        const before = statSync(index, { bigint: true });
        await check();
        expect(statSync(index, { bigint: true }).mtimeNs).toBe(before.mtimeNs);
        expect(statSync(index, { bigint: true }).ino).toBe(before.ino);
    });

    it("fails clearly outside of a work tree, and before the first commit", async () => {
        const outside = mkdtempSync(join(tmpdir(), "no-git-"));
        const next = "next: set gitTags.folder to a folder of a Git work tree that has a commit, or leave gitTags out";
        await expect(check({ folder: outside })).rejects.toThrow(/not a git repository/);
        await expect(check({ folder: outside })).rejects.toThrow(next);
        execFileSync("git", ["-C", outside, "init", "--quiet"]);
        await expect(check({ folder: outside })).rejects.toThrow(next);
        rmSync(outside, { recursive: true });
    });
});
