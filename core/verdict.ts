import { hasPassed } from "./day";
import { FormatError } from "./problems";
import { count } from "./text";

/** Severities, worst first. */
export const severities = ["critical", "high", "medium", "low", "negligible", "unknown"] as const;

export type Severity = (typeof severities)[number];

/** One vulnerability in one package of an image. */
export interface Finding {
    /** `CVE-2026-0001`, `GHSA-…`. */
    id: string;
    severity: Severity;
    /** The package's name. */
    package: string;
    /** The version that is installed. */
    version: string;
    /** The versions that repair it; none when there is no fix yet. */
    fixedIn?: string[];
    /** `deb`, `npm`, `go-module`. */
    ecosystem?: string;
    /** Where it is described. */
    url?: string;
}

/** A decision to live with a finding, for a while. */
export interface IgnoreEntry {
    /** The finding's id. */
    id: string;
    /** Only in this package; without it, in all. */
    package?: string;
    /** Why it does no harm. */
    reason: string;
    /** The last day (UTC) on which this holds: `2026-12-31`. */
    until: string;
}

/** What an image may not contain. */
export interface ScanPolicy {
    /** Findings of this severity and worse refuse the image; `none` refuses for no finding. */
    failOn: Severity | "none";
    ignore: IgnoreEntry[];
    /** What a finding without a fix does: `fail` like any other, or `ignore` until there is a fix. */
    unfixed: "fail" | "ignore";
    /** What an image in which the scanner found no package at all does: it is more often a blind scanner than an empty image. */
    noPackages: "fail" | "allow";
}

/** A finding that does not refuse the image although it is severe enough, and why not. */
export interface IgnoredFinding {
    finding: Finding;
    reason: string;
    /** The last day of the decision; absent where there is no fix yet. */
    until?: string;
}

export interface Verdict {
    passed: boolean;
    /** What refused the image, worst first. */
    refused: Finding[];
    ignored: IgnoredFinding[];
    /** All distinct findings, ignored ones too. */
    counts: Record<Severity, number>;
    /** Why the image was refused, one sentence each; empty when it passed. */
    reasons: string[];
}

/**
 * Judges one platform's image.
 *
 * @param packagesCount how many packages the scanner saw; undefined where it does not say.
 * @param now decides which ignore entries still hold. An entry that is over, or whose day can't be read, ignores nothing.
 */
export function judge(
    findings: readonly Finding[],
    packagesCount: number | undefined,
    policy: ScanPolicy,
    now: Date,
): Verdict {
    const distinct = withoutRepeats(findings);
    const severe = distinct.filter((finding) => reaches(finding.severity, policy.failOn));
    const refused: Finding[] = [];
    const ignored: IgnoredFinding[] = [];
    const lapsed = new Set<string>();
    for (const finding of severe) {
        const entries = policy.ignore.filter((entry) => covers(entry, finding));
        const holding = entries.find((entry) => holds(entry, now));
        if (holding !== undefined) {
            ignored.push({ finding, reason: holding.reason, until: holding.until });
        } else if (policy.unfixed === "ignore" && !isFixed(finding)) {
            ignored.push({ finding, reason: "no fix yet" });
        } else {
            refused.push(finding);
            for (const entry of entries) {
                lapsed.add(
                    `the decision to ignore ${entry.id} was valid until ${entry.until}: renew it or apply the fix`,
                );
            }
        }
    }
    const reasons = [...(refused.length > 0 ? [summary(refused, policy.failOn)] : []), ...lapsed];
    if (packagesCount === 0 && policy.noPackages === "fail") {
        reasons.push(
            'the scanner found no packages: scan an image with a package database, or set noPackages: "allow"',
        );
    }
    return { passed: reasons.length === 0, refused, ignored, counts: countBySeverity(distinct), reasons };
}

/**
 * Why a platform was refused, for an error's text: its reasons, then each refused finding, worst first.
 *
 * @param limit how many findings are written out; the rest are counted.
 */
export function explain(platform: string, verdict: Verdict, limit = 20): string[] {
    const rest = verdict.refused.length - limit;
    return [
        ...verdict.reasons.map((reason) => `${platform}: ${reason}`),
        ...verdict.refused.slice(0, limit).map((finding) => `${platform}: ${describeFinding(finding)}`),
        ...(rest > 0 ? [`${platform}: and ${count(rest, "more finding")}`] : []),
    ];
}

/** `CVE-2026-0001 (critical) in openssl 3.0.1: fixed in 3.0.2`. */
function describeFinding({ id, severity, package: name, version, fixedIn = [] }: Finding): string {
    const fix = fixedIn.length > 0 ? `fixed in ${fixedIn.join(", ")}` : "no fix yet";
    return `${id} (${severity}) in ${name} ${version}: ${fix}`;
}

/** Scanners report a package once per place it was found in: the worst of those counts. Worst first. */
function withoutRepeats(findings: readonly Finding[]): Finding[] {
    const seen = new Set<string>();
    const isFirst = (finding: Finding) => seen.size < seen.add(identity(finding)).size;
    return [...findings].sort(worstFirst).filter(isFirst);
}

function identity(finding: Finding): string {
    return JSON.stringify([finding.id, finding.package, finding.version, finding.ecosystem]);
}

function rank(severity: Severity): number {
    return severities.indexOf(severity);
}

function reaches(severity: Severity, failOn: Severity | "none"): boolean {
    return failOn !== "none" && rank(severity) <= rank(failOn);
}

function isFixed({ fixedIn = [] }: Finding): boolean {
    return fixedIn.length > 0;
}

/** By severity; what can be fixed before what can't; then by name, so that the order never depends on the scanner. */
function worstFirst(left: Finding, right: Finding): number {
    return (
        rank(left.severity) - rank(right.severity) ||
        Number(isFixed(right)) - Number(isFixed(left)) ||
        (identity(left) < identity(right) ? -1 : 1)
    );
}

function covers(entry: IgnoreEntry, finding: Finding): boolean {
    const sameId = entry.id.toLowerCase() === finding.id.toLowerCase();
    return sameId && (entry.package === undefined || entry.package === finding.package);
}

function holds(entry: IgnoreEntry, now: Date): boolean {
    try {
        return entry.reason.trim() !== "" && !hasPassed(entry.until, now);
    } catch (error) {
        if (error instanceof FormatError) {
            return false;
        }
        throw error;
    }
}

function summary(refused: readonly Finding[], failOn: Severity | "none"): string {
    const counts = countBySeverity(refused);
    const parts = severities
        .filter((severity) => counts[severity] > 0)
        .map((severity) => `${counts[severity]} ${severity}`);
    return `${count(refused.length, "finding")} of severity ${failOn} or worse (${parts.join(", ")})`;
}

function countBySeverity(findings: readonly Finding[]): Record<Severity, number> {
    const counts: Record<Severity, number> = { critical: 0, high: 0, medium: 0, low: 0, negligible: 0, unknown: 0 };
    for (const finding of findings) {
        counts[finding.severity]++;
    }
    return counts;
}
