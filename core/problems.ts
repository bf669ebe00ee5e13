import { count } from "./text";

/** One thing that is wrong in somebody's settings. */
export interface Problem {
    /** Where, as it is written in a program: `scan.ignore[0].until`. Empty for the settings as a whole. */
    path: string;
    /** What is there, as the start of a sentence: `"linux/arm64/v9" is not a platform`, `missing`. */
    found: string;
    /** What would be right: `a platform such as "linux/arm64"`. */
    expected: string;
    /** The likely fix, where there is one; it takes the place of `expected` in the message. */
    hint?: string;
}

/**
 * A value that can't be read, thrown by every parser of core (platforms, references, durations, sizes, versions).
 * Its parts become a {@link Problem} when the value stands in settings.
 */
export class FormatError extends Error {
    override readonly name = "FormatError";

    constructor(
        readonly found: string,
        readonly expected: string,
        readonly hint?: string,
    ) {
        super(`${found}; ${hint ?? `expected ${expected}`}`);
    }
}

/** All the problems of one subject's settings, in the order of the settings. */
export class SettingsError extends Error {
    override readonly name = "SettingsError";
    /** Pulumi prints an error that has this by its message alone, without a stack (@pulumi/pulumi: errors.ts, RunError). */
    readonly __pulumiRunError = true;

    /**
     * @param subject what the settings belong to: `MultiPlatformImage "app"`.
     * @param problems at least one.
     */
    constructor(
        readonly subject: string,
        readonly problems: readonly Problem[],
    ) {
        super([`${subject}: ${count(problems.length, "problem")}`, ...problems.map(problemLine)].join("\n"));
    }
}

/** The problem in one line, indented under its subject. */
function problemLine({ path, found, expected, hint }: Problem): string {
    return `  ${path === "" ? "" : `${path}: `}${found}; ${hint ?? `expected ${expected}`}`;
}
