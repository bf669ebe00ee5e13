// Checked by tsc alone: the fleet's hand-written interface and the schema that checks it say the same.

import type * as pulumi from "@pulumi/pulumi";
import type { z } from "zod";
import type { Ec2FleetArgs } from "../../components/aws/ec2-fleet";
import type { FleetSettings, fleetSettings } from "../../core/aws/fleet-settings";

/** Fields and their types, whatever is optional, an input, or read-only. */
type Shape<T> = T extends string | number | boolean
    ? T
    : T extends readonly (infer Item)[]
      ? Shape<Item>[]
      : T extends object
        ? { [Name in keyof T]-?: Shape<Exclude<T[Name], undefined>> }
        : T;
type Equal<One, Other> =
    (<T>() => T extends One ? 1 : 2) extends <T>() => T extends Other ? 1 : 2 ? true : { one: One; other: Other };
type Required<T> = { [Name in keyof T]-?: Partial<Pick<T, Name>> extends Pick<T, Name> ? never : Name }[keyof T];
const holds = <_Claim extends true>() => {};

/** The transform is no plain value: the component looks at it itself. */
type Args = Omit<Ec2FleetArgs, "transform">;
type Plain = Shape<pulumi.Unwrap<Args>>;
type Checked = Shape<FleetSettings>;

// Field by field, so that an error names the field.
type Differences = { [Name in keyof (Plain & Checked)]: Equal<Plain[Name], Checked[Name]> };
holds<Equal<keyof Plain, keyof Checked>>();
holds<Equal<Differences, { [Name in keyof Plain]: true }>>();
// What must be given: everything else has a default.
holds<Equal<Required<Args>, Required<z.input<ReturnType<typeof fleetSettings>>>>>();
