// Checked by tsc alone: the arguments' hand-written interface and the schema that checks them say the same.

import type * as pulumi from "@pulumi/pulumi";
import type { z } from "zod";
import type { ImageSettings, imageSettings } from "../../core/image-settings";
import type { LocalSettings } from "../../core/local-settings";
import type { LocalFleetArgs, MultiPlatformImageArgs } from "../../index";

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

/** Fleet, repository and transform are no plain values: the component looks at them itself. */
type Args = Omit<MultiPlatformImageArgs, "fleet" | "repository" | "transform">;
type Plain = Shape<pulumi.Unwrap<Args>>;
type Checked = Shape<Omit<ImageSettings, "repository">>;

// Field by field, so that an error names the field.
type Differences = { [Name in keyof (Plain & Checked)]: Equal<Plain[Name], Checked[Name]> };
holds<Equal<keyof Plain, keyof Checked>>();
holds<Equal<Differences, { [Name in keyof Plain]: true }>>();
// What must be given: everything else has a default.
holds<Equal<Required<Args>, Required<Omit<z.input<ReturnType<typeof imageSettings>>, "repository">>>>();

// The stack's settings are arguments of the components they go to.
holds<LocalSettings["scan"] extends MultiPlatformImageArgs["scan"] ? true : false>();
holds<LocalSettings["nodes"] extends LocalFleetArgs["nodes"] ? true : false>();
