import type { Digest } from "../../core/digest";
import type { Blob, BlobCheck } from "../blob-check";

/** Where the bytes of one blob go, in order. */
export interface BlobSink {
    /** Follows the bytes; where a part of the blob was there already, it has seen that. */
    readonly check: BlobCheck;
    write(piece: Buffer): Promise<void>;
    /** Keeps it; only after `check` found nothing wrong. */
    finish(): Promise<void>;
    /** Keeps nothing of it that is wrong. */
    abort(): Promise<void>;
}

/** An OCI image layout to read from (OCI image specification 1.1, image-layout.md): a folder, or a tar of one. */
export interface LayoutReader {
    /** For messages: its path. */
    readonly where: string;
    /** The bytes of `index.json`. */
    readonly index: Buffer;
    has(blob: Blob): Promise<boolean>;
    /** Content read into memory, verified. Undefined when it is not there. */
    bytes(digest: Digest): Promise<Buffer | undefined>;
    /** A blob piece by piece, unverified. */
    stream(blob: Blob, take: (piece: Buffer) => void | Promise<void>): Promise<void>;
    close(): Promise<void>;
}

/** An OCI image layout that is being written. What is there already is read and compared before it is believed. */
export interface LayoutWriter {
    readonly where: string;
    /** The `index.json` that is there; undefined where there is none. */
    readonly index: Buffer | undefined;
    /** Whether a blob is there, whole and right. */
    has(blob: Blob): Promise<boolean>;
    open(blob: Blob): Promise<BlobSink>;
    /** Writes `index.json` last: before, the layout is not there, or the one that was. */
    finish(index: Buffer): Promise<void>;
    close(): Promise<void>;
}

/** The content of the file `oci-layout`. */
export const LAYOUT_MARK = Buffer.from('{"imageLayoutVersion":"1.0.0"}');
/** What is read of a file at a time, in bytes. */
export const PIECE = 1024 * 1024;

/** `blobs/sha256/…` */
export const blobPath = (digest: Digest) => `blobs/${digest.replace(":", "/")}`;

/** A layout that can't be used as it is. */
export class LayoutError extends Error {
    constructor(where: string, reason: string, next: string) {
        super(`${where}: ${reason}\nnext: ${next}`);
        this.name = "LayoutError";
    }
}
