import { mediaTypes } from "../../core/image-index";
import { agreedPlatform, type ConfigPlatform, type IndexPlatform, indexPlatform } from "../../core/index-platform";
import { Platform } from "../../core/platform";
import { FormatError } from "../../core/problems";
import { parseReference } from "../../core/reference";
import type { RegistryAccess } from "../../drivers/registry-access";

/** One platform's image as it is asked for: built here and pushed by digest, or there already, anywhere. */
export interface Child {
    /** Of an image from elsewhere: empty where its configuration is to say. */
    platform: string;
    /** In the index's own repository; empty where `image` is set. */
    digest: string;
    /** The builder it was built with; empty for an image that was built elsewhere. */
    builder: string;
    node: string;
    emulated: boolean;
    /** `registry/path`, with a tag or a digest: an image that was built elsewhere. */
    image?: string;
    variant?: string;
    osVersion?: string;
    osFeatures?: string[];
    features?: string[];
    annotations?: Record<string, string>;
}

/** A blob or a manifest that a manifest names. */
interface Part {
    mediaType: string;
    digest: string;
    size: number;
    /** Where clients get it; the registry need not have it (layers of Windows' base images). */
    urls?: string[];
}

/** One platform's image as it was found. */
export interface Found {
    /** As it is to stand in the index. */
    platform: string | IndexPlatform;
    digest: string;
    /** The manifest's. */
    mediaType: string;
    bytes: Buffer;
    /** Configuration first, then the layers. */
    parts: Part[];
    /** Compressed bytes of the parts. */
    imageSize: number;
    /** The repository it is in, without the registry. */
    path: string;
    /** `registry/path@digest` */
    source: string;
    /** What the reference points at: the image, or the index it was taken from. */
    pointed: string;
}

interface Entry extends Part {
    platform?: ConfigPlatform & { features?: string[] };
}

const isImage = (mediaType: string) => mediaType === mediaTypes.ociManifest || mediaType === mediaTypes.dockerManifest;

/** Far more than any configuration has. */
const CONFIG_LIMIT = 16 * 1024 * 1024;

async function read(access: RegistryAccess, path: string, ref: string) {
    const { bytes, mediaType, digest } = await access.client.getManifest(path, ref);
    return { bytes, mediaType, digest, source: `${access.registry}/${path}@${digest}` };
}

async function withConfig(access: RegistryAccess, path: string, manifest: Awaited<ReturnType<typeof read>>) {
    const { config, layers }: { config: Part; layers: Part[] } = JSON.parse(manifest.bytes.toString());
    const blob = await access.client.getBlob(path, config.digest, { maxBytes: CONFIG_LIMIT });
    const parts = [config, ...layers];
    const imageSize = parts.reduce((sum, part) => sum + part.size, 0);
    return { ...manifest, path, parts, imageSize, config: JSON.parse(blob.toString()) as ConfigPlatform };
}

/** An image that was built here: it must be one, and of the very platform that was asked for. */
export async function findBuilt(access: RegistryAccess, child: Child): Promise<Found> {
    const manifest = await read(access, access.path, child.digest);
    if (!isImage(manifest.mediaType))
        throw new Error(
            `${manifest.source} is no image but ${manifest.mediaType}; build one platform with one builder`,
        );
    const { config, ...found } = await withConfig(access, access.path, manifest);
    const actual = [config.os, config.architecture, config.variant].filter(Boolean).join("/");
    if (!Platform.parse(actual).equals(Platform.parse(child.platform)))
        throw new Error(`${manifest.source} is an image for ${actual}, not for ${child.platform}`);
    return { ...found, platform: child.platform, pointed: manifest.digest };
}

/** What was declared of an image's platform; nothing where that is left to its configuration. */
function declaredPlatform({ platform, variant, osVersion, osFeatures, features }: Child): IndexPlatform | undefined {
    if (platform === "") return undefined;
    return {
        name: platform,
        ...(variant === undefined ? {} : { variant }),
        ...(osVersion === undefined ? {} : { osVersion }),
        ...(osFeatures === undefined ? {} : { osFeatures }),
        ...(features === undefined ? {} : { features }),
    };
}

/**
 * An image from elsewhere. Its platform is what its configuration says, compared with and completed by what was declared. Of an
 * index, as builders push them today for a single platform, too, it is the one image of that platform.
 */
export async function findElsewhere(access: RegistryAccess, child: Child, reference: string): Promise<Found> {
    const { repository: path, tag, digest } = parseReference(reference);
    const declared = declaredPlatform(child);
    let manifest = await read(access, path, digest ?? tag ?? "latest");
    const pointed = manifest.digest;
    if (!isImage(manifest.mediaType)) {
        const entry = pick(JSON.parse(manifest.bytes.toString()).manifests, declared, manifest.source);
        manifest = await read(access, path, entry.digest);
        if (!isImage(manifest.mediaType))
            throw new Error(`${manifest.source}, named by the index ${reference}, is no image but an index again`);
    }
    const { config, ...found } = await withConfig(access, path, manifest);
    try {
        return { ...found, pointed, platform: withoutEmpty(agreedPlatform(config, declared)) };
    } catch (error) {
        if (!(error instanceof FormatError)) throw error;
        throw new Error(`${manifest.source} (${reference}): ${error.message}`);
    }
}

function withoutEmpty({ features = [], ...platform }: IndexPlatform): IndexPlatform {
    return features.length > 0 ? { ...platform, features } : platform;
}

/** The one image of a platform in an index; statements about images (`unknown/unknown`) are none. */
function pick(entries: Entry[], declared: IndexPlatform | undefined, source: string): Entry {
    const images = entries.flatMap((entry) => {
        const platform = isImage(entry.mediaType) && entry.platform ? platformOf(entry.platform) : undefined;
        return platform ? [{ entry, platform }] : [];
    });
    const fitting = declared ? images.filter(({ platform }) => fits(platform, declared)) : images;
    const [only] = fitting;
    if (only && fitting.length === 1) return only.entry;
    const names = images.map(({ platform: { name, osVersion } }) => [name, osVersion].filter(Boolean).join(" "));
    const wanted = declared
        ? `${fitting.length === 0 ? "no image" : "several images"} for ${declared.name}`
        : "several";
    throw new Error(
        [
            `${source} is an index with ${images.length === 0 ? "no image" : wanted}; it has ${names.join(", ") || "none"}`,
            `next: ${declared && fitting.length > 1 ? "say osVersion, too, or name" : "say which platform, or name"} the image by its digest`,
        ].join("\n"),
    );
}

function platformOf(object: ConfigPlatform): IndexPlatform | undefined {
    try {
        return indexPlatform(object);
    } catch (error) {
        if (error instanceof FormatError) return undefined;
        throw error;
    }
}

function fits(platform: IndexPlatform, { name, variant, osVersion }: IndexPlatform): boolean {
    const wanted = Platform.parse(agreedName(name, variant));
    return Platform.parse(platform.name).equals(wanted) && (osVersion ?? platform.osVersion) === platform.osVersion;
}

/** The name with the variant that was said beside it. */
function agreedName(name: string, variant: string | undefined): string {
    const { os, architecture, variant: named } = Platform.parse(name);
    return [os, architecture, variant ?? named].filter(Boolean).join("/");
}
