import * as pulumi from "@pulumi/pulumi";
import type { RegistryConnection } from "../../core/registry-connection";
import { OperationsResource } from "../dynamic";
import type { PlatformImage } from "./operations";

/** One platform's image, pushed by digest. */
export interface ImageIndexChild {
    platform: pulumi.Input<string>;
    digest: pulumi.Input<string>;
    /** The builder that built it; default none. */
    builder?: pulumi.Input<string>;
    /** The node behind that builder; default none. */
    node?: pulumi.Input<string>;
    /** Default false. */
    emulated?: pulumi.Input<boolean>;
}

export interface ImageIndexArgs {
    /** `registry/path` */
    repository: pulumi.Input<string>;
    connection?: pulumi.Input<RegistryConnection>;
    /** In the order in which they stand in the index. */
    children: pulumi.Input<pulumi.Input<ImageIndexChild>[]>;
    /** Of the index; default none. */
    annotations?: pulumi.Input<Record<string, pulumi.Input<string>>>;
    /** Default `oci`. */
    format?: pulumi.Input<"oci" | "docker">;
}

/** Value by value: a node that is not known yet must not make the digest beside it unknown in a preview. */
function withDefaults(child: pulumi.Input<ImageIndexChild>): pulumi.Input<ImageIndexChild> {
    const defaults = { builder: "", node: "", emulated: false };
    if (pulumi.Output.isInstance(child) || child instanceof Promise)
        return pulumi.output(child).apply((known) => ({ ...defaults, ...known }));
    return { ...defaults, ...child };
}

/**
 * The index over the platforms' images, PUT by digest under no tag. Its bytes depend on nothing but the children, their
 * order and the annotations.
 */
export class ImageIndex extends OperationsResource {
    declare readonly digest: pulumi.Output<string>;
    declare readonly platforms: pulumi.Output<Record<string, PlatformImage>>;

    constructor(name: string, args: ImageIndexArgs, options?: pulumi.CustomResourceOptions) {
        super(
            "ImageIndex",
            name,
            {
                annotations: {},
                format: "oci",
                ...args,
                children: Array.isArray(args.children)
                    ? args.children.map(withDefaults)
                    : pulumi.output(args.children).apply((children) => children.map(withDefaults)),
                connection: pulumi.secret(args.connection ?? {}),
            },
            ["digest", "platforms"],
            ["connection"],
            options,
        );
    }
}
