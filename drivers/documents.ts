import { readFileSync, rmSync } from "node:fs";
import { join } from "node:path";
import { sha256 } from "../core/digest";
import { writeFileAtomic } from "./files";
import type { RegistryAccess } from "./registry-access";
import { cacheRoot } from "./tools";

/** A document too large for a stack's state: kept by its digest, on this machine and as a blob of the repository. */
export interface StoredDocument {
    /** `sha256:…` of its bytes. */
    digest: string;
    /** Bytes. */
    size: number;
}

const pathOf = (digest: string) => join(cacheRoot(), "documents", digest.replace(":", "-"));

/** Keeps a document where this machine and every other runner that reaches the repository finds it. */
export async function storeDocument(access: RegistryAccess, bytes: Buffer): Promise<StoredDocument> {
    const digest = sha256(bytes);
    writeFileAtomic(pathOf(digest), bytes);
    await access.client.putBlob(access.path, bytes);
    return { digest, size: bytes.length };
}

/** Path of a stored document on this machine; fetched from the repository where it is not here. */
export async function fetchDocument(access: RegistryAccess, digest: string): Promise<string> {
    const path = pathOf(digest);
    try {
        if (sha256(readFileSync(path)) === digest) return path;
    } catch (error) {
        if ((error as NodeJS.ErrnoException).code !== "ENOENT") throw error;
    }
    writeFileAtomic(path, await access.client.getBlob(access.path, digest));
    return path;
}

/** Takes a document off this machine; the repository's own blob is the registry's to collect. */
export function forgetDocument(digest: string): void {
    rmSync(pathOf(digest), { force: true });
}
