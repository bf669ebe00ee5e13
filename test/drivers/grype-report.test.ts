import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { parseGrypeReport } from "../../drivers/scanners/grype";

const match = (id: string, severity: string | undefined, fix: object) => ({
    vulnerability: { id, severity, dataSource: `https://example.com/${id}`, fix, cvss: [] },
    relatedVulnerabilities: [],
    artifact: { name: "openssl", version: "3.0.1", type: "deb", locations: [] },
});

const report = {
    matches: [
        match("CVE-2026-0001", "Critical", { versions: ["3.0.2", "3.1.0"], state: "fixed" }),
        match("CVE-2026-0002", "Negligible", { versions: [], state: "wont-fix" }),
        match("CVE-2026-0003", undefined, { versions: [], state: "" }),
        match("CVE-2026-0004", "", { versions: [], state: "unknown" }),
    ],
    source: { type: "image", target: { manifestDigest: `sha256:${"0".repeat(64)}` } },
    distro: { name: "debian", version: "12" },
    descriptor: {
        name: "grype",
        version: "0.120.1",
        db: { status: { schemaVersion: "v6.1.4", built: "2026-01-31T00:00:00Z", valid: true }, providers: {} },
    },
};

describe("grype's report", () => {
    it("becomes findings", () => {
        expect(parseGrypeReport(JSON.stringify(report))).toEqual([
            {
                id: "CVE-2026-0001",
                severity: "critical",
                package: "openssl",
                version: "3.0.1",
                fixedIn: ["3.0.2", "3.1.0"],
                ecosystem: "deb",
                url: "https://example.com/CVE-2026-0001",
            },
            expect.objectContaining({ id: "CVE-2026-0002", severity: "negligible" }),
            expect.objectContaining({ id: "CVE-2026-0003", severity: "unknown" }),
            expect.objectContaining({ id: "CVE-2026-0004", severity: "unknown" }),
        ]);
        expect(parseGrypeReport(JSON.stringify(report))[1]).not.toHaveProperty("fixedIn");
    });

    it("without matches is clean", () => {
        expect(parseGrypeReport(JSON.stringify({ ...report, matches: [] }))).toEqual([]);
    });

    it.each([
        ["nothing", ""],
        ["half a report", JSON.stringify(report).slice(0, -20)],
        ["an empty object", "{}"],
        ["matches of null", JSON.stringify({ ...report, matches: null })],
        [
            "a severity nobody knows",
            JSON.stringify({ ...report, matches: [match("X", "Dreadful", { versions: [], state: "" })] }),
        ],
        ["another tool's name", JSON.stringify({ ...report, descriptor: { ...report.descriptor, name: "other" } })],
    ])("of %s is refused", (_case, text) => {
        expect(() => parseGrypeReport(text)).toThrow(/grype wrote a report/);
    });

    it("is refused when anything that is relied on is missing, and never read as fewer findings", () => {
        const paths = [
            ["matches"],
            ["matches", "0", "vulnerability"],
            ["matches", "0", "vulnerability", "id"],
            ["matches", "0", "vulnerability", "fix"],
            ["matches", "0", "artifact", "name"],
            ["matches", "0", "artifact", "version"],
            ["source", "target", "manifestDigest"],
            ["descriptor", "name"],
            ["descriptor", "db", "status", "built"],
        ];
        const junk = fc.oneof(fc.constant(undefined), fc.constant(null), fc.integer(), fc.constant([]));
        fc.assert(
            fc.property(fc.constantFrom(...paths), junk, (path, value) => {
                fc.pre(!(path.length === 1 && Array.isArray(value))); // no matches at all is a clean report
                const changed = structuredClone(report) as Record<string, unknown>;
                const parent = path.slice(0, -1).reduce((node, key) => node[key] as Record<string, unknown>, changed);
                parent[path.at(-1) as string] = value;
                expect(() => parseGrypeReport(JSON.stringify(changed))).toThrow(/shape this version does not know/);
            }),
        );
    });
});
