import type { z } from "zod";

/** One line of the table of settings. */
export interface SettingRow {
    /** `scan.ignore[].until`; a name the user chooses is `<name>`. */
    path: string;
    /** What the setting takes, in words. */
    type: string;
    /** As it would be written in JSON; empty where there is none. */
    default: string;
    description: string;
}

/** The parts of a zod schema's definition that lead to the schemas inside it. */
interface Definition {
    type: string;
    innerType?: z.ZodType;
    defaultValue?: unknown;
    shape?: Record<string, z.ZodType>;
    element?: z.ZodType;
    valueType?: z.ZodType;
    options?: z.ZodType[];
}

/**
 * All settings of a schema, each with type, default and description, in the schema's order: what the README shows is what the
 * program checks.
 */
export function settingsTable(schema: z.ZodType): SettingRow[] {
    return rowsOf(schema, { path: "", type: "", default: "", description: "" });
}

function rowsOf(schema: z.ZodType, outer: SettingRow): SettingRow[] {
    const definition = schema.def as unknown as Definition;
    const meta = schema.meta() ?? {};
    const row = { ...outer, description: outer.description || (meta.description ?? "") };
    if (definition.innerType !== undefined) {
        const isDefault = definition.type === "default";
        return rowsOf(
            definition.innerType,
            isDefault ? { ...row, default: JSON.stringify(definition.defaultValue) } : row,
        );
    }
    if (typeof meta.expected === "string") {
        return [{ ...row, type: meta.expected }];
    }
    if (definition.options !== undefined) {
        return rowsOfUnion(definition.options, row);
    }
    const { path } = row;
    if (definition.shape !== undefined) {
        return Object.entries(definition.shape).flatMap(([name, inner]) =>
            rowsOf(inner, { path: path === "" ? name : `${path}.${name}`, type: "", default: "", description: "" }),
        );
    }
    const inside = definition.element ?? definition.valueType;
    if (inside === undefined) {
        return [];
    }
    const rows = rowsOf(inside, { ...row, path: definition.element ? `${path}[]` : `${path}.<name>`, default: "" });
    const [only] = rows;
    // A list of single values is one line; a list of tables has a line for itself and one for each of their settings.
    if (rows.length === 1 && only !== undefined && !only.path.slice(path.length + 2).includes(".")) {
        const type = definition.element ? `list of: ${only.type}` : `table by name of: ${only.type}`;
        return [{ ...row, type }];
    }
    return [{ ...row, type: definition.element ? "list of tables" : "table of tables by name" }, ...rows];
}

/** Single values of a union share one line; the settings of its tables follow. What stands for "not known yet" is left out. */
function rowsOfUnion(all: z.ZodType[], row: SettingRow): SettingRow[] {
    const options = all.filter((option) => option.meta()?.unresolved !== true);
    const [only] = options;
    if (options.length === 1 && only !== undefined) {
        return rowsOf(only, row);
    }
    const inner = options.flatMap((option) => rowsOf(option, row));
    const own = inner.filter(({ path }) => path === row.path);
    const below = inner.filter(({ path }) => path !== row.path);
    if (own.length === 0) {
        return below;
    }
    const types = own.map(({ type }) => type);
    return [{ ...row, type: [...types, ...(below.length > 0 ? ["table"] : [])].join(", or ") }, ...below];
}
