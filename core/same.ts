/** Whether an object is nothing but its fields: no output, resource, promise or other thing with a life of its own. */
function isPlainTable(value: unknown): value is Record<string, unknown> {
    if (typeof value !== "object" || value === null) {
        return false;
    }
    const prototype = Object.getPrototypeOf(value);
    return prototype === Object.prototype || prototype === null;
}

/**
 * Whether two values are the same: lists and plain tables by what is in them (in any order of their names, a field that is
 * undefined like one that is not there), everything else by identity. Two outputs are the same only when they are one object:
 * what they will be is not known.
 */
export function isSame(left: unknown, right: unknown): boolean {
    if (Object.is(left, right)) {
        return true;
    }
    if (Array.isArray(left) && Array.isArray(right)) {
        return left.length === right.length && left.every((item, i) => isSame(item, right[i]));
    }
    return isPlainTable(left) && isPlainTable(right) && differingFields(left, right).length === 0;
}

/** Names of the fields in which two tables differ, sorted. */
export function differingFields(left: object, right: object): string[] {
    const [one, other] = [left as Record<string, unknown>, right as Record<string, unknown>];
    const names = new Set([...Object.keys(one), ...Object.keys(other)]);
    return [...names].filter((name) => !isSame(one[name], other[name])).sort();
}
