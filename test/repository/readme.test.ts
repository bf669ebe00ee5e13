import { existsSync, readFileSync } from "node:fs";
import { dirname, join, resolve } from "node:path";
import { describe, expect, it } from "vitest";
import { TABLES, withTables } from "../../tools/docs.mjs";

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
    "docs/onprem.md",
    "docs/registries.md",
    "docs/build-limit.md",
    "docs/images-from-elsewhere.md",
    "README.zh-CN.md",
    "examples/onprem/README.md",
    "examples/airgap/README.md",
    "examples/aws/README.md",
    "examples/aws-split/README.md",
    "examples/github-actions/README.md",
    "examples/import/README.md",
    "examples/hello/README.md",
];

describe.each(Object.keys(TABLES) as (keyof typeof TABLES)[])("%s", (document) => {
    it('has the tables of the schemas that check the settings ("npm run docs" writes them)', () => {
        expect(withTables(read(document), document)).toBe(read(document));
    });

    it("describes every setting that stands by itself", () => {
        const rows = read(document).match(/^\| `[a-zA-Z.]+` \|.*$/gm) ?? [];
        expect(rows.length).toBeGreaterThan(40);
        const topLevel = rows.filter((row) => /^\| `[a-zA-Z]+` /.test(row));
        expect(topLevel.filter((row) => /\| {1,2}\|$/.test(row))).toEqual([]);
    });
});

describe("README.md", () => {
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
