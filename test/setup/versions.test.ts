import { readFileSync } from "node:fs";
import { join } from "node:path";
import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { decide, isAtLeast, parseVersion, pinnedVersion, TEST_TOOLS, TOOLS } from "../../tools/setup/versions.mjs";

const buildx = TOOLS.find(({ name }) => name === "docker-buildx") ?? TOOLS[0];
if (!buildx) throw new Error("the table of tools is empty");

describe("what tools say of themselves", () => {
    test.each([
        ["github.com/docker/buildx v0.37.2 0dc7bd1\n", "0.37.2"],
        ["github.com/docker/buildx v0.20.0+ds1 \n", "0.20.0"],
        ["buildkitd github.com/moby/buildkit v0.33.1 \n", "0.33.1"],
        ["registry github.com/distribution/distribution/v3 v3.1.2\n", "3.1.2"],
        ["registry github.com/docker/distribution 2.8.1+debian\n", "2.8.1"],
        ["syft 1.54.1\n", "1.54.1"],
        ['{"gitVersion": "v3.1.3", "goVersion": "go1.26.8"}', "3.1.3"],
        ["buildkitd github.com/moby/buildkit 0.0.0+unknown \n", undefined],
        ["github.com/docker/buildx v0.0.0+unknown \n", undefined],
        ["syft [not provided]\n", undefined],
        ["", undefined],
    ])("%j is %s", (output, version) => {
        expect(parseVersion(output)).toBe(version);
    });

    test("versions are compared as numbers", () => {
        const version = fc.array(fc.nat(200), { minLength: 3, maxLength: 3 });
        fc.assert(
            fc.property(version, version, (a, b) => {
                const newer = a.findIndex((part, i) => part !== b[i]);
                const expected = newer === -1 || (a[newer] ?? 0) > (b[newer] ?? 0);
                expect(isAtLeast(a.join("."), b.join("."))).toBe(expected);
            }),
        );
    });
});

describe("what is done for a tool", () => {
    const onPath = (version: string | undefined) => ({ path: "/usr/bin/docker-buildx", version });

    test("one on PATH that is new enough is taken, whatever the cache holds", () => {
        expect(decide(buildx, onPath(buildx.minimum), "key", "key").action).toBe("path");
        expect(decide(buildx, onPath("9.0.0"), undefined, "key").action).toBe("path");
    });

    test("one that is too old or has no version is left alone, and the reason says so", () => {
        expect(decide(buildx, onPath("0.10.2"), undefined, "key")).toEqual({
            action: "compile",
            why: `/usr/bin/docker-buildx is 0.10.2, needed ${buildx.minimum}; not there`,
        });
        expect(decide(buildx, onPath(undefined), "key", "key").action).toBe("cached");
    });

    test("a changed pin compiles again", () => {
        expect(decide(buildx, undefined, "key", "key").action).toBe("cached");
        expect(decide(buildx, undefined, "old", "key")).toEqual({ action: "compile", why: "its pin has changed" });
        expect(decide(buildx, undefined, undefined, "key").action).toBe("compile");
    });
});

test("every tool's module pins the version that is stamped, and it is new enough", () => {
    for (const tool of [...TOOLS, ...TEST_TOOLS]) {
        const goMod = readFileSync(join(__dirname, "../../tools", tool.module, "go.mod"), "utf8");
        const pinned = pinnedVersion(goMod, tool.goModule);
        expect(isAtLeast(pinned, tool.minimum), `${tool.name} ${pinned}`).toBe(true);
    }
    expect(() => pinnedVersion("module x\n", "github.com/docker/buildx")).toThrow("does not pin");
});
