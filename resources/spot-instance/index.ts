import * as pulumi from "@pulumi/pulumi";
import { OperationsResource } from "../dynamic";

export interface SpotInstanceArgs {
    /** `lt-…`; says everything about the instance that does not stand here. */
    launchTemplateId: pulumi.Input<string>;
    /** A number as text, so that a change is seen: another version makes another instance. */
    launchTemplateVersion: pulumi.Input<string>;
    /** `eu-central-1` */
    region: pulumi.Input<string>;
    subnetId: pulumi.Input<string>;
    /**
     * What happens where AWS has no Spot capacity: an error (`none`), or an instance at the full price (`on-demand`); default
     * `none`. It is asked for at the launch, and by the `up` after a builder could not start the stopped instance again.
     */
    fallback?: pulumi.Input<"none" | "on-demand">;
    /**
     * What AWS does when it takes the capacity back; default `stop`, which keeps the disks. AWS starts again what it has stopped
     * itself, once there is capacity; one that switched itself off before, as a fleet's nodes do on AWS's notice, is started by
     * the next builder that is registered on it.
     */
    interruption?: pulumi.Input<"stop" | "terminate">;
    /** Of the instance and its Spot request; default none. */
    tags?: pulumi.Input<Record<string, pulumi.Input<string>>>;
}

/**
 * One Spot instance from a launch template. A new version, or an instance that AWS took or can't start again, makes another one, before the old one
 * goes. An instance that a run which was killed has started is adopted by the next; so `--replace` alone makes no new one.
 */
export class SpotInstance extends OperationsResource {
    declare readonly instanceId: pulumi.Output<string>;
    declare readonly arn: pulumi.Output<string>;
    declare readonly privateIp: pulumi.Output<string>;
    /** Empty where it has none. */
    declare readonly publicIp: pulumi.Output<string>;
    declare readonly availabilityZone: pulumi.Output<string>;
    /** How it is paid for: `on-demand` after the fallback. */
    declare readonly capacity: pulumi.Output<"spot" | "on-demand">;

    constructor(name: string, args: SpotInstanceArgs, options?: pulumi.CustomResourceOptions) {
        super(
            "SpotInstance",
            name,
            {
                fallback: "none",
                interruption: "stop",
                tags: {},
                ...args,
                // What tells it from another instance of the same template.
                machine: `${pulumi.getProject()}/${pulumi.getStack()}/${name}`,
            },
            ["instanceId", "arn", "privateIp", "publicIp", "availabilityZone", "capacity", "spotRequestId", "owner"],
            [],
            options,
        );
    }
}
