// Checked by tsc alone: the fleet's hand-written interface and the schema that checks it have the same settings.

import type * as pulumi from "@pulumi/pulumi";
import type { ExternalFleetSettings } from "../../core/external-fleet-settings";
import type { ExternalFleetArgs } from "../../index";

type Equal<One, Other> =
    (<T>() => T extends One ? 1 : 2) extends <T>() => T extends Other ? 1 : 2 ? true : { one: One; other: Other };
const holds = <_Claim extends true>() => {};

type Plain = pulumi.Unwrap<ExternalFleetArgs>;
holds<Equal<keyof Plain, keyof ExternalFleetSettings>>();
holds<Equal<keyof Plain["nodes"][0], keyof ExternalFleetSettings["nodes"][0]>>();
holds<Equal<keyof NonNullable<Plain["client"]>, keyof NonNullable<ExternalFleetSettings["client"]>>>();
