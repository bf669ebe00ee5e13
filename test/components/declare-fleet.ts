import { gunzipSync } from "node:zlib";
import type * as pulumi from "@pulumi/pulumi";
import { parse } from "yaml";
import { Ec2Fleet, type Ec2FleetArgs } from "../../components/aws/ec2-fleet";
import { type Calls, type Declared, declare, find } from "../support/declared";

export const subnets = ["a", "b"].map((letter, index) => ({
    id: `subnet-${index}${"0".repeat(16)}`,
    zone: `eu-central-1${letter}`,
    vpcId: "vpc-00000000000000001",
}));
export const PRIVATE: Ec2FleetArgs = { subnets, access: { mode: "private", from: ["10.0.0.0/16"] } };

export const declareFleet = (
    args: Partial<Ec2FleetArgs> = {},
    calls: Calls = {},
    options?: pulumi.ComponentResourceOptions,
) =>
    declare(
        () => {
            const { nodes, client, instanceIds, capacities, caches, cost } = new Ec2Fleet(
                "builders",
                { ...PRIVATE, ...args },
                options,
            );
            return { nodes, client, instanceIds, capacities, caches, cost };
        },
        { calls },
    );

/** What a node's user data writes, by path. */
export function filesOf(resources: Declared[], node: string): Record<string, string> {
    const { userData } = find(resources, `builders-${node}-template`).inputs;
    const text = gunzipSync(Buffer.from(userData, "base64")).toString();
    return Object.fromEntries(
        parse(text).write_files.map(({ path, content }: Record<string, string>) => [path, content]),
    );
}
