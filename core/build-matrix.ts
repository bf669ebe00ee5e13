import { createHash } from "node:crypto";
import type { Problem } from "./problems";
import { count, didYouMean, quote } from "./text";

/** What an axis has, and a cell. */
export type AxisValue = string | number | boolean;

/** One combination. */
export interface Cell {
    /** Unique in the matrix; {@link cellName}. */
    name: string;
    /** The value on each axis, and what `include` has added. */
    values: Readonly<Record<string, AxisValue>>;
}

/** What a matrix is made of. */
export interface MatrixParts {
    name: string;
    axes: Readonly<Record<string, readonly AxisValue[]>>;
    include: readonly Readonly<Record<string, AxisValue>>[];
    exclude: readonly Readonly<Record<string, AxisValue>>[];
    limit: number;
    maxNameLength: number;
}

/** More combinations are not even looked at: what is excluded is found by looking at every one. */
const mostCombinations = 10_000;

/**
 * The cells of a matrix, in the order of its axes (the last one changes fastest), then the new ones of `include`. `exclude` and
 * `include` mean what they do in a workflow of GitHub Actions (docs.github.com, "Workflow syntax", `strategy.matrix`):
 *
 * - `exclude` takes away every combination that has all of its values; it is applied first;
 * - `include` adds its further values to every combination that has its values on the axes (to all, when it names no axis), and
 *   may overwrite what another `include` has added, but no value on an axis. When there is no such combination it becomes a new
 *   cell, to which no other `include` adds.
 *
 * Other than there, a new cell must have a value on every axis, so that a program can rely on it, and be none of the others; an
 * `exclude` must name axes and values that there are.
 *
 * @returns cells, or what is wrong, every problem with its path.
 */
export function expandMatrix(parts: MatrixParts): { cells: Cell[]; problems: Problem[] } {
    const { axes, include, exclude } = parts;
    const size = Object.values(axes).reduce((product, values) => product * values.length, 1);
    if (size > mostCombinations) {
        return { cells: [], problems: [limitProblem(parts, size, 0, 0)] };
    }
    const problems = [...exclude.flatMap((one, i) => excludeProblems(one, axes, `exclude[${i}]`)), ...emptySlugs(axes)];
    const kept = combinations(axes).filter((values) => !exclude.some((one) => hasAll(values, one)));
    const added = applyIncludes(kept, include, axes, problems);
    const all = [...kept, ...added];
    if (problems.length === 0 && all.length > parts.limit) {
        problems.push(limitProblem(parts, all.length, size - kept.length, added.length));
    }
    if (problems.length === 0 && all.length === 0) {
        problems.push({ path: "exclude", found: "nothing is left", expected: "at least one combination" });
    }
    const cells = all.map((values) => ({ name: cellName(parts, values, Object.keys(axes)), values }));
    if (problems.length === 0) {
        problems.push(...nameProblems(cells, Object.keys(axes)));
    }
    return problems.length > 0 ? { cells: [], problems } : { cells, problems };
}

/**
 * A cell's name: the matrix's, and the values on these axes in the order of the axes' names, in lower case, what is no letter or
 * digit as `-`: `app-production-eu-west-1`. It depends on nothing but these, so another value, cell or order renames nothing;
 * another axis renames all. What is longer than `maxNameLength` is cut, and ends in 8 digits of the SHA-256 of all of it.
 */
export function cellName(
    { name, maxNameLength }: Pick<MatrixParts, "name" | "maxNameLength">,
    values: Readonly<Record<string, AxisValue>>,
    axes: readonly string[],
): string {
    const sorted = [...axes].sort();
    const full = [name, ...sorted.map((axis) => slug(values[axis]))].join("-");
    if (full.length <= maxNameLength) {
        return full;
    }
    const identity = JSON.stringify([name, ...sorted.map((axis) => [axis, values[axis]])]);
    const hash = createHash("sha256").update(identity).digest("hex").slice(0, 8);
    return `${full.slice(0, maxNameLength - hash.length - 1).replace(/-+$/, "")}-${hash}`;
}

function slug(value: AxisValue | undefined): string {
    return String(value)
        .toLowerCase()
        .replace(/[^a-z0-9]+/g, "-")
        .replace(/^-|-$/g, "");
}

/** All combinations of the axes' values. */
function combinations(axes: MatrixParts["axes"]): Record<string, AxisValue>[] {
    return Object.entries(axes).reduce<Record<string, AxisValue>[]>(
        (before, [axis, values]) => before.flatMap((one) => values.map((value) => ({ ...one, [axis]: value }))),
        [{}],
    );
}

