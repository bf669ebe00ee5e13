import { isDigest, parseDigest } from "../../core/digest";
import { mediaTypes } from "../../core/image-index";
import { type ConfigPlatform, indexPlatform } from "../../core/index-platform";
import { Platform } from "../../core/platform";
import { FormatError } from "../../core/problems";
import { formatReference, parseReference } from "../../core/reference";
import { BlobCheck } from "../../drivers/blob-check";
import type { RegistryAccess } from "../../drivers/registry-access";

/** A file of an archive: how large, and where its bytes come from. */
export interface Item {
    name: string;
    /** Bytes. */
    size: number;
    /** Hands on exactly `size` bytes, verified by the time it returns. */
    read(take: (piece: Buffer) => Promise<void>): Promise<void>;
}

interface Descriptor {
    mediaType: string;
    digest: string;
    size: number;
    platform?: ConfigPlatform;
    urls?: string[];
}

interface Manifest {
    mediaType: string;
    digest: string;
    bytes: Buffer;
}

const isIndex = (mediaType: string) => mediaType === mediaTypes.ociIndex || mediaType === mediaTypes.dockerList;
const blobName = (digest: string) => `blobs/${digest.replace(":", "/")}`;
const inMemory = (name: string, bytes: Buffer): Item => ({ name, size: bytes.length, read: (take) => take(bytes) });
const json = (name: string, value: unknown) => inMemory(name, Buffer.from(JSON.stringify(value), "utf8"));
const descriptorOf = ({ mediaType, digest, bytes }: Manifest) => ({ mediaType, digest, size: bytes.length });

/** What a digest is: one image, or an index of several. */
export function readManifest({ client, path }: RegistryAccess, digest: string): Promise<Manifest> {
    return client.getManifest(path, digest);
}

function platformName(platform: ConfigPlatform | undefined): string | undefined {
    try {
        return platform && indexPlatform(platform).name;
    } catch (error) {
        if (error instanceof FormatError) return undefined;
        throw error;
    }
}

/**
 * The one image of a platform: of an index, the entry; an image itself, where it is for that platform or none is asked for.
 *
 * @throws Error naming the platforms there are.
 */
export async function oneImage(access: RegistryAccess, digest: string, platform: string): Promise<Manifest> {
    const manifest = await readManifest(access, digest);
    const where = `${access.registry}/${access.path}@${digest}`;
    if (!isIndex(manifest.mediaType)) {
        if (platform !== "") await expectPlatform(access, manifest, platform, where);
        return manifest;
    }
    const { manifests }: { manifests: Descriptor[] } = JSON.parse(manifest.bytes.toString());
    const images = manifests.flatMap((entry) => {
        const name = platformName(entry.platform);
        return name === undefined ? [] : [{ name, digest: entry.digest }];
    });
    const wanted = platform === "" ? images : images.filter(({ name }) => name === `${Platform.parse(platform)}`);
    const [first] = wanted;
    if (first && wanted.length === 1) return readManifest(access, first.digest);
    const names = [...new Set(images.map(({ name }) => name))].join(", ");
    const found = first ? "several images" : "no image";
    throw new Error(
        `${where} is an index with ${found}${platform && ` for ${platform}`}; it has ${names}\nnext: set platform to one of them`,
    );
}

async function expectPlatform({ client, path }: RegistryAccess, { bytes }: Manifest, platform: string, where: string) {
    const { config }: { config: Descriptor } = JSON.parse(bytes.toString());
    const actual = platformName(JSON.parse((await client.getBlob(path, config.digest)).toString()));
    const wanted = `${Platform.parse(platform)}`;
    if (actual !== wanted) throw new Error(`${where} is an image for ${actual ?? "no platform"}, not for ${wanted}`);
}

/** A blob of the registry as a file; its bytes are compared with its digest as they pass. */
function blobItem({ client, path, registry }: RegistryAccess, { digest, size }: Descriptor): Item {
    const blob = { digest: parseDigest(digest), size };
    return {
        ...{ name: blobName(digest), size },
        async read(take) {
            const check = new BlobCheck(blob);
            await client.streamBlob(path, blob, async (piece) => {
                check.update(piece);
                await take(piece);
            });
            const problem = check.problem();
            if (problem !== undefined)
                throw new Error(
                    `${registry}/${path}: ${problem}\nnext: push the image again; the registry's copy is damaged`,
                );
        },
    };
}

/** The manifests and blobs below a manifest, itself first, each once. */
async function contents(access: RegistryAccess, root: Manifest): Promise<Item[]> {
    const items = [inMemory(blobName(root.digest), root.bytes)];
    if (isIndex(root.mediaType)) {
        const { manifests }: { manifests: Descriptor[] } = JSON.parse(root.bytes.toString());
        for (const { digest } of manifests) items.push(...(await contents(access, await readManifest(access, digest))));
        return items;
    }
    const { config, layers }: { config: Descriptor; layers: Descriptor[] } = JSON.parse(root.bytes.toString());
    // Layers that clients get elsewhere (Windows' base images) are not in the registry either.
    const blobs = [config, ...layers].filter(({ digest, urls = [] }) => isDigest(digest) && urls.length === 0);
    return [...items, ...blobs.map((blob) => blobItem(access, blob))];
}

/** Always in the same order: the same image has the same bytes. */
function inOrder(items: Item[]): Item[] {
    const byName = new Map(items.map((item) => [item.name, item]));
    return [...byName.values()].sort((left, right) => (left.name < right.name ? -1 : 1));
}

/** The files of an OCI image layout (OCI image specification 1.1, image-layout.md). */
export async function layoutItems(access: RegistryAccess, root: Manifest, name: string): Promise<Item[]> {
    return [
        json("oci-layout", { imageLayoutVersion: "1.0.0" }),
        inMemory("index.json", layoutIndex(root, name)),
        ...inOrder(await contents(access, root)),
    ];
}

/** `index.json`, with the name by which skopeo, and the one by which containerd and Docker find the image. */
function layoutIndex(root: Manifest, name: string): Buffer {
    const annotations = name === "" ? {} : { annotations: namesOf(name) };
    const manifests = [{ ...descriptorOf(root), ...annotations }];
    return Buffer.from(JSON.stringify({ schemaVersion: 2, mediaType: mediaTypes.ociIndex, manifests }), "utf8");
}

function namesOf(name: string) {
    const reference = parseReference(name);
    return {
        "io.containerd.image.name": formatReference(reference),
        "org.opencontainers.image.ref.name": reference.tag ?? name,
    };
}

/**
 * The files of an archive for `docker load`: the layout, and `manifest.json`, by which Docker without containerd's image store
 * finds the same files (moby: image/tarexport/load.go). BuildKit's `docker` exporter writes both, too.
 */
export async function dockerItems(access: RegistryAccess, image: Manifest, name: string): Promise<Item[]> {
    const { config, layers }: { config: Descriptor; layers: Descriptor[] } = JSON.parse(image.bytes.toString());
    const entry = {
        Config: blobName(config.digest),
        RepoTags: name === "" ? null : [name],
        Layers: layers.map(({ digest }) => blobName(digest)),
    };
    return [json("manifest.json", [entry]), ...(await layoutItems(access, image, name))];
}
