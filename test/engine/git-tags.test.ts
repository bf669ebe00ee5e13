import { execFileSync } from "node:child_process";
import { mkdirSync, symlinkSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import type { EngineOptions } from "../../dist/engine/index";
import { REPO, Workspace } from "./support";

// With the real provider of dynamic resources, on the real work tree that the program is in.

const PROGRAM = `const { GitTags } = require(${JSON.stringify(join(REPO, "dist/resources/git-tags"))});
const rules = { version: true, branch: true, commit: true, date: true, dirty: "refuse" };
const git = new GitTags("git", { folder: "service", rules });
exports.tags = git.tags;
exports.version = git.version;
exports.commit = git.commit;
`;
let workspace: Workspace;

const git = (...args: string[]) =>
    execFileSync("git", ["-C", workspace.directory, "-c", "user.name=a", "-c", "user.email=a@example.com", ...args], {
        encoding: "utf8",
        env: { ...process.env, GIT_COMMITTER_DATE: "2026-11-20T12:00:00Z", GIT_CONFIG_GLOBAL: "/dev/null" },
        stdio: ["ignore", "pipe", "ignore"],
    }).trim();
const run = (command: EngineOptions["command"]) => workspace.run(command, { providers: {} });

beforeEach(() => {
    workspace = new Workspace();
    symlinkSync(REPO, join(workspace.directory, "node_modules/buildfleet"));
    workspace.write(PROGRAM);
    mkdirSync(join(workspace.directory, "service"));
    writeFileSync(join(workspace.directory, "service/Dockerfile"), "FROM scratch\n");
    git("init", "--quiet", "--initial-branch=main");
    git("add", "service");
    git("commit", "--quiet", "--no-gpg-sign", "-m", "first");
    git("tag", "v1.4.2");
});
afterEach(() => workspace.remove());

describe("tags from Git", () => {
    it("are known in a preview, stay from one run to the next, and change with the commit", async () => {
        const tags = () => ["main", `sha-${git("rev-parse", "HEAD").slice(0, 12)}`, "2026-11-20"];
        const preview = await run("preview");
        expect(preview.outputs).toEqual({ tags: tags(), version: "1.4.2", commit: git("rev-parse", "HEAD") });
        const first = await run("up");
        expect(first.outputs).toEqual(preview.outputs);
        expect((await run("up")).changes).toMatchObject({ same: 2 });

        git("commit", "--quiet", "--no-gpg-sign", "--allow-empty", "-m", "second");
        const next = await run("preview");
        expect(next.changes).toMatchObject({ update: 1 });
        expect(next.outputs).toEqual({ tags: tags(), version: "", commit: git("rev-parse", "HEAD") });
    });

    it("are refused, also in a preview, where what is built is not what was committed", async () => {
        writeFileSync(join(workspace.directory, "service/Dockerfile"), "FROM other\n");
        const refused = await run("preview");
        expect(JSON.stringify(refused)).toContain(
            "what is built has changes that are not committed (service/Dockerfile); commit them",
        );
    });
});
