/** `contextHash`: the values are the plugin's, and what counts is what BuildKit gets. */
import { chmodSync, existsSync, mkdirSync, mkdtempSync, symlinkSync, writeFileSync } from "node:fs";
import { dirname, join } from "node:path";
import { describe, expect, it } from "vitest";
import { hashContext } from "../../engine/docker-build/context";
import { useWorkbench } from "../support/docker-build";

const bench = useWorkbench();

/** Hashes by the libraries that the plugin uses (tonistiigi/fsutil, moby/patternmatcher), in the order of its own walk. */
describe("known hashes", () => {
    it.each<[string, string, string]>([
        ["264442ab8ad20f61b8d94a7e0b17dcd99b178ae4c9bcaad42bee6735b5a22669", "", ""],
        ["fc5d10a43f4bac4037e57359a2aad6b5ac04fc7bed64f1dd66691abc744d022f", "**/*.log\n.dockerignore\n", ""],
        ["9fd1e24aacf9f2a4b707618c1238d72f9e9e199f288b1eda937ac1d318ba9226", "*\n!src\nsrc/lib\n!src/lib/y.js\n", ""],
        ["139bd70d6d36df524cad9015add6cbf9f31e03280dfc13e8813e431ebe4128a3", "", "src/aaa"],
    ])("%s for .dockerignore %j, dangling link %j", async (expected, ignore, dangling) => {
        const context = mkdtempSync(join(bench.work, "context-"));
        const modes = {
            "a.txt": 0o644,
            "b.log": 0o1600,
            "src/x.js": 0o755,
            "src/lib/y.js": 0o644,
            "src/lib/z.log": 0o644,
            "docs/a.md": 0o4755,
        };
        for (const [name, mode] of Object.entries(modes)) {
            mkdirSync(dirname(join(context, name)), { recursive: true });
            writeFileSync(join(context, name), name);
            chmodSync(join(context, name), mode);
        }
        symlinkSync("../a.txt", join(context, "src/link"));
        symlinkSync("src", join(context, "folder"));
        if (dangling) symlinkSync("nowhere", join(context, dangling));
        if (ignore) writeFileSync(join(context, ".dockerignore"), ignore);
        if (ignore) chmodSync(join(context, ".dockerignore"), 0o644);
        expect(await hashContext("/", context, "", {})).toBe(expected);
    });
});

describe("the context's hash", () => {
    const FILES = [
        "a.txt",
        "b.log",
        "docs/a.md",
        "docs/deep/b.md",
        "docs/deep/c.txt",
        "src/a.txt",
        "src/lib/x.js",
        "src/lib/x.log",
        "[x].txt",
        ".env",
    ];
    const IGNORED = [
        "*.log\n",
        "**/*.log\n# comment\n\n",
        "docs\n!docs/deep/b.md\n",
        "*\n!src/**\nsrc/lib/*.log\n",
        "/docs/deep/\n.env\n",
        "**/deep\n!**/c.txt\n",
        "src/?.txt\n\\[x\\].txt\n",
        "docs/**\n!docs/*.md\n",
        "**\n!a.*\n",
    ];

    it.each(IGNORED)("counts exactly the files that BuildKit gets: %j", async (ignore) => {
        const context = mkdtempSync(join(bench.work, "context-"));
        for (const file of FILES) {
            mkdirSync(dirname(join(context, file)), { recursive: true });
            writeFileSync(join(context, file), file);
        }
        symlinkSync("a.txt", join(context, "link.txt"));
        writeFileSync(join(context, ".dockerignore"), ignore);
        const out = `${context}-out`;
        const dockerfile = { inline: "FROM scratch\nCOPY . /\n" };
        await bench.create(
            await bench.provider(),
            "all",
            bench.inputs({ context: { location: context }, dockerfile, exports: [{ local: { dest: out } }] }),
        );
        const hash = () => hashContext(bench.program, context, "", {});
        const before = await hash();
        for (const file of FILES) {
            writeFileSync(join(context, file), "changed");
            const counts = (await hash()) !== before;
            writeFileSync(join(context, file), file);
            expect({ file, counts }).toEqual({ file, counts: existsSync(join(out, file)) });
        }
    });
});
