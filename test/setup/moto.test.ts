import { mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { expect, test } from "vitest";
import { motoFolder, motoInstalled } from "../../tools/setup/moto.mjs";

const requirements = readFileSync(join(__dirname, "../../tools/moto/requirements.txt"), "utf8");

test("every package of the emulator is pinned, with hashes, and from whatever index pip is set up with", () => {
    const packages = requirements
        .replaceAll("\\\n", " ")
        .split("\n")
        .filter((line) => line.trim() && !line.trim().startsWith("#"));
    expect(packages.length).toBeGreaterThan(50);
    for (const line of packages) expect(line).toMatch(/^[\w.-]+==[\w.]+(\s+--hash=sha256:[0-9a-f]{64})+\s*$/);
    expect(requirements).not.toMatch(/:\/\/|--(extra-)?index-url|--find-links/);
    expect(requirements).toContain("moto==5.2.5 ");
});

test("an environment that was not finished is made again", () => {
    const cache = mkdtempSync(join(tmpdir(), "buildfleet-moto-"));
    const before = process.env.BUILDFLEET_CACHE;
    process.env.BUILDFLEET_CACHE = cache;
    try {
        mkdirSync(join(motoFolder(), "bin"), { recursive: true });
        writeFileSync(join(motoFolder(), "bin", "python"), "");
        expect(motoInstalled()).toBe(false);
        writeFileSync(join(motoFolder(), "complete"), "");
        expect(motoInstalled()).toBe(true);
    } finally {
        if (before === undefined) delete process.env.BUILDFLEET_CACHE;
        else process.env.BUILDFLEET_CACHE = before;
        rmSync(cache, { recursive: true, force: true });
    }
});
