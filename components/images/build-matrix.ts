import { type AxisValue, cellName, type MatrixParts } from "../../core/build-matrix";
import { parseMatrix } from "../../core/matrix-settings";
import { type Problem, SettingsError } from "../../core/problems";
import { differingFields, isSame } from "../../core/same";
import { didYouMean, quote } from "../../core/text";
import type { MultiPlatformImageArgs } from "./args";
import type {
    BuildMatrixArgs,
    MatrixAxes,
    MatrixCell,
    MatrixExtra,
    MatrixImage,
    MatrixImagesOptions,
    MatrixValues,
} from "./matrix-args";
import { MultiPlatformImage } from "./multi-platform-image";

/**
 * All combinations of some axes' values, for a program that makes an image, a stack or anything else of each. It is no
 * resource itself.
 *
 * ```ts
 * const matrix = new BuildMatrix("app", {
 *     axes: { environment: ["staging", "production"], region: ["eu-west-1", "us-east-1"] },
 *     exclude: [{ environment: "staging", region: "us-east-1" }],
 * });
 * const images = matrix.images(({ values }) => ({
 *     fleet, repository, context: "../service", platforms, sign,
 *     buildArgs: { ENVIRONMENT: values.environment },
 * }), { by: ["environment"] });                     // two images, each shared by its regions
 * for (const { values, image } of images) deploy(values.region, image.ref);
 * ```
 *
 * @throws SettingsError with every problem at once; also for more cells than `limit`, with the count and the axes.
 */
export class BuildMatrix<const A extends MatrixAxes, const E extends MatrixExtra = never> {
    /** In the order of the axes, the last one changing fastest; what `include` adds comes last. */
    readonly cells: readonly MatrixCell<A, E>[];
    private readonly parts: MatrixParts;

    /** @param name what the names of cells begin with. */
    constructor(
        readonly name: string,
        args: BuildMatrixArgs<A, E>,
    ) {
        const { cells, ...parts } = parseMatrix(name, args);
        this.parts = parts;
        this.cells = cells.map((cell) => ({ name: cell.name, values: cell.values as MatrixValues<A, E> }));
    }

    /**
     * The cell of a name, for a program that runs once for each: `matrix.cell(pulumi.getStack())`.
     *
     * @throws Error naming the nearest cell.
     */
    cell(name: string): MatrixCell<A, E> {
        const found = this.cells.find((cell) => cell.name === name);
        if (found) return found;
        const names = this.cells.map((cell) => cell.name);
        const hint = didYouMean(name, names) ?? `its cells are ${names.join(", ")}`;
        throw new Error(`BuildMatrix ${quote(this.name)} has no cell ${quote(name)}; ${hint}`);
    }

    /**
     * Declares an image for each cell. Cells whose arguments are the same share one, which is declared once: plain arguments
     * are compared by what is in them, outputs and resources by identity, so make those outside of `argsOf`.
     *
     * A shared image has the name of its first cell, which another value may come before; `by` names it by the axes that make
     * the difference, for good.
     *
     * @returns each cell with its image.
     * @throws SettingsError where cells that agree on the axes of `by` have different arguments.
     */
    images(
        argsOf: (cell: MatrixCell<A, E>) => MultiPlatformImageArgs,
        { by, ...options }: MatrixImagesOptions<keyof A & string> = {},
    ): MatrixImage<A, E>[] {
        const wanted = this.cells.map((cell) => ({ cell, name: this.nameBy(cell, by), args: argsOf(cell) }));
        const problems = by ? [...unknownAxes(by, Object.keys(this.parts.axes)), ...disagreements(wanted)] : [];
        if (problems.length > 0) throw new SettingsError(`BuildMatrix ${JSON.stringify(this.name)}`, problems);
        const made: { args: MultiPlatformImageArgs; image: MultiPlatformImage }[] = [];
        return wanted.map(({ cell, name, args }) => {
            const same = made.find((other) => isSame(other.args, args));
            const image = same?.image ?? new MultiPlatformImage(name, args, options);
            if (!same) made.push({ args, image });
            return { ...cell, image };
        });
    }

    private nameBy(cell: MatrixCell<A, E>, by: readonly string[] | undefined): string {
        return by ? cellName(this.parts, cell.values as Record<string, AxisValue>, by) : cell.name;
    }
}

interface Wanted {
    cell: { name: string };
    name: string;
    args: MultiPlatformImageArgs;
}

function unknownAxes(by: readonly string[], axes: readonly string[]): Problem[] {
    return by.flatMap((axis, i) => {
        if (axes.includes(axis)) return [];
        const hint = didYouMean(axis, axes);
        const problem = {
            path: `by[${i}]`,
            found: `${quote(axis)} is not an axis`,
            expected: `one of ${axes.join(", ")}`,
        };
        return [hint === undefined ? problem : { ...problem, hint }];
    });
}

/** Images of one name are one image, so they must be the same. */
function disagreements(wanted: readonly Wanted[]): Problem[] {
    const first = new Map<string, Wanted>();
    return wanted.flatMap((one) => {
        const other = first.get(one.name);
        first.set(one.name, other ?? one);
        const fields = other ? differingFields(other.args, one.args) : [];
        if (!other || fields.length === 0) return [];
        const found = `cells ${other.cell.name} and ${one.cell.name} share an image, and differ in ${fields.join(", ")}`;
        return [{ path: "by", found, expected: "every axis that makes a difference to the arguments" }];
    });
}
