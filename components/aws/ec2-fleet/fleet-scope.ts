import type * as pulumi from "@pulumi/pulumi";
import type { FleetSettings } from "../../../core/aws/fleet-settings";
import { type NameScope, physicalName, shortened } from "../../../core/aws/names";
import type { Ec2FleetArgs } from "./args";
import type { Ec2FleetTransform } from "./transform";

/** What all children of one fleet share: names, tags, parent. */
export interface FleetScope {
    name: string;
    /** `Ec2Fleet "builders"`, for errors. */
    subject: string;
    args: Ec2FleetArgs;
    settings: FleetSettings;
    transform: Ec2FleetTransform;
    names: NameScope;
    child: { parent: pulumi.Resource };
}

export function fleetScope(
    name: string,
    subject: string,
    args: Ec2FleetArgs,
    settings: FleetSettings,
    names: NameScope,
    parent: pulumi.Resource,
): FleetScope {
    return { name, subject, args, settings, transform: args.transform ?? {}, names, child: { parent } };
}

/** The user's tags, and the fleet's own; `Name` is the user's, where there is one. */
export function tagsOf({ name, args }: FleetScope, node?: string): Record<string, pulumi.Input<string>> {
    return {
        Name: shortened(node === undefined ? name : `${name}-${node}`, 256),
        ...args.tags,
        "buildfleet:fleet": shortened(name, 256),
        ...(node === undefined ? {} : { "buildfleet:node": node }),
    };
}

/** `{name}` where Pulumi's own would be too long; a fixed name is taken by one resource at a time. */
export function named(
    { names }: FleetScope,
    kind: Parameters<typeof physicalName>[0],
    logical: string,
): { name?: string } {
    const name = physicalName(kind, logical, names);
    return name === undefined ? {} : { name };
}
