import type { Digest } from "../../core/digest";
import type { Reference } from "../../core/reference";
import type { Blob } from "../blob-check";
import type { BlobSink } from "../oci-layout";
import type { ManifestBytes } from "./manifest";

/** A repository at the source, as references name it. */
export interface SourceRepository {
    registry: string;
    repository: string;
}

/** What says something about an image: signatures, attestations, bills of materials. */
export interface Attached extends ManifestBytes {
    /** Its tag, where it is found by that and not by what it says it is about: cosign's `sha256-….sig`. */
    tag?: string;
    /** Its entry in a list of referrers. */
    descriptor?: Record<string, unknown>;
}

/** Where images come from. */
export interface Source {
    /** For messages: `registry.example.com/app`, or the layout's path. */
    where(repository: SourceRepository): string;
    /** @throws Error saying where it looked. */
    resolve(reference: Reference): Promise<ManifestBytes>;
    /** What `resolve` would find, without reading it; undefined where it is not there. */
    lookUp(reference: Reference, signal: AbortSignal): Promise<Digest | undefined>;
    manifest(repository: SourceRepository, digest: Digest): Promise<ManifestBytes>;
    /** Everything that is attached to a manifest. */
    attached(repository: SourceRepository, digest: Digest): Promise<Attached[]>;
    /** Whether a blob is there; a registry is only asked about what may be kept elsewhere. */
    has(repository: SourceRepository, blob: Blob & { elsewhere: boolean }): Promise<boolean>;
    /** Small content, verified. */
    bytes(repository: SourceRepository, blob: Blob): Promise<Buffer>;
    /** A blob from `offset` on, in order, unverified. */
    stream(
        repository: SourceRepository,
        blob: Blob,
        offset: number,
        take: (piece: Buffer) => Promise<void>,
        signal: AbortSignal,
    ): Promise<void>;
}

/** An image at the target. */
export interface TargetImage {
    /** Path in the target's registry. */
    path: string;
    tag: string | undefined;
    /** What it was asked for by: its name in a layout. */
    source: Reference;
    /** Of what stands at the source: another one, where only some platforms are taken. */
    sourceDigest: Digest;
}

/** Where images go. Writes of content that is there already change nothing. */
export interface Target {
    readonly where: string;
    /** The registry that it is, if it is one: blobs of its other repositories needn't be sent. */
    readonly registry: string | undefined;
    has(path: string, blob: Blob, signal: AbortSignal): Promise<boolean>;
    /** Takes a blob over from another repository of the same target; false where that can't be. */
    mount(path: string, blob: Blob, from: string, signal: AbortSignal): Promise<boolean>;
    open(path: string, blob: Blob, signal: AbortSignal): Promise<BlobSink>;
    /** `isNew`: it is not worth looking whether it is there. */
    put(path: string, manifest: ManifestBytes, isNew: boolean, signal: AbortSignal): Promise<void>;
    /** Makes what is attached findable; it was put before. */
    attach(image: TargetImage, subject: Digest, attached: Attached[], signal: AbortSignal): Promise<void>;
    /** Gives the image its name, when everything of it is there. */
    name(image: TargetImage, root: ManifestBytes, isNew: boolean, signal: AbortSignal): Promise<void>;
    /** @returns the digest of a layout's `index.json`, in which everything in it is named. */
    finish(): Promise<Digest | undefined>;
}
