import * as pulumi from "@pulumi/pulumi";
import { checkJoinedImageSettings, type JoinedImageSettings } from "../../core/joined-image-settings";
import type { RegistryConnection } from "../../core/registry-connection";
import { ImageIndex, type ImageIndexArgs, type ImageIndexChild } from "../../resources/image-index";
import type { IndexEntry } from "../../resources/image-index/operations";
import { Signature } from "../../resources/signature";
import { TagPromotion } from "../../resources/tag-promotion";
import { Verification } from "../../resources/verification";
import { isPlain, withoutOutputs } from "../plain";
import type { RegistryConnectionArgs } from "../registry/repository";
import { applyTransform } from "../transform";
import type { JoinedImageArgs, JoinedPart } from "./joined-image-args";
import type { ImageSignature } from "./multi-platform-image";
import { parties } from "./release";
import { signOf } from "./resolve";

/** What the children share. */
interface Scope {
    name: string;
    args: JoinedImageArgs;
    settings: JoinedImageSettings;
    /** Where it goes, and how that is reached. */
    target: { repository: pulumi.Output<string>; connection: pulumi.Output<RegistryConnection> };
    options: pulumi.CustomResourceOptions;
}

/**
 * One image for several platforms from images that are there: built elsewhere, one per architecture, in this registry or in
 * others. Each is looked at first: its platform is read from its configuration and compared with what was declared. Then they
 * are copied to where the index is, the index is written, and the tags move last; a join that fails moves none.
 *
 * ```ts
 * const app = new JoinedImage("app", {
 *     repository: registry.repository("team/app"),
 *     images: [
 *         "ci.example.com/app:1.4.2-amd64",
 *         { image: "arm.room:5000/app:1.4.2", platform: "aarch64", connection: { plainHttp: true } },
 *     ],
 *     version: "1.4.2",
 * });
 * export const ref = app.ref;
 * ```
 *
 * @throws SettingsError with every problem of the arguments at once, before anything is declared.
 */
export class JoinedImage extends pulumi.ComponentResource {
    /** `repository@sha256:…`, known only once every tag points at it. */
    readonly ref: pulumi.Output<string>;
    /** Of the index. */
    readonly digest: pulumi.Output<string>;
    /** The tags that point at it. */
    readonly tags: pulumi.Output<string[]>;
    /** What the index has, in its order: platform, digest, where it was taken from, media type and size (bytes). */
    readonly entries: pulumi.Output<IndexEntry[]>;
    /** Absent where nobody signs. */
    readonly signature: pulumi.Output<ImageSignature | undefined>;

    constructor(name: string, args: JoinedImageArgs, options?: pulumi.ComponentResourceOptions) {
        const { settings, ...resolved } = resolve(name, args);
        super("buildfleet:index:JoinedImage", name, {}, options);
        const scope = { name, args: resolved.args, settings, target: resolved.target, options: { parent: this } };
        const index = createIndex(scope);
        const children = index.entries.apply((entries) => entries.map(({ digest }) => digest));
        const signed = sign(scope, index, children);
        const promotion = promote(scope, signed?.verified ?? index.digest, children);

        this.ref = promotion.ref;
        this.digest = index.digest;
        this.tags = promotion.promoted;
        this.entries = index.entries;
        this.signature = signed?.signature ?? pulumi.output(undefined);
        this.registerOutputs({
            ref: this.ref,
            digest: this.digest,
            tags: this.tags,
            entries: this.entries,
            signature: this.signature,
        });
    }
}

function resolve(name: string, given: JoinedImageArgs) {
    const args = { ...given, ...(given.sign === undefined ? {} : { sign: signOf(given.sign) }) };
    const { repository, images, transform: _, ...rest } = args;
    const target = typeof repository === "object" && "name" in repository ? repository : { name: repository };
    const connection = ("connection" in target && target.connection) || {};
    const checked = checkJoinedImageSettings(
        `JoinedImage ${JSON.stringify(name)}`,
        withoutOutputs({ ...rest, repository: target.name, images: isList(images) ? images.map(unconnected) : images }),
    );
    return {
        args,
        // Everything that decides what there is, is plain in the arguments' types; the check leaves it plain.
        settings: checked as JoinedImageSettings,
        target: {
            repository: pulumi.output(target.name),
            connection: pulumi.secret(connection) as pulumi.Output<RegistryConnection>,
        },
    };
}

const isList = (images: unknown): images is JoinedImageArgs["images"] => Array.isArray(images);

/** How an image's registry is reached is checked where the connection is made. */
function unconnected(image: JoinedImageArgs["images"][number]): unknown {
    if (!isPlain(image) || typeof image !== "object" || image === null) return image;
    const { connection: _, ...part } = image;
    return part;
}

function createIndex({ name, args, settings, target, options }: Scope): ImageIndex {
    const children = args.images.map((given, i): ImageIndexChild => {
        const part: JoinedPart = isPlain(given) && typeof given === "object" ? given : { image: given };
        // The platform in its normal spelling: `aarch64` written another way is no change.
        const checked = settings.images[i];
        const platform = typeof checked === "object" ? checked.platform : undefined;
        const { connection, platform: _, ...rest } = part;
        return {
            platform: platform ?? "",
            ...rest,
            ...(connection === undefined ? {} : { connection: connection as pulumi.Input<RegistryConnection> }),
        };
    });
    const { annotations = {} } = args;
    const indexArgs: ImageIndexArgs = { ...target, children, annotations, format: settings.format };
    return new ImageIndex(`${name}-index`, applyTransform(args.transform?.index, indexArgs), options);
}

function sign(
    { name, args, target, options }: Scope,
    index: ImageIndex,
    children: pulumi.Output<string[]>,
): { verified: pulumi.Output<string>; signature: pulumi.Output<ImageSignature> } | undefined {
    if (!args.sign) return undefined;
    const { signer, verifier } = parties(name, args.sign);
    const digests = pulumi.all([index.digest, children]).apply(([digest, others]) => [digest, ...others]);
    const signature = new Signature(
        `${name}-signature`,
        applyTransform(args.transform?.signature, { ...target, digests, signer }),
        options,
    );
    const verification = new Verification(
        `${name}-verification`,
        applyTransform(args.transform?.verification, { ...target, digest: index.digest, children, verifier }),
        pulumi.mergeOptions(options, { dependsOn: signature }),
    );
    return {
        verified: verification.verifiedDigest,
        signature: pulumi.output({ publicKey: signature.publicKey, digests }),
    };
}

function promote(
    { name, args, settings, target, options }: Scope,
    digest: pulumi.Output<string>,
    children: pulumi.Output<string[]>,
): TagPromotion {
    const { connection } = typeof args.repository === "object" && "name" in args.repository ? args.repository : {};
    const ecr = isPlain<RegistryConnectionArgs | undefined>(connection) ? connection?.ecr : undefined;
    const { tags, version = "", immutableTags } = settings;
    // ECR's rules of expiry tell images apart by their tags alone.
    const promotionArgs = { ...target, digest, tags, version, immutableTags, ...(ecr ? { children } : {}) };
    return new TagPromotion(`${name}-promotion`, applyTransform(args.transform?.promotion, promotionArgs), options);
}
