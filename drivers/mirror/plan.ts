import pLimit from "p-limit";
import type { Digest } from "../../core/digest";
import type { Reference } from "../../core/reference";
import { count } from "../../core/text";
import type { Blob } from "../blob-check";
import {
    type Contents,
    contentsOf,
    entriesFor,
    isIndex,
    type ManifestBytes,
    platformOf,
    withEntries,
} from "./manifest";
import type { Attached, Source, TargetImage } from "./places";

/** An image that is to be mirrored. */
export interface ImageRequest {
    /** The user's name for it, for messages and results. */
    key: string;
    source: Reference;
    /** Path in the target. */
    path: string;
    tag?: string;
    /** In their normal spelling; empty: all there are. */
    platforms: readonly string[];
}

/** A manifest with all that it needs to be there before it. */
export interface PlannedManifest extends ManifestBytes {
    blobs: Blob[];
}

/** What has to be at the target for one image. */
export interface PlannedImage extends TargetImage {
    key: string;
    root: PlannedManifest;
    /** In an order in which a registry takes them: what is referred to first, the root last of its own. */
    manifests: PlannedManifest[];
    /** What is attached, by what it is attached to. */
    attached: { subject: Digest; manifests: Attached[] }[];
    /** How many attachments of the original index stay behind, because some platforms do. */
    leftBehind: number;
}

/** Images that can't be had. */
class MissingError extends Error {
    constructor(
        readonly missing: readonly string[],
        of: number,
    ) {
        super(
            [
                `${missing.length} of ${count(of, "image")} can't be mirrored; nothing was copied`,
                ...missing.map((line) => `  ${line.replaceAll("\n", "\n    ")}`),
            ].join("\n"),
        );
        this.name = "MissingError";
    }
}

/** How many images are read at a time. */
const AT_A_TIME = 8;

/**
 * Reads everything about the images but their layers, before anything is copied.
 *
 * @throws MissingError naming every image of which something can't be had, and why.
 */
export async function planImages(
    source: Source,
    requests: readonly ImageRequest[],
    referrers: boolean,
): Promise<PlannedImage[]> {
    const limit = pLimit(AT_A_TIME);
    const planned = await Promise.all(
        requests.map((request) =>
            limit(async () => {
                try {
                    return await new ImagePlan(source, request, referrers).read();
                } catch (error) {
                    return `${request.key}: ${(error as Error).message}`;
                }
            }),
        ),
    );
    const missing = planned.filter((one) => typeof one === "string");
    if (missing.length > 0) throw new MissingError(missing, requests.length);
    return planned.filter((one) => typeof one !== "string");
}

class ImagePlan {
    readonly #seen = new Map<Digest, Promise<void>>();
    readonly #manifests: PlannedManifest[] = [];
    readonly #attached: PlannedImage["attached"] = [];

    constructor(
        readonly source: Source,
        readonly request: ImageRequest,
        readonly referrers: boolean,
    ) {}

    async read(): Promise<PlannedImage> {
        const { source, request } = this;
        const found = await source.resolve(request.source);
        const root = request.platforms.length === 0 ? found : await this.#select(found);
        await this.#visit(root);
        const isWhole = root.digest === found.digest;
        const left = isWhole || !this.referrers ? [] : await source.attached(request.source, found.digest);
        return {
            key: request.key,
            source: request.source,
            sourceDigest: found.digest,
            path: request.path,
            tag: request.tag,
            root: this.#manifests.find(({ digest }) => digest === root.digest) as PlannedManifest,
            manifests: this.#manifests,
            attached: this.#attached,
            leftBehind: left.length,
        };
    }

    /** The index with the wanted platforms alone; an image that is no index has to be for the one that is wanted. */
    async #select(found: ManifestBytes): Promise<ManifestBytes> {
        const { source, request } = this;
        const { manifests, config } = contentsOf(found);
        const where = `${source.where(request.source)}@${found.digest}`;
        if (isIndex(found)) {
            try {
                return withEntries(found, entriesFor(manifests, request.platforms));
            } catch (error) {
                throw new Error(`${where} ${(error as Error).message}`);
            }
        }
        const platform =
            config && platformOf(JSON.parse((await source.bytes(request.source, config)).toString("utf8")));
        if (request.platforms.some((one) => one !== platform))
            throw new Error(
                `${where} is for ${platform ?? "no platform"} alone, not for ${request.platforms.join(", ")}`,
            );
        return found;
    }

    /** A manifest, what it is made of, and what is attached to it. */
    #visit(manifest: ManifestBytes): Promise<void> {
        const seen = this.#seen.get(manifest.digest) ?? this.#read(manifest);
        this.#seen.set(manifest.digest, seen);
        return seen;
    }

    async #read(manifest: ManifestBytes): Promise<void> {
        const { source, request } = this;
        const contents = contentsOf(manifest);
        const entries = isIndex(manifest) ? contents.manifests : [];
        const [blobs, attached] = await Promise.all([
            this.#blobsOf(manifest, contents),
            this.referrers ? source.attached(request.source, manifest.digest) : [],
            ...entries.map(async ({ digest }) => this.#visit(await source.manifest(request.source, digest))),
        ]);
        this.#manifests.push({ ...manifest, blobs });
        if (attached.length === 0) return;
        // One at a time: the manifests come in the same order in every run.
        for (const one of attached) await this.#visit(one);
        this.#attached.push({ subject: manifest.digest, manifests: attached });
    }

    /** Without layers that are kept at the addresses they name and not in the registry. */
    async #blobsOf({ digest }: ManifestBytes, { blobs }: Contents): Promise<Blob[]> {
        const { source, request } = this;
        const there = await Promise.all(blobs.map((blob) => source.has(request.source, blob)));
        const absent = blobs.filter((blob, i) => !there[i] && !blob.elsewhere);
        if (absent.length > 0)
            throw new Error(
                `${source.where(request.source)} has no ${absent.map((blob) => blob.digest)}, which ${digest} needs`,
            );
        return blobs.filter((_, i) => there[i]).map((blob) => ({ digest: blob.digest, size: blob.size }));
    }
}
