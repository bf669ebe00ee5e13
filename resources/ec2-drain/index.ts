import type * as pulumi from "@pulumi/pulumi";
import { OperationsResource } from "../dynamic";

export interface Ec2DrainArgs {
    /** `eu-central-1` */
    region: pulumi.Input<string>;
    /** The instance that runs BuildKit now. */
    instanceId: pulumi.Input<string>;
    /** How long builds that run on it may take to end; default 1800. Then it is stopped all the same. */
    timeoutSeconds?: pulumi.Input<number>;
}

/**
 * Lets the builds on an instance end before it goes. When `instanceId` changes, and when this is deleted, the instance before
 * is asked (by the tag `buildfleet:drain`) to take no new builds, to wait for those that run and to switch itself off.
 */
export class Ec2Drain extends OperationsResource {
    /** Whether the last drain took longer than it might, and builds were cut off. */
    declare readonly forced: pulumi.Output<boolean>;

    constructor(name: string, args: Ec2DrainArgs, options?: pulumi.CustomResourceOptions) {
        super("Ec2Drain", name, { timeoutSeconds: 1800, ...args }, ["forced"], [], options);
    }
}
