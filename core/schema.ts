import { z } from "zod";
import { FormatError } from "./problems";
import { didYouMean, oneOf, quote } from "./text";

/** Stands for a value that is not known yet: an output of a resource that does not exist. Every schema here lets it pass. */
export class Unresolved {
    // A private member makes the type nominal: no other object passes for "not known yet".
    readonly #unresolved = true;

    /** Whether a value is one; works on values of any kind. */
    static is(value: unknown): value is Unresolved {
        return typeof value === "object" && value !== null && #unresolved in value;
    }
}

/** `T` where any value, at any depth, may be {@link Unresolved}. */
export type Late<T> =
    | Unresolved
    | (T extends readonly (infer Item)[] ? Late<Item>[] : T extends object ? { [Key in keyof T]: Late<T[Key]> } : T);

/** What is wrong with a value; travels in the `params` of a zod issue and becomes a problem in settings.ts. */
export interface Fault {
    found: string;
    expected: string;
    hint?: string;
    /** The value is of another kind altogether (a list instead of text), so another shape of a union may have been meant. */
    wrongKind?: true;
    /** The name itself is unknown; these are the ones there are. */
    unknownAmong?: readonly string[];
}

/** Adds a fault to a schema's issues; `path` is relative to the value being checked. */
export function report(payload: z.core.ParsePayload, fault: Fault, path: PropertyKey[] = []): void {
    const issue: z.core.$ZodRawIssue = {
        code: "custom",
        path,
        input: payload.value,
        message: fault.found,
        params: { fault },
    };
    // A union goes on to its next shape only past an issue that doesn't "continue"; checks across fields run in either case.
    payload.issues.push(fault.wrongKind ? issue : { ...issue, continue: true });
}

/** What kind of thing was found, without repeating it: it may be a secret. */
export function kindOf(value: unknown): string {
    if (value === undefined) {
        return "missing";
    }
    if (value === null) {
        return "found null";
    }
    if (Array.isArray(value)) {
        return "found a list";
    }
    if (typeof value === "object") {
        return "found a table of settings";
    }
    return typeof value === "string" ? "found text" : `found a ${typeof value}`;
}

/** Keeps a check running although parts of the value are wrong, so that all problems are told at once. */
export const always = { when: () => true };

/**
 * A single value that is not looked into further.
 *
 * @param expected what would be right; also the type column of the settings table.
 * @param examine what is wrong with a value, or nothing.
 */
export function leaf<T>(expected: string, examine: (value: unknown) => Fault | undefined): z.ZodType<T, T> {
    const schema = z.custom<T>().check((payload) => {
        const fault = Unresolved.is(payload.value) ? undefined : examine(payload.value);
        if (fault !== undefined) {
            report(payload, fault);
        }
    });
    return schema.meta({ expected });
}

/**
 * A text, read by one of core's parsers.
 *
 * @param read throws FormatError when the text is wrong; what it returns is what the settings hold afterwards.
 */
export function text<T extends string = string>(expected: string, read?: (value: string) => T): z.ZodType<T, T> {
    const schema = leaf<T>(expected, (value) => {
        if (typeof value !== "string") {
            return { found: kindOf(value), expected, wrongKind: true };
        }
        if (value.trim() === "") {
            return { found: "empty", expected };
        }
        return faultIn(() => read?.(value));
    });
    if (read === undefined) {
        return schema;
    }
    return schema
        .transform((value) => (typeof value === "string" ? read(value) : value))
        .meta({ expected }) as typeof schema;
}

/** Runs a parser of core; its FormatError is the fault. */
export function faultIn(read: () => unknown): Fault | undefined {
    try {
        read();
        return undefined;
    } catch (error) {
        if (error instanceof FormatError) {
            const { found, expected, hint } = error;
            return hint === undefined ? { found, expected } : { found, expected, hint };
        }
        throw error;
    }
}

/** A text that no message may repeat: a problem says what kind of thing was found, and no more. */
export function secretText(expected: string): z.ZodType<string, string> {
    return leaf(expected, (value) => {
        if (typeof value !== "string") {
            return { found: kindOf(value), expected, wrongKind: true };
        }
        return value === "" ? { found: "empty", expected } : undefined;
    });
}

/** One of some words. */
export function choice<const T extends string>(words: readonly T[]): z.ZodType<T, T> {
    const expected = oneOf(words);
    return leaf<T>(expected, (value) => {
        if (typeof value !== "string") {
            return { found: kindOf(value), expected, wrongKind: true };
        }
        if ((words as readonly string[]).includes(value)) {
            return undefined;
        }
        const hint = didYouMean(value, words);
        const fault = { found: `${quote(value)} is not one of the choices`, expected };
        return hint === undefined ? fault : { ...fault, hint: `${hint} (one of ${words.join(", ")})` };
    });
}

/** A whole number within bounds, both inclusive. */
export function whole(bounds: { min: number; max: number }): z.ZodType<number, number> {
    const expected = `a whole number from ${bounds.min} to ${bounds.max}`;
    return leaf<number>(expected, (value) => {
        if (typeof value === "string" && /^\d+$/.test(value)) {
            return { found: kindOf(value), expected, hint: "write it without quotes", wrongKind: true };
        }
        if (typeof value !== "number") {
            return { found: kindOf(value), expected, wrongKind: true };
        }
        const right = Number.isInteger(value) && value >= bounds.min && value <= bounds.max;
        return right ? undefined : { found: `${value} is out of range`, expected };
    });
}

/** True or false. */
export function flag(): z.ZodType<boolean, boolean> {
    const expected = "true or false";
    return leaf<boolean>(expected, (value) => {
        if (typeof value === "boolean") {
            return undefined;
        }
        return { found: kindOf(value), expected, wrongKind: true };
    });
}

/** Exactly `false`: what switches a stage off. */
export function off(): z.ZodType<false, false> {
    return leaf<false>("false", (value) =>
        value === false ? undefined : { found: kindOf(value), expected: "false", wrongKind: true },
    );
}

/** Lets {@link Unresolved} stand for a whole list or table. */
export function late<T, Given>(schema: z.ZodType<T, Given>): z.ZodType<T, Given> {
    // An empty expectation is left out of messages: nobody writes an Unresolved by hand.
    const unknownYet = z.custom<T>().check((payload) => {
        if (!Unresolved.is(payload.value)) {
            report(payload, { found: kindOf(payload.value), expected: "", wrongKind: true });
        }
    });
    const marked = unknownYet.meta({ unresolved: true }) as z.ZodType<T, unknown> as z.ZodType<T, Given>;
    return z.union([marked, schema]);
}
