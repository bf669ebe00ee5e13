import type * as pulumi from "@pulumi/pulumi";
import { OperationsResource } from "../dynamic";

export interface Ec2DrainArgs {
    /** `eu-central-1` */
    region: pulumi.Input<string>;
    /** The instance that runs BuildKit now. */
    instanceId: pulumi.Input<string>;
    /** How long builds that run on it may take to end; default 1800. Then it is stopped all the same. */
    timeoutSeconds?: pulumi.Input<number>;
    /**
     * When to drain: only when `instanceId` changes, or only when this is deleted; default both. What has to move after a drain depends
     * on this resource, and so goes before it: a second one with `delete` that depends on those things drains before they go.
     */
    on?: pulumi.Input<"change" | "delete">;
}

/**
 * Lets the builds on an instance end before it goes. When `instanceId` changes, and when this is deleted (see `on`), the instance before
 * is asked (by the tag `buildfleet:drain`) to take no new builds, to wait for those that run and to switch itself off.
 */
export class Ec2Drain extends OperationsResource {
    /** Whether the last drain took longer than it might, and builds were cut off. */
    declare readonly forced: pulumi.Output<boolean>;

    constructor(name: string, args: Ec2DrainArgs, options?: pulumi.CustomResourceOptions) {
        super("Ec2Drain", name, { timeoutSeconds: 1800, ...args }, ["forced"], [], options);
    }
}
