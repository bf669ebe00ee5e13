import { readFileSync, rmSync } from "node:fs";
import { join } from "node:path";
import { sha256 } from "../core/digest";
import { mediaTypes } from "../core/image-index";
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

/** What the manifest of a document is (OCI image specification 1.1, "Guidelines for Artifact Usage"). */
const ARTIFACT_TYPE = "application/vnd.buildfleet.document.v1";
const EMPTY = { mediaType: "application/vnd.oci.empty.v1+json", bytes: Buffer.from("{}") };

const pathOf = (digest: string) => join(cacheRoot(), "documents", digest.replace(":", "-"));

/**
 * Keeps a document where this machine and every other runner that reaches the repository finds it. A manifest refers to it: a
 * blob alone is taken by a registry's garbage collection, and some registries (ECR) never give it out.
 */
export async function storeDocument({ client, path }: RegistryAccess, bytes: Buffer): Promise<StoredDocument> {
    writeFileAtomic(pathOf(sha256(bytes)), bytes);
    const [layer, config] = await Promise.all([
        client.putBlob(path, bytes, "application/json"),
        client.putBlob(path, EMPTY.bytes, EMPTY.mediaType),
    ]);
    const manifest = {
        schemaVersion: 2,
        mediaType: mediaTypes.ociManifest,
        artifactType: ARTIFACT_TYPE,
        config,
        layers: [layer],
    };
    const text = Buffer.from(JSON.stringify(manifest));
    await client.putManifest(path, sha256(text), mediaTypes.ociManifest, text);
    return { digest: layer.digest, size: layer.size };
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

/** Takes a document off this machine; what the repository has is the registry's to collect. */
export function forgetDocument(digest: string): void {
    rmSync(pathOf(digest), { force: true });
}
