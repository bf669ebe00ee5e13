import * as pulumi from "@pulumi/pulumi";
import type { RegistryConnection } from "../../core/registry-connection";
import { OperationsResource } from "../dynamic";

export interface TagPromotionArgs {
    /** `registry/path` */
    repository: pulumi.Input<string>;
    connection?: pulumi.Input<RegistryConnection>;
    /** What the tags are to point at; give a `Verification`'s output, so that nothing unverified is ever named. */
    digest: pulumi.Input<string>;
    /** Default none. */
    tags?: pulumi.Input<pulumi.Input<string>[]>;
    /** SemVer: `1.4.2` moves `1.4.2`, `1.4`, `1` and `latest`, each only where nothing higher is released. Default none. */
    version?: pulumi.Input<string>;
    /** Those of the tags that may be set once and never moved; default none. */
    immutableTags?: pulumi.Input<pulumi.Input<string>[]>;
    /**
     * Digests of the platforms' images, for a registry whose rules of expiry tell images apart by their tags alone (ECR): each gets
     * a tag of its own, made of its digest (core/aws/ecr-lifecycle.ts). Default none.
     */
    children?: pulumi.Input<pulumi.Input<string>[]>;
}

/**
 * Points tags at a released digest: a PUT of the same bytes. Refuses, before it moves any, where an immutable one points
 * elsewhere. Deleting the resource, or taking a tag off the list, leaves the tags where they are: what was released
 * stays pullable.
 */
export class TagPromotion extends OperationsResource {
    /** `repository@digest`, known only when every tag points there. */
    declare readonly ref: pulumi.Output<string>;
    /** The tags that point at it. */
    declare readonly promoted: pulumi.Output<string[]>;

    constructor(name: string, args: TagPromotionArgs, options?: pulumi.CustomResourceOptions) {
        super(
            "TagPromotion",
            name,
            { tags: [], version: "", immutableTags: [], ...args, connection: pulumi.secret(args.connection ?? {}) },
            ["ref", "promoted", "lost"],
            ["connection"],
            options,
        );
    }
}
