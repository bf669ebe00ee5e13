import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { explain, type Finding, judge, type ScanPolicy, severities } from "../../core/verdict";

const now = new Date("2026-11-22T12:00:00Z");
const policy = (more: Partial<ScanPolicy> = {}): ScanPolicy => ({
    failOn: "high",
    ignore: [],
    unfixed: "fail",
    noPackages: "fail",
    ...more,
});
const finding = (more: Partial<Finding> = {}): Finding => ({
    id: "CVE-2026-0001",
    severity: "high",
    package: "openssl",
    version: "3.0.1",
    fixedIn: ["3.0.2"],
    ...more,
});
const entry = { id: "CVE-2026-0001", reason: "not reachable", until: "2026-12-31" };

describe("judge", () => {
    it("passes what is below the threshold, and counts it", () => {
        const verdict = judge(
            [finding({ severity: "medium" }), finding({ id: "X-1", severity: "unknown" })],
            10,
            policy(),
            now,
        );
        expect(verdict).toMatchObject({
            passed: true,
            refused: [],
            reasons: [],
            counts: { medium: 1, unknown: 1, high: 0 },
        });
    });

    it("refuses by the threshold, for every pair of severities", () => {
        for (const [rank, severity] of severities.entries()) {
            for (const [threshold, failOn] of severities.entries()) {
                expect(judge([finding({ severity })], 1, policy({ failOn }), now).passed).toBe(rank > threshold);
            }
            expect(judge([finding({ severity })], 1, policy({ failOn: "none" }), now).passed).toBe(true);
        }
    });

    it("ignores by id, in the package the entry names, through the entry's last day in UTC", () => {
        const judged = (more: Partial<typeof entry & { package: string }>, at = now) =>
            judge([finding()], 1, policy({ ignore: [{ ...entry, ...more }] }), at);
        expect(judged({})).toMatchObject({ passed: true, ignored: [{ reason: "not reachable", until: "2026-12-31" }] });
        expect(judged({ id: "cve-2026-0001" }).passed).toBe(true);
        expect(judged({ package: "openssl" }).passed).toBe(true);
        expect(judged({ package: "zlib" }).passed).toBe(false);
        expect(judged({ id: "CVE-2026-0002" }).passed).toBe(false);
        expect(judged({}, new Date("2026-12-31T23:59:59Z")).passed).toBe(true);
        expect(judged({}, new Date("2027-01-01T00:00:00Z")).passed).toBe(false);
    });

    it("takes an entry without a reason or a readable day for none", () => {
        for (const more of [{ reason: " " }, { until: "someday" }, { until: "" }]) {
            expect(judge([finding()], 1, policy({ ignore: [{ ...entry, ...more }] }), now).passed).toBe(false);
        }
    });

    it("says which decision is over", () => {
        const verdict = judge([finding()], 1, policy({ ignore: [{ ...entry, until: "2026-11-01" }] }), now);
        expect(verdict.reasons).toEqual([
            "1 finding of severity high or worse (1 high)",
            "the decision to ignore CVE-2026-0001 was valid until 2026-11-01: renew it or apply the fix",
        ]);
    });

    it("treats what has no fix as the policy says", () => {
        const unfixed = finding({ fixedIn: [] });
        expect(judge([unfixed], 1, policy(), now).passed).toBe(false);
        const ignoring = judge([unfixed, finding({ id: "CVE-2026-0002" })], 1, policy({ unfixed: "ignore" }), now);
        expect(ignoring.refused.map(({ id }) => id)).toEqual(["CVE-2026-0002"]);
        expect(ignoring.ignored).toEqual([{ finding: unfixed, reason: "no fix yet" }]);
    });

    it("refuses an image in which no package was found, unless that is allowed", () => {
        const blind = judge([], 0, policy(), now);
        expect(blind.passed).toBe(false);
        expect(blind.reasons[0]).toContain("found no packages");
        expect(judge([], 0, policy({ noPackages: "allow" }), now).passed).toBe(true);
        expect(judge([], 0, policy({ failOn: "none" }), now).passed).toBe(false);
    });

    it("counts what was found in several places once, at its worst", () => {
        const verdict = judge(
            [finding({ severity: "low" }), finding({ severity: "critical" }), finding()],
            1,
            policy(),
            now,
        );
        expect(verdict.counts).toMatchObject({ critical: 1, high: 0, low: 0 });
        expect(verdict.refused).toHaveLength(1);
    });

    const anyFinding = fc.record({
        id: fc.constantFrom("CVE-1-1", "CVE-1-2", "CVE-1-3"),
        severity: fc.constantFrom(...severities),
        package: fc.constantFrom("a", "b"),
        version: fc.constantFrom("1", "2"),
        fixedIn: fc.constantFrom<string[]>([], ["3"]),
    });
    const anyPolicy = fc.record({
        failOn: fc.constantFrom(...severities, "none" as const),
        ignore: fc.array(
            fc.record({
                id: fc.constantFrom("CVE-1-1", "CVE-1-2"),
                reason: fc.constantFrom("r", ""),
                until: fc.constantFrom("2026-01-01", "2026-12-31", "?"),
            }),
        ),
        unfixed: fc.constantFrom("fail" as const, "ignore" as const),
        noPackages: fc.constantFrom("fail" as const, "allow" as const),
    });

    it("puts the worst first, forgets no finding, and never passes what it refused", () => {
        fc.assert(
            fc.property(fc.array(anyFinding), anyPolicy, fc.nat(3), (findings, rules, packages) => {
                const verdict = judge(findings, packages, rules, now);
                const ranks = verdict.refused.map(({ severity }) => severities.indexOf(severity));
                expect(ranks).toEqual([...ranks].sort((left, right) => left - right));
                expect(verdict.passed).toBe(
                    verdict.refused.length === 0 && !(packages === 0 && rules.noPackages === "fail"),
                );
                const key = ({ id, package: name, version }: Finding) => `${id} ${name} ${version}`;
                const distinct = new Set(findings.map(key));
                expect(Object.values(verdict.counts).reduce((sum, one) => sum + one, 0)).toBe(distinct.size);
                const settled = [...verdict.refused, ...verdict.ignored.map(({ finding: one }) => one)].map(key);
                expect(new Set(settled).size).toBe(settled.length);
                const severe = findings.filter(
                    ({ severity }) =>
                        rules.failOn !== "none" && severities.indexOf(severity) <= severities.indexOf(rules.failOn),
                );
                expect(new Set(settled)).toEqual(new Set(severe.map(key)));
            }),
        );
    });

    it("judges the same whatever order the scanner reports in", () => {
        fc.assert(
            fc.property(fc.array(anyFinding), anyPolicy, (findings, rules) => {
                expect(judge([...findings].reverse(), 1, rules, now)).toEqual(judge(findings, 1, rules, now));
            }),
        );
    });
});

describe("explain", () => {
    it("names platform, finding, package, installed and fixed version, worst first", () => {
        const findings = [
            finding(),
            finding({ id: "CVE-2026-0002", severity: "critical", package: "zlib", fixedIn: [] }),
        ];
        expect(explain("linux/arm64", judge(findings, 1, policy(), now))).toEqual([
            "linux/arm64: 2 findings of severity high or worse (1 critical, 1 high)",
            "linux/arm64: CVE-2026-0002 (critical) in zlib 3.0.1: no fix yet",
            "linux/arm64: CVE-2026-0001 (high) in openssl 3.0.1: fixed in 3.0.2",
        ]);
    });

    it("counts what it leaves out", () => {
        const many = Array.from({ length: 30 }, (_, index) => finding({ id: `CVE-2026-${1000 + index}` }));
        const lines = explain("linux/arm64", judge(many, 1, policy(), now), 5);
        expect(lines).toHaveLength(7);
        expect(lines.at(-1)).toBe("linux/arm64: and 25 more findings");
    });
});
