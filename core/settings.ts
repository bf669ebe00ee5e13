import type { z } from "zod";
import { type Problem, SettingsError } from "./problems";
import { type Fault, kindOf, type Late, Unresolved } from "./schema";
import { didYouMean } from "./text";

export { SettingsError } from "./problems";
export { type Late, Unresolved } from "./schema";

type Issue = z.core.$ZodIssue;
type Path = readonly PropertyKey[];

/**
 * Checks settings and fills in the defaults.
 *
 * @param subject what the settings belong to, for the message: `MultiPlatformImage "app"`.
 * @returns the settings as the schema types them.
 * @throws SettingsError with every problem at once; a value that is still {@link Unresolved} is one.
 */
export function parseSettings<T>(subject: string, schema: z.ZodType<T>, value: unknown): T {
    const result = schema.safeParse(value, { reportInput: true });
    const problems = [...(result.success ? [] : result.error.issues.flatMap((issue) => problemsOf(issue, [])))];
    problems.push(...unresolvedIn(value, []));
    if (!result.success || problems.length > 0) {
        throw new SettingsError(subject, problems);
    }
    return result.data;
}

/**
 * Checks settings of which some values are not known yet ({@link Unresolved} stands for them), as in a Pulumi program
 * before the resources they come from exist. What is known is checked in full; what is not stays as it is in the result.
 *
 * @throws SettingsError with every problem at once.
 */
export function checkSettings<T>(subject: string, schema: z.ZodType<T>, value: unknown): Late<T> {
    const result = schema.safeParse(value, { reportInput: true });
    if (!result.success) {
        const problems = result.error.issues.flatMap((issue) => problemsOf(issue, []));
        throw new SettingsError(subject, problems);
    }
    return result.data as Late<T>;
}

/** `["scan", "ignore", 0, "until"]` as a program writes it; names that are no identifiers are put in brackets. */
function formatPath(path: Path): string {
    return path.reduce<string>((before, part) => {
        if (typeof part === "number") {
            return `${before}[${part}]`;
        }
        const name = String(part);
        if (!/^[A-Za-z_$][\w$]*$/.test(name)) {
            return `${before}[${JSON.stringify(name)}]`;
        }
        return before === "" ? name : `${before}.${name}`;
    }, "");
}

/** An issue of zod as problems; `prefix` is the path of the union the issue was found in. */
function problemsOf(issue: Issue, prefix: Path): Problem[] {
    const full = [...prefix, ...issue.path];
    const path = formatPath(full);
    const fault = faultOf(issue);
    if (fault !== undefined) {
        const { found, expected, unknownAmong } = fault;
        const hint = unknownAmong === undefined ? fault.hint : didYouMean(String(full.at(-1)), unknownAmong);
        return [hint === undefined ? { path, found, expected } : { path, found, expected, hint }];
    }
    if (issue.code === "invalid_union") {
        return unionProblems(issue, full, path);
    }
    return [{ path, found: kindOf(issue.input), expected: issue.message }];
}

function faultOf(issue: Issue): Fault | undefined {
    return issue.code === "custom" ? (issue.params?.fault as Fault | undefined) : undefined;
}

/**
 * A value that may have several shapes: the shape that was most likely meant is the one that is told. Where the value has none
 * of the kinds at all (text instead of a list or `false`), one problem names them all.
 */
function unionProblems(issue: z.core.$ZodIssueInvalidUnion, full: Path, path: string): Problem[] {
    const meant = issue.errors.filter((branch) => !branch.some(isWrongKind));
    if (meant.length === 0) {
        const mismatches = issue.errors.map((branch) => branch.find(isWrongKind)).filter((one) => one !== undefined);
        const expectations = mismatches.flatMap((one) => problemsOf(one, full)).map((problem) => problem.expected);
        const expected = [...new Set(expectations)].filter((text) => text !== "").join(" or ");
        return [{ path, found: kindOf(issue.input), expected }];
    }
    const told = meant.map((branch) => branch.flatMap((inner) => problemsOf(inner, full)));
    return told.reduce((best, other) => (weight(other) < weight(best) ? other : best));
}

/** Fewer problems are nearer to what was meant; among equals, the ones with a fix to offer. */
function weight(problems: Problem[]): number {
    return problems.reduce((sum, problem) => sum + (problem.hint === undefined ? 10 : 9), 0);
}

/** Whether a union's branch failed because the value as a whole is of another kind. */
function isWrongKind(issue: Issue): boolean {
    if (issue.path.length > 0) {
        return false;
    }
    if (issue.code === "invalid_union") {
        return issue.errors.every((branch) => branch.some(isWrongKind));
    }
    return issue.code === "custom" ? faultOf(issue)?.wrongKind === true : issue.code === "invalid_type";
}

/** A problem for each value that is not known yet. */
function unresolvedIn(value: unknown, path: Path): Problem[] {
    if (value instanceof Unresolved) {
        return [{ path: formatPath(path), found: "not known yet", expected: "a value that is known by now" }];
    }
    if (Array.isArray(value)) {
        return value.flatMap((item, index) => unresolvedIn(item, [...path, index]));
    }
    if (typeof value === "object" && value !== null) {
        return Object.entries(value).flatMap(([key, item]) => unresolvedIn(item, [...path, key]));
    }
    return [];
}
