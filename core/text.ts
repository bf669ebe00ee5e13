/** Words for messages: quoting, counting, listing, and the nearest of some known words. Shared by every check of settings. */

/** The longest piece of a wrong value that a message repeats. */
const LONGEST_QUOTE = 60;

/** Puts a value in double quotes, control characters escaped, shortened to 60 characters. */
export function quote(value: string): string {
    return JSON.stringify(value.length > LONGEST_QUOTE ? `${value.slice(0, LONGEST_QUOTE - 1)}…` : value);
}

/** `"a"`, `"a" or "b"`, `"a", "b" or "c"`. */
export function oneOf(values: readonly string[]): string {
    const quoted = values.map((value) => JSON.stringify(value));
    return quoted.length < 2 ? quoted.join("") : `${quoted.slice(0, -1).join(", ")} or ${quoted.at(-1)}`;
}

/** `1 problem`, `2 problems`. */
export function count(amount: number, noun: string): string {
    return `${amount} ${noun}${amount === 1 ? "" : "s"}`;
}

/** Swapping two letters is the likelier slip of the fingers than hitting a wrong one, so it counts as a little less. */
const swap = 0.9;

/** Edits (insert, delete, substitute, swap of neighbours) between two words: optimal string alignment. */
function distance(left: string, right: string): number {
    let beforePrevious: number[] = [];
    let previous = Array.from({ length: right.length + 1 }, (_, column) => column);
    for (let row = 1; row <= left.length; row++) {
        const current = [row];
        for (let column = 1; column <= right.length; column++) {
            const same = left[row - 1] === right[column - 1];
            let best = Math.min(
                (current[column - 1] ?? 0) + 1,
                (previous[column] ?? 0) + 1,
                (previous[column - 1] ?? 0) + (same ? 0 : 1),
            );
            if (row > 1 && column > 1 && left[row - 1] === right[column - 2] && left[row - 2] === right[column - 1]) {
                best = Math.min(best, (beforePrevious[column - 2] ?? 0) + swap);
            }
            current.push(best);
        }
        beforePrevious = previous;
        previous = current;
    }
    return previous[right.length] ?? 0;
}

/** The known word a reader most likely meant, or nothing when all are too far away (more than a third of its letters). */
export function nearest(word: string, known: readonly string[]): string | undefined {
    const target = word.slice(0, LONGEST_QUOTE).toLowerCase();
    let best: { word: string; edits: number } | undefined;
    for (const candidate of known) {
        const edits = distance(target, candidate.toLowerCase());
        const allowed = Math.max(1, Math.floor(Math.max(target.length, candidate.length) / 3));
        if (edits <= allowed && (best === undefined || edits < best.edits)) {
            best = { word: candidate, edits };
        }
    }
    return best?.word;
}

/** `did you mean "x"?` where one of the known words is near. */
export function didYouMean(word: string, known: readonly string[]): string | undefined {
    const match = nearest(word, known);
    return match === undefined ? undefined : `did you mean ${JSON.stringify(match)}?`;
}
