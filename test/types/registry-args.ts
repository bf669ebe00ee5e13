// Checked by tsc alone: a registry's hand-written interface and the schema that checks it say the same.

import type * as pulumi from "@pulumi/pulumi";
import type { z } from "zod";
import type { NodeRegistrySettings } from "../../core/node-registries";
import type { RegistrySettings, registrySettings } from "../../core/registry-settings";
import type { Fleet, LocalFleet, NodeRegistry, RegistryArgs, RegistryConnection } from "../../index";

type Equal<One, Other> =
    (<T>() => T extends One ? 1 : 2) extends <T>() => T extends Other ? 1 : 2 ? true : { one: One; other: Other };
type Required<T> = { [Name in keyof T]-?: Partial<Pick<T, Name>> extends Pick<T, Name> ? never : Name }[keyof T];
const holds = <_Claim extends true>() => {};

holds<Equal<keyof RegistryArgs, keyof RegistrySettings>>();
holds<Equal<Required<RegistryArgs>, Required<z.input<ReturnType<typeof registrySettings>>>>>();
// What a program writes of a node's registry is what the node's settings are made of.
holds<Equal<pulumi.Unwrap<NodeRegistry>, NodeRegistrySettings>>();

declare const connection: RegistryConnection;
declare const fleet: LocalFleet;
export const registries: pulumi.Input<Record<string, pulumi.Input<NodeRegistry>>> = connection.nodeSettings;
export const anyFleet: Fleet = fleet;