function hasAll(values: Readonly<Record<string, AxisValue>>, some: Readonly<Record<string, AxisValue>>): boolean {
    return Object.entries(some).every(([axis, value]) => values[axis] === value);
}

/** Adds to the combinations in place; what fits none is returned. */
function applyIncludes(
    combined: Record<string, AxisValue>[],
    include: MatrixParts["include"],
    axes: MatrixParts["axes"],
    problems: Problem[],
): Record<string, AxisValue>[] {
    const added: { values: Record<string, AxisValue>; index: number }[] = [];
    for (const [index, extra] of include.entries()) {
        const onAxes = Object.fromEntries(Object.entries(extra).filter(([axis]) => Object.hasOwn(axes, axis)));
        const fitting = combined.filter((values) => hasAll(values, onAxes));
        for (const values of fitting) {
            Object.assign(values, extra);
        }
        const missing = Object.keys(axes).filter((axis) => !Object.hasOwn(extra, axis));
        const twin = added.find(({ values }) => hasAll(values, onAxes));
        if (fitting.length === 0 && missing.length > 0) {
            const found = `fits no combination, and as a new one it has no ${missing.join(", ")}`;
            problems.push({ path: `include[${index}]`, found, expected: "a value on every axis of a new combination" });
        } else if (fitting.length === 0 && twin !== undefined) {
            const found = `the same combination as include[${twin.index}]`;
            problems.push({
                path: `include[${index}]`,
                found,
                expected: "each new combination once",
                hint: "join them",
            });
        } else if (fitting.length === 0) {
            added.push({ values: { ...extra }, index });
        }
    }
    return added.map(({ values }) => values);
}

function excludeProblems(one: Readonly<Record<string, AxisValue>>, axes: MatrixParts["axes"], path: string): Problem[] {
    return Object.entries(one).flatMap(([axis, value]): Problem[] => {
        const values = Object.hasOwn(axes, axis) ? axes[axis] : undefined;
        const at = `${path}.${axis}`;
        if (values === undefined) {
            const names = Object.keys(axes);
            return [withHint({ path: at, found: "not an axis", expected: `one of ${names.join(", ")}` }, axis, names)];
        }
        if (values.includes(value)) {
            return [];
        }
        const shown = values.map((known) => JSON.stringify(known)).join(", ");
        const found = `${JSON.stringify(value)} is not on this axis`;
        return [withHint({ path: at, found, expected: `one of ${shown}` }, String(value), values.map(String))];
    });
}

function withHint(problem: Problem, word: string, known: readonly string[]): Problem {
    const hint = didYouMean(word, known);
    return hint === undefined ? problem : { ...problem, hint };
}

function emptySlugs(axes: MatrixParts["axes"]): Problem[] {
    return Object.entries(axes).flatMap(([axis, values]) =>
        values.flatMap((value, i) =>
            slug(value) === ""
                ? [
                      {
                          path: `axes.${axis}[${i}]`,
                          found: `${quote(String(value))} gives no name`,
                          expected: "a letter or digit",
                      },
                  ]
                : [],
        ),
    );
}

function limitProblem({ axes, limit }: MatrixParts, cells: number, excluded: number, included: number): Problem {
    const sizes = Object.entries(axes).map(([axis, values]) => `${axis} ${values.length}`);
    const changes = [excluded > 0 ? `, ${excluded} excluded` : "", included > 0 ? `, ${included} included` : ""].join(
        "",
    );
    const allowed = `at most ${limit}`;
    const hint = cells > mostCombinations ? "make an axis shorter" : `exclude some, or set limit to ${cells}`;
    return {
        path: "axes",
        found: `${count(cells, "cell")} (${sizes.join(" x ")}${changes}) where ${allowed} are allowed`,
        expected: allowed,
        hint,
    };
}

function nameProblems(cells: readonly Cell[], axes: readonly string[]): Problem[] {
    const seen = new Map<string, Cell>();
    return cells.flatMap((cell) => {
        const other = seen.get(cell.name);
        seen.set(cell.name, cell);
        if (other === undefined) {
            return [];
        }
        const axis = axes.find((one) => other.values[one] !== cell.values[one]) ?? "";
        const both = [other, cell].map(({ values }) => JSON.stringify(values[axis])).join(" and ");
        const found = `${both} give two cells one name, ${quote(cell.name)}`;
        return [{ path: `axes.${axis}`, found, expected: "values that differ in letters and digits" }];
    });
}
