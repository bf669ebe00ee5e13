import type * as pulumi from "@pulumi/pulumi";
import type { AxisValue } from "../../core/build-matrix";
import type { MultiPlatformImage } from "./multi-platform-image";

/** The values of each axis, by its name. */
export type MatrixAxes = Readonly<Record<string, readonly AxisValue[]>>;

/** An entry of `include`: values on axes, and further ones. */
export type MatrixExtra = Readonly<Record<string, AxisValue | undefined>>;

export interface BuildMatrixArgs<A extends MatrixAxes, E extends MatrixExtra = never> {
    /** All combinations of their values are cells. Names and values of axes become names of resources. */
    axes: A;
    /**
     * As in GitHub Actions: each entry adds its further values to the cells that have its values on the axes (to all cells,
     * where it names no axis); where there are none it is a cell of its own, and must have a value on every axis. Default none.
     */
    include?: readonly E[];
    /** As in GitHub Actions: cells that have all values of an entry are left out, before `include`. Default none. */
    exclude?: readonly { readonly [Axis in keyof A]?: A[Axis][number] }[];
    /** More cells are refused; 1 to 1000, default 20. */
    limit?: number;
    /** Longer names of cells are cut, and end in a hash; 20 to 200 characters, default 63. */
    maxNameLength?: number;
}

type NamesIn<E> = E extends unknown ? keyof E : never;
type ValueIn<E, Name> = E extends unknown ? (Name extends keyof E ? Exclude<E[Name], undefined> : never) : never;

/** The values of a cell: one on every axis, and what `include` has added to some. */
export type MatrixValues<A extends MatrixAxes, E extends MatrixExtra = never> = {
    readonly [Axis in keyof A]: A[Axis][number] | ValueIn<E, Axis>;
} & {
    readonly [Name in Exclude<NamesIn<E>, keyof A>]?: ValueIn<E, Name>;
};

/** One combination. */
export interface MatrixCell<A extends MatrixAxes, E extends MatrixExtra = never> {
    /** `app-production-eu-west-1`: unique, and the same whatever other values and cells there are. */
    readonly name: string;
    readonly values: MatrixValues<A, E>;
}

/** A cell and its image; cells whose arguments are the same have the same image. */
export interface MatrixImage<A extends MatrixAxes, E extends MatrixExtra = never> extends MatrixCell<A, E> {
    readonly image: MultiPlatformImage;
}

/** Options of all images, and how they are named. */
export interface MatrixImagesOptions<Axis extends string> extends pulumi.ComponentResourceOptions {
    /** The axes that make a difference to the arguments: images are named by these. Default all. */
    by?: readonly Axis[];
}
