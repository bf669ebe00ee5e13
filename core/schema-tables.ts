import { z } from "zod";
import { always, type Fault, late, report, Unresolved } from "./schema";

type Shape = Record<string, z.ZodType>;

/** A table with these settings and no others; a name that is near one of them is asked about. */
export function fields<S extends Shape>(shape: S, expected = "a table of settings"): z.ZodObject<S, z.core.$strip> {
    const names = Object.keys(shape);
    const unknownName = z.custom<unknown>().check((payload) => {
        report(payload, { found: "not a setting", expected: `one of ${names.join(", ")}`, unknownAmong: names });
    });
    // The catch-all refuses every name it sees, so the type need not know of it.
    const schema = z.object(shape, { error: expected }).catchall(unknownName);
    return schema as unknown as z.ZodObject<S, z.core.$strip>;
}

/** A table in which exactly one of the settings is set: the kinds of a thing, each with settings of its own. */
export function exactlyOne<S extends Shape>(shape: S): z.ZodType<{ [Name in keyof S]?: z.output<S[Name]> }> {
    const names = Object.keys(shape);
    const optional = Object.fromEntries(Object.entries(shape).map(([name, schema]) => [name, schema.optional()]));
    const expected = `exactly one of ${names.join(", ")}`;
    return fields(optional, `a table with ${expected}`).superRefine((value, ctx) => {
        const set = isTable(value) ? names.filter((name) => value[name] !== undefined) : [];
        if (isTable(value) && set.length > 1) {
            report(ctx, { found: `${set.join(" and ")} are both set`, expected });
        } else if (isTable(value) && Object.keys(value).length === 0) {
            report(ctx, { found: "empty", expected });
        }
    }, always) as unknown as z.ZodType<{ [Name in keyof S]?: z.output<S[Name]> }>;
}

/** What a list must be beyond its items. */
export interface ListRules<T> {
    /** What the list is of, in the plural: `platforms`. */
    of: string;
    /** The least number of items; default 0. */
    min?: number;
    /** What makes two items the same, which is refused; without it, repeats are fine. */
    identity?: (item: T) => string | undefined;
}

/** A list; each wrong item is a problem of its own, and so is each item that comes again. */
export function list<T>(item: z.ZodType<T>, { of, min = 0, identity }: ListRules<T>): z.ZodType<T[]> {
    const expected = `a list of ${of}${min > 0 ? `, at least ${min === 1 ? "one" : min}` : ""}`;
    return z.array(late(item), { error: expected }).superRefine((items, ctx) => {
        if (!Array.isArray(items)) {
            return;
        }
        if (items.length < min) {
            report(ctx, { found: items.length === 0 ? "empty" : `only ${items.length}`, expected });
        }
        const seen = new Map<string, number>();
        for (const [index, value] of items.entries()) {
            const key = Unresolved.is(value) || value === undefined || value === null ? undefined : identity?.(value);
            const earlier = key === undefined ? undefined : seen.get(key);
            if (earlier !== undefined) {
                report(ctx, { found: `the same as item ${earlier}`, expected: "each once", hint: "leave one out" }, [
                    index,
                ]);
            } else if (key !== undefined) {
                seen.set(key, index);
            }
        }
    }, always);
}

/** A table whose names the user chooses. */
export function table<T>(
    value: z.ZodType<T>,
    of: string,
    nameFault: (name: string) => Fault | undefined = (name) =>
        name.trim() === "" ? { found: "an empty name", expected: "a name" } : undefined,
): z.ZodType<Record<string, T>> {
    return z.record(z.string(), late(value), { error: `a table of ${of}` }).superRefine((entries, ctx) => {
        for (const name of isTable(entries) ? Object.keys(entries) : []) {
            const fault = nameFault(name);
            if (fault !== undefined) {
                report(ctx, fault, [name]);
            }
        }
    }, always);
}

/** Whether checks may look into a value: a table, and not something that stands for one. */
export function isTable(value: unknown): value is Record<string, unknown> {
    return typeof value === "object" && value !== null && !Array.isArray(value) && !Unresolved.is(value);
}

/** The items of a list that are text: what checks across fields can judge although other items are wrong or unknown. */
export function textsIn(value: unknown): { text: string; index: number }[] {
    const items: unknown[] = Array.isArray(value) ? value : [];
    return items.flatMap((item, index) => (typeof item === "string" ? [{ text: item, index }] : []));
}
