import { execFileSync } from "node:child_process";
import { existsSync, readdirSync, readFileSync } from "node:fs";
import { join, relative, resolve } from "node:path";
import { beforeAll, describe, expect, it } from "vitest";

const CHECKOUT = resolve(__dirname, "../..");

describe("the package", () => {
    let files: string[];

    beforeAll(() => {
        const [packed] = JSON.parse(
            execFileSync("npm", ["pack", "--dry-run", "--json"], {
                cwd: CHECKOUT,
                stdio: ["ignore", "pipe", "ignore"],
            }).toString(),
        );
        files = packed.files.map(({ path }: { path: string }) => path);
    });

    it("has the library and its documents, and nothing else", () => {
        const folders = new Set(files.map((path) => path.split("/").slice(0, 2).join("/")));
        expect([...folders].sort()).toEqual([
            "CHANGELOG.md",
            "LICENSE",
            "README.md",
            "README.zh-CN.md",
            "dist/aws.d.ts",
            "dist/aws.js",
            "dist/components",
            "dist/core",
            "dist/drivers",
            "dist/index.d.ts",
            "dist/index.js",
            "dist/resources",
            "package.json",
        ]);
        const others = files.filter((path) => path.startsWith("dist/") && !/\.(d\.ts|js)$/.test(path));
        // Scripts and units that a builder gets, as they are.
        const carried = ["host", "emulation", "limits", "registry-server"]
            .map((name) => join(CHECKOUT, "core", name, "files"))
            .flatMap((folder) => readdirSync(folder, { recursive: true, withFileTypes: true }))
            .filter((entry) => entry.isFile())
            .map(({ parentPath, name }) => join("dist", relative(CHECKOUT, parentPath), name));
        expect(others.sort()).toEqual(carried.sort());
    });

    it("has no compiled file whose source is gone", () => {
        const sources = files.filter((path) => path.endsWith(".js")).map((path) => `${path.slice(5, -3)}.ts`);
        expect(sources.filter((path) => !existsSync(join(CHECKOUT, path)))).toEqual([]);
    });

    it("has the operations of every resource, where the providers' text looks for them", () => {
        const { exports } = JSON.parse(readFileSync(join(CHECKOUT, "package.json"), "utf8"));
        expect(exports["./operations/*"]).toBe("./dist/resources/*/operations.js");
        const kinds = files.flatMap((path) => /^dist\/resources\/([^/]+)\/index\.js$/.exec(path)?.[1] ?? []);
        expect(kinds.length).toBeGreaterThan(10);
        expect(kinds.filter((kind) => !files.includes(`dist/resources/${kind}/operations.js`))).toEqual([]);
    });
});
