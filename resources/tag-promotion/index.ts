import * as pulumi from "@pulumi/pulumi";
import type { RegistryConnection } from "../../core/registry-connection";
import { OperationsResource } from "../dynamic";

export interface TagPromotionArgs {
    /** `registry/path` */
    repository: pulumi.Input<string>;
    connection?: pulumi.Input<RegistryConnection>;
    /** What the tags are to point at; give a `Verification`'s output, so that nothing unverified is ever named. */
    digest: pulumi.Input<string>;
    tags: pulumi.Input<pulumi.Input<string>[]>;
    /** Those of the tags that may be set once and never moved; default none. */
    immutableTags?: pulumi.Input<pulumi.Input<string>[]>;
}

/**
 * Points tags at a released digest: a PUT of the same bytes. Refuses, before it moves any, where an immutable one points
 * elsewhere. Deleting the resource, or taking a tag off the list, leaves the tags where they are: what was released
 * stays pullable.
 */
export class TagPromotion extends OperationsResource {
    /** `repository@digest`, known only when every tag points there. */
    declare readonly ref: pulumi.Output<string>;
    declare readonly tags: pulumi.Output<string[]>;

    constructor(name: string, args: TagPromotionArgs, options?: pulumi.CustomResourceOptions) {
        super(
            "TagPromotion",
            name,
            { immutableTags: [], ...args, connection: pulumi.secret(args.connection ?? {}) },
            ["ref"],
            ["connection"],
            options,
        );
    }
}
