import { createHash } from "node:crypto";
import type { Digest } from "../core/digest";

/** Content as a manifest names it. */
export interface Blob {
    digest: Digest;
    /** Bytes. */
    size: number;
}

/** Follows the bytes of a blob as they pass, and says at the end whether they were it. */
export class BlobCheck {
    readonly #hash;
    readonly #algorithm: string;
    /** Bytes that have passed. */
    received = 0;

    constructor(readonly blob: Blob) {
        this.#algorithm = blob.digest.slice(0, blob.digest.indexOf(":"));
        this.#hash = createHash(this.#algorithm);
    }

    update(piece: Buffer): void {
        this.#hash.update(piece);
        this.received += piece.length;
    }

    /** What is wrong with the whole, or nothing; to be asked once. */
    problem(): string | undefined {
        const { digest, size } = this.blob;
        if (this.received !== size) return `${digest} has ${this.received} bytes instead of ${size}`;
        const found = `${this.#algorithm}:${this.#hash.digest("hex")}`;
        return found === digest ? undefined : `${digest} holds other bytes: theirs is ${found}`;
    }
}
