import type { z } from "zod";
import { type AxisValue, type Cell, expandMatrix, type MatrixParts } from "./build-matrix";
import { always, type Fault, kindOf, leaf, report, whole } from "./schema";
import { fields, isTable, list, table } from "./schema-tables";
import { parseSettings } from "./settings";
import { quote } from "./text";

const value = leaf<AxisValue>("text, a number, true or false", (given): Fault | undefined => {
    const expected = "text, a number, true or false";
    if (typeof given === "number" && !Number.isFinite(given)) {
        return { found: `${given} is no value`, expected };
    }
    return ["string", "number", "boolean"].includes(typeof given) ? undefined : { found: kindOf(given), expected };
});

const axisName = (name: string): Fault | undefined =>
    /^[A-Za-z_][\w-]*$/.test(name)
        ? undefined
        : { found: `${quote(name)} is not an axis`, expected: "a name of letters, digits, _ and -" };

const combination = table(value, "values by axis").superRefine((given, ctx) => {
    if (isTable(given) && Object.keys(given).length === 0) {
        report(ctx, { found: "empty", expected: "at least one value" });
    }
}, always);

/** The schema of a BuildMatrix's arguments. */
export function matrixSettings(name: string) {
    return fields({
        axes: table(
            list(value, { of: "values", min: 1, identity: (one) => JSON.stringify(one) }),
            "lists of values",
            axisName,
        )
            .superRefine((axes, ctx) => {
                if (isTable(axes) && Object.keys(axes).length === 0) {
                    report(ctx, { found: "empty", expected: "at least one axis" });
                }
            }, always)
            .describe("The values of each axis; all combinations of them are cells"),
        include: list(combination, { of: "combinations" })
            .default([])
            .describe("Further values for the cells that fit, or further cells; as in GitHub Actions"),
        exclude: list(combination, { of: "combinations" })
            .default([])
            .describe("Cells that have all of these values are left out; before `include`"),
        limit: whole({ min: 1, max: 1000 }).default(20).describe("More cells are refused"),
        maxNameLength: whole({ min: 20, max: 200 })
            .default(63)
            .describe("Longer names of cells are cut, and end in a hash"),
    }).superRefine((settings, ctx) => {
        // Cells can only be told where everything they are made of is right.
        const { issues } = ctx;
        if (issues.length > 0) {
            return;
        }
        for (const { path, found, expected, hint } of expandMatrix({ ...settings, name }).problems) {
            report(ctx, { found, expected, ...(hint === undefined ? {} : { hint }) }, pathOf(path));
        }
    }, always);
}

/** `exclude[0].region` as the parts of a path. */
function pathOf(path: string): PropertyKey[] {
    return path
        .split(/[.[\]]/)
        .filter((part) => part !== "")
        .map((part) => (/^\d+$/.test(part) ? Number(part) : part));
}

/**
 * Checks a matrix's arguments, and expands it.
 *
 * @throws SettingsError with every problem at once.
 */
export function parseMatrix(name: string, given: unknown): MatrixParts & { cells: Cell[] } {
    const schema = matrixSettings(name) as unknown as z.ZodType<Omit<MatrixParts, "name">>;
    const parts = { name, ...parseSettings(`BuildMatrix ${JSON.stringify(name)}`, schema, given) };
    return { ...parts, cells: expandMatrix(parts).cells };
}
