import * as pulumi from "@pulumi/pulumi";
import { checkImageMirrorSettings, targetName } from "../../core/image-mirror-settings";
import { parseReference } from "../../core/reference";
import { ImageMirror as Mirror, type MirroredAmount, type MirroredImagesArgs } from "../../resources/image-mirror";
import { isPlain, withoutOutputs } from "../plain";
import { applyTransform, type Transform } from "../transform";
import type { RegistryConnectionArgs, Repository } from "./repository";

/** A registry that says how it is reached: `RegistryConnection` and `LocalRegistry` are two. */
export interface RegistryOfRepositories {
    repository(path: string): Repository;
}

/** One image. */
export interface MirroredImageArgs {
    /** `docker.io/library/debian:12`; by tag, by digest, or both: then the digest counts, and the tag names it at the target. */
    source: pulumi.Input<string>;
    /** Path and tag at the target: `base/debian:12`; default those at the source. */
    name?: pulumi.Input<string>;
    /** Default the mirror's. */
    platforms?: pulumi.Input<string>[];
}

/** A layout to load from: one of `folder` and `archive`, relative to the stack's program. */
export interface MirrorSourceArgs {
    /** An OCI image layout. */
    folder?: pulumi.Input<string>;
    /** A tar of one, not compressed. */
    archive?: pulumi.Input<string>;
    /** The collecting side's output `contents`: a layout that holds anything else is refused. Default not compared. */
    contents?: pulumi.Input<string>;
}

/** Where images go: exactly one of `registry`, `folder` and `archive`. */
export interface MirrorTargetArgs {
    /** A registry with its connection, or `host[:port][/path]` reached over HTTPS with Docker's own credentials. */
    registry?: pulumi.Input<string> | RegistryOfRepositories;
    /** An OCI image layout, relative to the stack's program; what else is in it stays. */
    folder?: pulumi.Input<string>;
    /** A tar of a layout, relative to the stack's program; holds what this mirror lists and nothing else. */
    archive?: pulumi.Input<string>;
}

export interface ImageMirrorArgs {
    /** Images by a name of your own, under which the outputs have them; default everything that the layout names. */
    images?: Record<string, pulumi.Input<string> | MirroredImageArgs>;
    /** Default all that each image has. Where some are left out, the index is another one: its signatures stay behind. */
    platforms?: pulumi.Input<string>[];
    /** Default the registries that the images name. */
    from?: MirrorSourceArgs;
    to: MirrorTargetArgs;
    /** How the source's registries are reached, by `host[:port]`; default HTTPS and Docker's own credentials. */
    connections?: Record<string, RegistryConnectionArgs>;
    /** Whether what is attached to the images (signatures, attestations, bills of materials) goes with them; default true. */
    referrers?: boolean;
    transform?: ImageMirrorTransform;
}

/** Last word on a child's arguments. */
export interface ImageMirrorTransform {
    mirror?: Transform<MirroredImagesArgs>;
}

/**
 * Copies images with everything that belongs to them, by digest: from registries to a registry, or over an air gap in two
 * steps, to a folder or a tar on one side and from it on the other. Layers that several images share are copied once;
 * what is there is not copied again, so a run that was ended goes on with the next one. What can't be had is listed before
 * anything is copied. Every `up` looks where tags at the source point by now, and follows those that moved; a source that can't
 * be asked is told of and changes nothing. Deleting the resource leaves the images where they are.
 *
 * ```ts
 * const images = { buildkit: "docker.io/moby/buildkit:v0.33.1", debian: "docker.io/library/debian:12" };
 * new ImageMirror("collect", { images, platforms: ["linux/amd64", "linux/arm64"], to: { archive: "images.tar" } });
 * // and in the machine room:
 * const mirror = new ImageMirror("load", { images, from: { archive: "images.tar" }, to: { registry } });
 * mirror.refs.apply(({ buildkit }) => buildkit); // registry.room:5000/moby/buildkit@sha256:…
 * ```
 */
