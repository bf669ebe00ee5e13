import { existsSync, readFileSync } from "node:fs";
import { dirname, join, resolve } from "node:path";
import { describe, expect, it } from "vitest";
import { withTables } from "../../tools/docs.mjs";

const CHECKOUT = resolve(__dirname, "../..");
const read = (file: string) => readFileSync(join(CHECKOUT, file), "utf8");
const DOCUMENTS = [
    "README.md",
    "CONTRIBUTING.md",
    "CHANGELOG.md",
    "docs/provenance.md",
    "docs/embedded-engine.md",
    "docs/benchmarks.md",
    "docs/aws.md",
    "examples/aws/README.md",
    "examples/aws-split/README.md",
    "examples/github-actions/README.md",
    "examples/import/README.md",
    "examples/hello/README.md",
];

describe("README.md", () => {
    it('has the tables of the schemas that check the settings ("npm run docs" writes them)', () => {
        expect(withTables(read("README.md"))).toBe(read("README.md"));
    });

    it("describes every setting of the stack, and every argument of the image", () => {
        const rows = read("README.md").match(/^\| `[a-zA-Z.]+` \|.*$/gm) ?? [];
        expect(rows.length).toBeGreaterThan(50);
        const topLevel = rows.filter((row) => /^\| `[a-zA-Z]+` /.test(row));
        expect(topLevel.filter((row) => /\| {1,2}\|$/.test(row))).toEqual([]);
    });

    it.each(["start", "test", "setup", "build", "preview", "refresh", "destroy"])(
        "names a command that is there: %s",
        (name) => {
            expect(read("README.md")).toMatch(new RegExp(`npm (run )?${name}\\b`));
            expect(JSON.parse(read("package.json")).scripts).toHaveProperty(name);
        },
    );
});

describe.each(DOCUMENTS)("%s", (file) => {
    it("links to what is there", () => {
        const links = [...read(file).matchAll(/\]\((?!https?:|#)([^)#]+)/g)].map(([, target]) => target ?? "");
        expect(links.filter((link) => !existsSync(join(CHECKOUT, dirname(file), link)))).toEqual([]);
    });
});
