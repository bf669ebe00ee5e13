import { FormatError } from "./problems";
import { quote } from "./text";

/** One day, in milliseconds. */
const dayLength = 86_400_000;

/** What a wrong day should have been. */
export const dayExpected = 'a day such as "2026-12-31"';

/**
 * The first moment of a day in UTC, in milliseconds since 1970.
 *
 * @param text year, month and day as in ISO 8601: `2026-12-31`.
 * @throws FormatError also for a day that is in no calendar (`2026-02-30`).
 */
export function parseDay(text: string): number {
    const start = /^\d{4}-\d{2}-\d{2}$/.test(text) ? Date.parse(`${text}T00:00:00Z`) : Number.NaN;
    // Date.parse takes 30 February for 2 March, so the day is written out again.
    if (Number.isNaN(start) || new Date(start).toISOString().slice(0, 10) !== text) {
        throw new FormatError(`${quote(text)} is not a day`, dayExpected);
    }
    return start;
}

/** Whether a day is over in UTC; the day itself still counts. */
export function hasPassed(day: string, now: Date): boolean {
    return now.getTime() >= parseDay(day) + dayLength;
}
