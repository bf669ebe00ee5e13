import * as pulumi from "@pulumi/pulumi";
import type { RegistryConnection } from "../../core/registry-connection";
import { OperationsResource } from "../dynamic";
import type { IndexEntry, PlatformImage } from "./operations";

/** One platform's image: built here and pushed by digest, or there already, in whatever registry. */
export interface ImageIndexChild {
    /** `linux/arm64`. Default, for an `image` only: what its configuration says; both must agree. */
    platform?: pulumi.Input<string>;
    /** Of an image in the index's own repository. */
    digest?: pulumi.Input<string>;
    /**
     * In place of `digest`, `registry/path` with a tag or a digest: an image from elsewhere, which is copied into the index's
     * repository. A tag is looked at by every `up`. Of an index, it is the one image of the platform.
     */
    image?: pulumi.Input<string>;
    /** How the image's registry is reached; default as the index's where it is the same, otherwise HTTPS. */
    connection?: pulumi.Input<RegistryConnection>;
    /** Written as it is: `v8` of `linux/arm64`, where names leave it out. Default what the image's configuration says. */
    variant?: pulumi.Input<string>;
    /** Windows' build: `10.0.20348.2762`; default what the image's configuration says. */
    osVersion?: pulumi.Input<string>;
    /** `win32k`; default what the image's configuration says. */
    osFeatures?: pulumi.Input<pulumi.Input<string>[]>;
    /** What the processor must have: `sse4`. Docker's lists only; default none. */
    features?: pulumi.Input<pulumi.Input<string>[]>;
    /** Of its entry in the index; OCI only, default none. */
    annotations?: pulumi.Input<Record<string, pulumi.Input<string>>>;
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

type Plain = Omit<ImageIndexChild, "connection">;

/** Value by value: a node that is not known yet must not make the digest beside it unknown in a preview. */
function withDefaults({ connection: _, ...child }: ImageIndexChild): Plain {
    const none = child.image === undefined ? {} : { platform: "", digest: "" };
    return { ...none, builder: "", node: "", emulated: false, ...child };
}

/** A value that is there, and no output or promise. */
const isPlain = <T>(input: pulumi.Input<T>): input is T =>
    !(pulumi.Output.isInstance(input) || input instanceof Promise);

/** A child, and apart from it, for that is secret, how its registry is reached. */
function split(given: pulumi.Input<ImageIndexChild>): {
    child: pulumi.Input<Plain>;
    connection: pulumi.Input<unknown>;
} {
    if (isPlain(given)) return { child: withDefaults(given), connection: given.connection ?? null };
    const known = pulumi.output(given) as pulumi.Output<ImageIndexChild>;
    return { child: known.apply(withDefaults), connection: known.apply(({ connection }) => connection ?? null) };
}

function splitAll(given: ImageIndexArgs["children"]) {
    if (isPlain(given)) {
        const parts = given.map(split);
        const connections = parts.map(({ connection }) => connection);
        // Left out where there are none, as in the states of all who never had any.
        return {
            children: parts.map(({ child }) => child),
            ...(connections.some(Boolean) ? { connections: pulumi.secret(connections) } : {}),
        };
    }
    const known = pulumi.output(given) as pulumi.Output<ImageIndexChild[]>;
    return {
        children: known.apply((list) => list.map((one) => split(one).child)),
        connections: pulumi.secret(known.apply((list) => list.map((one) => split(one).connection))),
    };
}

/**
 * The index over the platforms' images, PUT by digest under no tag. Its bytes depend on nothing but the children, their
 * order, the format and the annotations. Nothing is written before every image was found to be what it should be.
 */
export class ImageIndex extends OperationsResource {
    declare readonly digest: pulumi.Output<string>;
    declare readonly platforms: pulumi.Output<Record<string, PlatformImage>>;
    /** As they stand in the index, in its order. */
    declare readonly entries: pulumi.Output<IndexEntry[]>;

    constructor(name: string, args: ImageIndexArgs, options?: pulumi.CustomResourceOptions) {
        super(
            "ImageIndex",
            name,
            {
                annotations: {},
                format: "oci",
                ...args,
                ...splitAll(args.children),
                connection: pulumi.secret(args.connection ?? {}),
            },
            ["digest", "platforms", "entries"],
            ["connection", "connections"],
            options,
        );
    }
}
