import { FormatError } from "./problems";
import { quote } from "./text";

type Unit = "millisecond" | "second" | "minute" | "hour" | "day" | "week";

/** An amount of time: `"30 minutes"`, `"1 hour"`, `"1.5 days"`. */
export type Duration = `${number} ${Unit | `${Unit}s`}`;

const milliseconds: Record<Unit, number> = {
    millisecond: 1,
    second: 1_000,
    minute: 60_000,
    hour: 3_600_000,
    day: 86_400_000,
    week: 604_800_000,
};

const abbreviations = new Map<string, Unit>([
    ["ms", "millisecond"],
    ["s", "second"],
    ["sec", "second"],
    ["m", "minute"],
    ["min", "minute"],
    ["h", "hour"],
    ["hr", "hour"],
    ["d", "day"],
    ["w", "week"],
]);

/** What a wrong duration should have been. */
export const durationExpected = 'a duration such as "30 minutes" or "2 days"';

/**
 * A duration in milliseconds, rounded to whole ones.
 *
 * @throws FormatError when the text is no duration; a unit that can be guessed ("30 min") is the hint.
 */
export function parseDuration(text: string): number {
    const match = /^(\d+(?:\.\d+)?) ([a-z]+?)s?$/.exec(text);
    const unit = match?.[2];
    if (match?.[1] === undefined || unit === undefined || !isUnit(unit)) {
        throw new FormatError(`${quote(text)} is not a duration`, durationExpected, guess(text));
    }
    const amount = Number(match[1]) * milliseconds[unit];
    if (!Number.isSafeInteger(Math.round(amount))) {
        throw new FormatError(`${quote(text)} is too long`, durationExpected);
    }
    return Math.round(amount);
}

/** Milliseconds as a duration in the largest unit that keeps it whole: 5400000 is `"90 minutes"`. */
export function formatDuration(ms: number): Duration {
    const units = Object.keys(milliseconds) as Unit[];
    const fitting = units.filter((unit) => ms !== 0 && ms % milliseconds[unit] === 0);
    const unit = fitting.at(-1) ?? "millisecond";
    const amount = ms / milliseconds[unit];
    return amount === 1 ? `${amount} ${unit}` : `${amount} ${unit}s`;
}

function isUnit(word: string): word is Unit {
    return Object.hasOwn(milliseconds, word);
}

/** The duration meant by common abbreviations: `30m`, `30 min`, `2h`, `90sec`. */
function guess(text: string): string | undefined {
    const [, amount, letters] = /^\s*(\d+(?:\.\d+)?)\s*([a-z]+)\s*$/i.exec(text) ?? [];
    const word = letters?.toLowerCase() ?? "";
    const singular = word.replace(/s$/, "");
    const unit = abbreviations.get(word) ?? abbreviations.get(singular) ?? (isUnit(singular) ? singular : undefined);
    return unit && `did you mean "${amount} ${unit}${Number(amount) === 1 ? "" : "s"}"?`;
}
