import { existsSync, readFileSync } from "node:fs";
import { z } from "zod";
import { type Severity, severities } from "../../core/verdict";

/**
 * Reads a scanner's report. A shape that is not known refuses: it must never read as "nothing found".
 *
 * @throws Error naming what is different.
 */
export function readReport<T>(scanner: string, path: string, schema: z.ZodType<T>): { report: T; raw: Buffer } {
    if (!existsSync(path)) throw new Error(`${scanner} ended without an error and without a report`);
    const raw = readFileSync(path);
    return { report: parseReport(scanner, raw, schema), raw };
}

/** {@link readReport} of bytes. */
export function parseReport<T>(scanner: string, raw: Buffer | string, schema: z.ZodType<T>): T {
    let value: unknown;
    try {
        value = JSON.parse(raw.toString());
    } catch (error) {
        throw new Error(`${scanner} wrote a report that is not JSON`, { cause: error });
    }
    const parsed = schema.safeParse(value);
    if (!parsed.success) {
        throw new Error(
            `${scanner} wrote a report of a shape this version does not know:\n${firstLines(parsed.error)}`,
        );
    }
    return parsed.data;
}

/** A scanner's word for a severity, in any case; an empty one is `unknown`, and one we don't know refuses. */
export const severity = z.string().transform((word, context): Severity => {
    const known = severities.find((each) => each === (word.toLowerCase() || "unknown"));
    if (known === undefined) {
        context.addIssue({ code: "custom", message: `"${word}" is not a severity this version knows` });
        return z.NEVER;
    }
    return known;
});

function firstLines(error: z.ZodError): string {
    const lines = z.prettifyError(error).split("\n");
    return lines.length > 10
        ? [...lines.slice(0, 10), `… and ${lines.length - 10} more lines`].join("\n")
        : lines.join("\n");
}
