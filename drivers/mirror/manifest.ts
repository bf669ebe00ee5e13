import { z } from "zod";
import { type Digest, isDigest, sha256 } from "../../core/digest";
import { mediaTypes } from "../../core/image-index";
import { Platform } from "../../core/platform";
import { FormatError } from "../../core/problems";
import type { Blob } from "../blob-check";

/** A manifest or index with its bytes. */
export interface ManifestBytes {
    mediaType: string;
    digest: Digest;
    bytes: Buffer;
}

/** What an index says of one of its manifests; whatever else stands there is kept. */
export type Entry = z.infer<typeof entry>;

const digest = z.custom<Digest>((value) => typeof value === "string" && isDigest(value), "not a digest");
const blob = z.object({ digest, size: z.int().nonnegative(), urls: z.array(z.string()).nullish() });
const entry = z.looseObject({
    mediaType: z.string(),
    digest,
    size: z.int().nonnegative(),
    artifactType: z.string().optional(),
    annotations: z.record(z.string(), z.string()).nullish(),
    platform: z.looseObject({ os: z.string(), architecture: z.string(), variant: z.string().optional() }).nullish(),
});
const contents = z.looseObject({
    manifests: z.array(entry).nullish(),
    config: blob.optional(),
    layers: z.array(blob).nullish(),
    subject: z.object({ digest }).nullish(),
});

/** What a manifest is made of. */
export interface Contents {
    /** Of an index. */
    manifests: Entry[];
    /** Configuration and layers. */
    blobs: (Blob & { elsewhere: boolean })[];
    /** Of an image. */
    config: Blob | undefined;
    /** What it is about: a signature's image. */
    subject: Digest | undefined;
}

const isIndexType = (mediaType: string) => mediaType === mediaTypes.ociIndex || mediaType === mediaTypes.dockerList;

/** @throws Error naming what is no manifest. */
export function contentsOf({ bytes, digest: of }: ManifestBytes): Contents {
    const parsed = contents.safeParse(parse(bytes));
    if (!parsed.success) {
        const issue = parsed.error.issues[0];
        throw new Error(`${of} is no manifest: ${issue?.path.join(".")}: ${issue?.message}`);
    }
    const { manifests, config, layers, subject } = parsed.data;
    // Layers that name other addresses (Windows' base layers) may be kept there alone.
    const blobs = [...(config ? [config] : []), ...(layers ?? [])].map((one) => ({
        digest: one.digest,
        size: one.size,
        elsewhere: (one.urls ?? []).length > 0,
    }));
    return { manifests: manifests ?? [], blobs, config, subject: subject?.digest };
}

function parse(bytes: Buffer): unknown {
    try {
        return JSON.parse(bytes.toString("utf8"));
    } catch {
        return undefined;
    }
}

/** A platform as images name it; undefined for `unknown/unknown` and others that nobody can ask for. */
export function platformOf(named: { os: string; architecture: string; variant?: string | undefined }) {
    try {
        return Platform.parse([named.os, named.architecture, named.variant].filter(Boolean).join("/")).toString();
    } catch (error) {
        if (error instanceof FormatError) return undefined;
        throw error;
    }
}

/** BuildKit's mark for a manifest that describes another one of the same index (buildkit: docs/attestations/attestation-storage.md). */
const DESCRIBES = "vnd.docker.reference.digest";

/**
 * The entries of an index for these platforms, with the attestations of those that are kept.
 *
 * @throws Error naming the platforms that are missing, and those that are there.
 */
export function entriesFor(entries: Entry[], platforms: readonly string[]): Entry[] {
    const of = (one: Entry) => (one.platform ? platformOf(one.platform) : undefined);
    const there = entries.map(of).filter((name) => name !== undefined);
    const missing = platforms.filter((name) => !there.includes(name));
    if (missing.length > 0) throw new Error(`has no ${missing.join(", ")}, but ${there.join(", ") || "no platform"}`);
    const kept = new Set<string>(entries.filter((one) => platforms.includes(of(one) ?? "")).map((one) => one.digest));
    return entries.filter((one) => kept.has(one.digest) || kept.has(one.annotations?.[DESCRIBES] ?? ""));
}

/** An index with fewer entries; the same ones give the same bytes. */
export function withEntries(index: ManifestBytes, entries: Entry[]): ManifestBytes {
    const digests = new Set<string>(entries.map((one) => one.digest));
    const whole = JSON.parse(index.bytes.toString("utf8"));
    const manifests = whole.manifests.filter((one: { digest: string }) => digests.has(one.digest));
    if (manifests.length === whole.manifests.length) return index;
    const bytes = Buffer.from(JSON.stringify({ ...whole, manifests }), "utf8");
    return { mediaType: index.mediaType, digest: sha256(bytes), bytes };
}

export const isIndex = ({ mediaType }: Pick<ManifestBytes, "mediaType">) => isIndexType(mediaType);
