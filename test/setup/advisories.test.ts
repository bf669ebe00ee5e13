import { execFileSync, spawnSync } from "node:child_process";
import { mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, describe, expect, test } from "vitest";
import { findTool } from "../../drivers/tools";

let folder: string;
let advisories: string;

beforeEach(() => {
    folder = mkdtempSync(join(tmpdir(), "buildfleet-advisories-"));
    advisories = join(folder, "in");
    mkdirSync(advisories);
});
afterEach(() => rmSync(folder, { recursive: true, force: true }));

function convert(input = advisories, output = join(folder, "db")) {
    const { status, stdout, stderr } = spawnSync(findTool("grype-advisories"), ["--in", input, "--out", output], {
        encoding: "utf8",
    });
    return { status, stderr, answer: stdout === "" ? undefined : JSON.parse(stdout) };
}

const env = () => ({
    ...process.env,
    GRYPE_DB_CACHE_DIR: join(folder, "db"),
    GRYPE_DB_AUTO_UPDATE: "false",
    GRYPE_DB_VALIDATE_AGE: "false",
    GRYPE_CHECK_FOR_APP_UPDATE: "false",
});

function findings(purl: string): string[] {
    const report = execFileSync(findTool("grype"), [purl, "--output", "json", "--quiet"], {
        encoding: "utf8",
        env: env(),
    });
    const { matches } = JSON.parse(report);
    return matches.map(
        (match: { vulnerability: { id: string; severity: string; fix: { versions: string[] } } }) =>
            `${match.vulnerability.id} ${match.vulnerability.severity} ${match.vulnerability.fix.versions.join()}`,
    );
}

const advisory = (fields: Record<string, string>) =>
    Object.entries(fields)
        .map(([name, value]) => `${name}: ${JSON.stringify(value)}\n`)
        .join("");

describe("good advisories", () => {
    test("grype finds exactly the versions that are affected, with the fix", () => {
        const entries: Record<string, string>[] = [
            {
                id: "T-1",
                severity: "high",
                ecosystem: "debian:12",
                package: "tool",
                affected: "< 1:2.0-1",
                fixed: "1:2.0-1",
            },
            { id: "T-2", severity: "low", ecosystem: "npm", package: "@org/lib", affected: ">= 1.0.0, < 1.4.0" },
            { id: "T-3", severity: "critical", ecosystem: "rhel:9", package: "bash", affected: "< 5.2-1" },
        ];
        writeFileSync(join(advisories, "a.yaml"), entries.map(advisory).join("---\n"));
        const { status, answer } = convert();
        expect(status).toBe(0);
        expect(answer).toEqual({ advisories: 3, database: join(folder, "db/6/vulnerability.db") });

        expect(findings("pkg:deb/debian/tool@1.9-4?distro=debian-12")).toEqual(["T-1 High 1:2.0-1"]);
        expect(findings("pkg:deb/debian/tool@1:2.0-1?distro=debian-12")).toEqual([]);
        expect(findings("pkg:deb/debian/tool@1.9-4?distro=debian-13")).toEqual([]);
        expect(findings("pkg:npm/%40org/lib@1.3.9")).toEqual(["T-2 Low "]);
        expect(findings("pkg:npm/%40org/lib@1.4.0")).toEqual([]);
        expect(findings("pkg:rpm/redhat/bash@5.1-1?arch=x86_64&distro=rhel-9.4")).toEqual(["T-3 Critical "]);
    });

    test("the database is as old as its newest advisory, whenever it was made", () => {
        const example = join(__dirname, "../../examples/hello/advisories");
        expect(convert(example)).toMatchObject({ status: 0, answer: { advisories: 3 } });
        const status = execFileSync(findTool("grype"), ["db", "status", "--output", "json"], {
            encoding: "utf8",
            env: env(),
        });
        expect(JSON.parse(status)).toMatchObject({ built: "2026-05-11T00:00:00Z", valid: true });
    });
});

describe("bad advisories", () => {
    test("every problem of every file is told at once, and no database is made", () => {
        writeFileSync(
            join(advisories, "a.yaml"),
            'id: 12\nseverity: awful\necosystem: debian:99\naffected: "< 1"\nfixd: 2\n',
        );
        writeFileSync(join(advisories, "b.yml"), "id: [\n");
        const twice = { id: "T-1", severity: "low", ecosystem: "npm", package: "x", affected: "< 3.0.0" };
        writeFileSync(
            join(advisories, "c.yaml"),
            `${advisory({ ...twice, fixed: "2.0.0" })}---\n${advisory({ ...twice, affected: "1 <" })}`,
        );
        const { status, answer, stderr } = convert();
        expect(status).toBe(1);
        expect(answer.problems.map(({ file, field }: Record<string, string>) => `${file} ${field}`)).toEqual([
            "a.yaml ecosystem",
            "a.yaml fixd",
            "a.yaml id",
            "a.yaml package",
            "a.yaml severity",
            "b.yml (document)",
            "c.yaml fixed",
            "c.yaml (document 2) affected",
            "c.yaml (document 2) id",
        ]);
        expect(answer.problems[4]).toEqual({
            file: "a.yaml",
            field: "severity",
            found: '"awful"',
            expected: "one of critical, high, medium, low, negligible",
        });
        expect(stderr).toContain("9 problem(s)");
        expect(() => readFileSync(join(folder, "db/6/vulnerability.db"))).toThrow("ENOENT");
    });

    test("a folder without advisories, or none at all, is refused", () => {
        expect(convert().answer.problems).toHaveLength(1);
        const missing = convert(join(folder, "missing"));
        expect(missing).toMatchObject({ status: 1, answer: undefined });
        expect(missing.stderr).toContain("missing");
    });
});
