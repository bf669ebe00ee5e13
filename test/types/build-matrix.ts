// Checked by tsc alone: what a program may rely on in the cells of a matrix.

import type { z } from "zod";
import type { matrixSettings } from "../../core/matrix-settings";
import {
    BuildMatrix,
    type BuildMatrixArgs,
    type MatrixAxes,
    type MatrixExtra,
    type MultiPlatformImageArgs,
} from "../../index";

type Equal<One, Other> =
    (<T>() => T extends One ? 1 : 2) extends <T>() => T extends Other ? 1 : 2 ? true : { one: One; other: Other };
const holds = <_Claim extends true>() => {};
declare const args: MultiPlatformImageArgs;

const plain = new BuildMatrix("app", {
    axes: {
        region: ["eu-west-1", "us-east-1"],
        environment: ["staging", "production"],
        replicas: [1, 3],
        debug: [true],
    },
    exclude: [{ region: "us-east-1", environment: "staging" }],
});
type Plain = (typeof plain.cells)[number]["values"];
holds<Equal<Plain["region"], "eu-west-1" | "us-east-1">>();
holds<Equal<Plain["replicas"], 1 | 3>>();
holds<Equal<keyof Plain, "region" | "environment" | "replicas" | "debug">>();
plain.images(({ values }) => ({ ...args, buildArgs: { REGION: values.region } }), { by: ["region"] });
// @ts-expect-error: no such axis
plain.images(() => args, { by: ["zone"] });
// @ts-expect-error: a cell has no such value
plain.images(({ values }) => ({ ...args, target: values.zone }));

const more = new BuildMatrix("app", {
    axes: { region: ["eu-west-1"], environment: ["staging"] },
    include: [
        { region: "eu-west-1", memory: "2 GB" },
        { region: "ap-south-1", environment: "production", spot: true },
    ],
});
type More = (typeof more.cells)[number]["values"];
holds<Equal<More["region"], "eu-west-1" | "ap-south-1">>();
holds<Equal<More["environment"], "staging" | "production">>();
holds<Equal<More["memory"], "2 GB" | undefined>>();
holds<Equal<More["spot"], true | undefined>>();

// @ts-expect-error: a value that the axis does not have
new BuildMatrix("app", { axes: { region: ["eu-west-1"] }, exclude: [{ region: "eu-west-2" }] });
// @ts-expect-error: axes are lists of single values
new BuildMatrix("app", { axes: { region: [{ name: "eu-west-1" }] } });

// Arguments that were put together elsewhere keep their wider types.
const axes: Record<string, string[]> = { region: ["eu-west-1"] };
const wide = new BuildMatrix("app", { axes });
holds<Equal<(typeof wide.cells)[number]["values"][string], string>>();

// The hand-written arguments and the schema that checks them have the same fields, the same of them required.
type Written = BuildMatrixArgs<MatrixAxes, MatrixExtra>;
type Checked = z.input<ReturnType<typeof matrixSettings>>;
type Required<T> = { [Name in keyof T]-?: Partial<Pick<T, Name>> extends Pick<T, Name> ? never : Name }[keyof T];
holds<Equal<keyof Written, keyof Checked>>();
holds<Equal<Required<Written>, Required<Checked>>>();
