import { FormatError } from "./problems";
import { quote } from "./text";

type Unit = "B" | "KB" | "MB" | "GB" | "TB" | "KiB" | "MiB" | "GiB" | "TiB";

/** An amount of bytes: `"100 GB"` (powers of 1000) or `"100 GiB"` (powers of 1024). */
export type Size = `${number} ${Unit}`;

const bytes: Record<Unit, number> = {
    B: 1,
    KB: 1e3,
    MB: 1e6,
    GB: 1e9,
    TB: 1e12,
    KiB: 2 ** 10,
    MiB: 2 ** 20,
    GiB: 2 ** 30,
    TiB: 2 ** 40,
};

/** What a wrong size should have been. */
export const sizeExpected = 'a size such as "100 GB" or "64 GiB"';

/**
 * A size in bytes, rounded to whole ones.
 *
 * @throws FormatError when the text is no size; a unit in other letters ("100gb", "100 G") is the hint.
 */
export function parseSize(text: string): number {
    const match = /^(\d+(?:\.\d+)?) ([A-Za-z]+)$/.exec(text);
    const unit = match?.[2];
    if (match?.[1] === undefined || unit === undefined || !isUnit(unit)) {
        throw new FormatError(`${quote(text)} is not a size`, sizeExpected, guess(text));
    }
    const amount = Math.round(Number(match[1]) * bytes[unit]);
    if (!Number.isSafeInteger(amount)) {
        throw new FormatError(`${quote(text)} is too large`, sizeExpected);
    }
    return amount;
}

/** Bytes as a size, in the largest unit that keeps it whole; decimal units before binary ones: 100000000000 is `"100 GB"`. */
export function formatSize(amount: number): Size {
    const order: Unit[] = ["TB", "TiB", "GB", "GiB", "MB", "MiB", "KB", "KiB"];
    const unit = order.find((candidate) => amount !== 0 && amount % bytes[candidate] === 0) ?? "B";
    return `${amount / bytes[unit]} ${unit}`;
}

function isUnit(word: string): word is Unit {
    return Object.hasOwn(bytes, word);
}

function guess(text: string): string | undefined {
    const [, amount, letters] = /^\s*(\d+(?:\.\d+)?)\s*([a-z]+)\s*$/i.exec(text) ?? [];
    const spelled = letters?.toLowerCase();
    const unit = (Object.keys(bytes) as Unit[]).find((candidate) => {
        const lower = candidate.toLowerCase();
        return lower === spelled || (lower.length > 1 && lower.replace(/b$/, "") === spelled);
    });
    return unit && `did you mean "${amount} ${unit}"?`;
}
