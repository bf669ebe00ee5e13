import * as pulumi from "@pulumi/pulumi";
import type { RegistryConnection } from "../../core/registry-connection";
import { OperationsResource } from "../dynamic";

/** One image of a mirror. */
export interface MirroredImage {
    source: pulumi.Input<string>;
    /** Path and tag at the target; empty: those of the source. */
    name: pulumi.Input<string>;
    /** Empty: the mirror's. */
    platforms: pulumi.Input<string[]>;
}

export interface MirroredImagesArgs {
    /** Who does it, for messages. */
    subject: string;
    images: pulumi.Input<Record<string, pulumi.Input<MirroredImage>>>;
    platforms: pulumi.Input<string[]>;
    /** A layout; empty: the registries that the images name. */
    from: pulumi.Input<{
        folder?: pulumi.Input<string>;
        archive?: pulumi.Input<string>;
        contents?: pulumi.Input<string>;
    }>;
    /** Exactly one; `registry` is a host and perhaps a path. */
    to: pulumi.Input<{
        registry?: pulumi.Input<string>;
        folder?: pulumi.Input<string>;
        archive?: pulumi.Input<string>;
    }>;
    /** Of the target's registry. */
    connection?: pulumi.Input<RegistryConnection>;
    /** Of the source's registries, by host. */
    connections?: pulumi.Input<Record<string, pulumi.Input<RegistryConnection>>>;
    referrers: pulumi.Input<boolean>;
}

/** Layers and configurations, each counted once, and their bytes. */
export interface MirroredAmount {
    blobs: number;
    bytes: number;
}

/** What `ImageMirror` does, in one resource: images share layers, and each is to be copied once. */
export class ImageMirror extends OperationsResource {
    declare readonly digests: pulumi.Output<Record<string, string>>;
    declare readonly refs: pulumi.Output<Record<string, string>>;
    declare readonly copied: pulumi.Output<MirroredAmount>;
    declare readonly mounted: pulumi.Output<MirroredAmount>;
    declare readonly skipped: pulumi.Output<MirroredAmount>;
    declare readonly contents: pulumi.Output<string>;

    constructor(name: string, args: MirroredImagesArgs, options?: pulumi.CustomResourceOptions) {
        super(
            "ImageMirror",
            name,
            {
                ...args,
                connection: pulumi.secret(args.connection ?? {}),
                connections: pulumi.secret(args.connections ?? {}),
            },
            ["digests", "resolved", "refs", "tagged", "copied", "mounted", "skipped", "contents", "lost"],
            ["connection", "connections"],
            options,
        );
    }
}