export class ImageMirror extends pulumi.ComponentResource {
    /** Digest of each image at the target. */
    readonly digests: pulumi.Output<Record<string, string>>;
    /** `registry/path@sha256:…` of each image; none where the target is a layout. */
    readonly refs: pulumi.Output<Record<string, string>>;
    /** What the last run sent; layers and configurations, each counted once. */
    readonly copied: pulumi.Output<MirroredAmount>;
    /** What was there already, or was taken over from another repository of the same registry. */
    readonly skipped: pulumi.Output<MirroredAmount>;
    /**
     * Digest of all that a layout holds, for `from.contents` on the other side; empty for a registry. Where several mirrors
     * have one folder, it is that of the one that wrote last: only that one's output is what the folder holds.
     */
    readonly contents: pulumi.Output<string>;
    /**
     * For a fleet's `registries`: nodes ask the target before the registries that the images name. An image with a `name` of
     * its own is not found so. The target itself needs its own settings beside these (`registry.nodeSettings`).
     */
    readonly nodeSettings: pulumi.Output<Record<string, { mirrors: string[] }>>;

    /** @throws SettingsError with every problem at once, before anything is declared. */
    constructor(name: string, args: ImageMirrorArgs, options?: pulumi.ComponentResourceOptions) {
        const subject = `ImageMirror ${JSON.stringify(name)}`;
        const { connections, transform, ...rest } = args;
        const target = targetOf(rest.to);
        const settings = withoutOutputs({ ...rest, ...(target.to && { to: target.to }) });
        checkImageMirrorSettings(subject, settings);
        super("buildfleet:index:ImageMirror", name, {}, options);
        const images = Object.entries(args.images ?? {}).map(([key, image]) => [key, imageOf(image)] as const);
        const mirror = new Mirror(
            name,
            applyTransform(transform?.mirror, {
                subject,
                images: Object.fromEntries(images),
                platforms: pulumi.output(args.platforms ?? []),
                from: args.from ?? {},
                to: target.to ?? {},
                connection: pulumi.output(target.connection ?? {}),
                connections: pulumi.output(connections ?? {}),
                referrers: args.referrers ?? true,
            }),
            { parent: this },
        );
        this.digests = mirror.digests;
        this.refs = mirror.refs;
        this.copied = mirror.copied;
        this.skipped = pulumi.all([mirror.skipped, mirror.mounted]).apply(([there, mounted]) => ({
            blobs: there.blobs + mounted.blobs,
            bytes: there.bytes + mounted.bytes,
        }));
        this.contents = mirror.contents;
        this.nodeSettings = pulumi
            .all([target.to?.registry ?? "", Object.fromEntries(images)])
            .apply(([registry, all]) => mirrorsOf(registry, Object.values(all)));
        this.registerOutputs({ digests: this.digests, refs: this.refs, contents: this.contents });
    }
}

function imageOf(image: pulumi.Input<string> | MirroredImageArgs) {
    const isTable = isPlain<string | MirroredImageArgs>(image) && typeof image === "object";
    const {
        source,
        name = "",
        platforms = [],
    } = isTable ? (image as MirroredImageArgs) : { source: image as pulumi.Input<string> };
    return { source, name, platforms: pulumi.output(platforms) };
}

/** The target in plain fields; a registry that knows how it is reached is asked for both. */
function targetOf(to: MirrorTargetArgs | undefined) {
    const { registry, ...others } = to ?? {};
    if (!registry || typeof registry === "string" || !("repository" in registry) || pulumi.Output.isInstance(registry))
        return {
            to: to as { registry?: pulumi.Input<string> } & Omit<MirrorTargetArgs, "registry">,
            connection: undefined,
        };
    // What stands before any repository's path is the registry, and perhaps a project or a repository manager's path in it.
    const any = registry.repository("any");
    const root = isPlain(any.name) ? withoutAny(any.name) : pulumi.output(any.name).apply(withoutAny);
    return { to: { ...others, registry: root }, connection: any.connection };
}

const withoutAny = (name: string) => name.replace(/\/any$/, "");

function mirrorsOf(registry: string, images: { source: string; name: string }[]) {
    if (registry === "") return {};
    const found = images
        .filter(({ source, name }) => name === "" || targetName("", name).path === parseReference(source).repository)
        .map(({ source }) => parseReference(source).registry)
        .filter((host) => host !== registry.split("/")[0]);
    return Object.fromEntries([...new Set(found)].sort().map((host) => [host, { mirrors: [registry] }]));
}
