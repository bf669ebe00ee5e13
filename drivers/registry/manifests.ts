import { type Digest, isDigest, matchesDigest, sha256 } from "../../core/digest";
import { mediaTypes } from "../../core/image-index";
import { isRepositoryName, isTag } from "../../core/reference";
import {
    badContent,
    claimedDigest,
    contentLength,
    contentType,
    digestMismatch,
    verifyBody,
    verifyClaim,
} from "./content";
import { RegistryError } from "./errors";
import { badRequest, type RegistrySession } from "./session";
import type { WireReply } from "./transport";

/** Largest manifest: what the distribution specification asks every registry to take (4 MiB). */
export const MANIFEST_LIMIT = 4 * 1024 * 1024;
const KNOWN: string[] = Object.values(mediaTypes);
const ACCEPT = KNOWN.join(", ");

/** A manifest or index, verified. */
export interface Manifest {
    mediaType: string;
    /** Of `bytes`. */
    digest: Digest;
    bytes: Buffer;
    /** Bytes. */
    size: number;
}

/** What the registry says of a manifest without sending it. */
export interface ManifestHead {
    mediaType: string;
    digest: Digest;
    /** Bytes. */
    size: number;
}

/** Options of a single call. */
export interface CallOptions {
    /** Ends the call, pauses between attempts included; it rejects with the signal's reason. */
    signal?: AbortSignal | undefined;
}

export function repositoryPath(repository: string): string {
    if (!isRepositoryName(repository)) throw badRequest(`"${repository}" is not a repository's name`);
    return `/v2/${repository}`;
}

export function requireDigest(text: string): Digest {
    if (!isDigest(text)) throw badRequest(`"${text}" is not a digest`);
    return text;
}

export const pull = (repository: string) => [`repository:${repository}:pull`];
export const push = (repository: string) => [`repository:${repository}:pull,push`];

function manifestPath(repository: string, ref: string): string {
    if (!isTag(ref) && !isDigest(ref)) throw badRequest(`"${ref}" is neither a tag nor a digest`);
    return `${repositoryPath(repository)}/manifests/${ref}`;
}

/** The media type on which header and body agree: a manifest read as two things would be verified as only one. */
function manifestType(reply: WireReply): string {
    let body: unknown;
    try {
        body = JSON.parse(reply.body.toString("utf8"));
    } catch {
        throw badContent(reply, "GET", `the answer should be a manifest, and is not JSON (${contentType(reply)})`);
    }
    const inside = typeof body === "object" && body !== null && "mediaType" in body ? body.mediaType : undefined;
    const outside = contentType(reply);
    const type = outside === undefined || outside === "application/json" ? inside : outside;
    if (typeof type !== "string" || !KNOWN.includes(type)) {
        throw badContent(reply, "GET", `the answer should be an image manifest or index, and is ${type ?? outside}`);
    }
    if (inside !== undefined && inside !== type) {
        throw badContent(reply, "GET", `Content-Type says ${type}, the manifest itself says ${inside}`);
    }
    return type;
}

export async function getManifest(
    session: RegistrySession,
    repository: string,
    ref: string,
    { signal }: CallOptions,
): Promise<Manifest> {
    const reply = await session.request({
        method: "GET",
        target: manifestPath(repository, ref),
        headers: { accept: ACCEPT },
        limit: MANIFEST_LIMIT,
        expect: [200],
        scopes: pull(repository),
        signal,
    });
    const asked = isDigest(ref) ? ref : undefined;
    verifyBody(reply, "GET", sha256(reply.body), asked);
    const digest = asked ?? sha256(reply.body);
    return { mediaType: manifestType(reply), digest, bytes: reply.body, size: reply.body.length };
}

export async function headManifest(
    session: RegistrySession,
    repository: string,
    ref: string,
    options: CallOptions,
): Promise<ManifestHead | undefined> {
    const reply = await session.request({
        method: "HEAD",
        target: manifestPath(repository, ref),
        headers: { accept: ACCEPT },
        limit: MANIFEST_LIMIT,
        expect: [200, 404],
        scopes: pull(repository),
        signal: options.signal,
    });
    if (reply.status === 404) return undefined;
    if (isDigest(ref)) verifyClaim(reply, "HEAD", ref, "Docker-Content-Digest is not what was asked for");
    const digest = isDigest(ref) ? ref : claimedDigest(reply, "HEAD");
    const mediaType = contentType(reply);
    const size = contentLength(reply);
    if (digest && size !== undefined && mediaType && KNOWN.includes(mediaType)) return { mediaType, digest, size };
    // The headers are optional in the specification; the manifest itself has it all.
    const manifest = await getManifest(session, repository, ref, options);
    return { mediaType: manifest.mediaType, digest: manifest.digest, size: manifest.size };
}

export async function putManifest(
    session: RegistrySession,
    repository: string,
    ref: string,
    mediaType: string,
    bytes: Buffer,
    { signal }: CallOptions,
): Promise<{ digest: Digest }> {
    const target = manifestPath(repository, ref);
    const digest = isDigest(ref) ? ref : sha256(bytes);
    if (!matchesDigest(digest, bytes)) {
        throw digestMismatch({ url: session.origin + target, method: "PUT" }, "not sent", digest, sha256(bytes));
    }
    if (!/^[\w!#$&^.+-]+\/[\w!#$&^.+-]+$/.test(mediaType)) throw badRequest(`"${mediaType}" is not a media type`);
    if (bytes.length > MANIFEST_LIMIT) {
        throw badRequest(`a manifest of ${bytes.length} bytes; registries take ${MANIFEST_LIMIT}`, "make it smaller");
    }
    const reply = await session.request({
        method: "PUT",
        target,
        headers: { "content-type": mediaType },
        body: bytes,
        limit: MANIFEST_LIMIT,
        expect: [201],
        scopes: push(repository),
        signal,
    });
    verifyClaim(reply, "PUT", digest, "the registry stored other content than was sent");
    return { digest };
}

export async function deleteManifest(
    session: RegistrySession,
    repository: string,
    ref: string,
    { signal }: CallOptions,
): Promise<boolean> {
    try {
        await session.request({
            method: "DELETE",
            target: manifestPath(repository, ref),
            limit: MANIFEST_LIMIT,
            expect: [200, 202, 204],
            scopes: [`repository:${repository}:delete,pull`],
            signal,
        });
        return true;
    } catch (error) {
        if (!(error instanceof RegistryError)) throw error;
        if (error.saysAbsent) return false;
        if (error.status !== 405) throw error;
        throw error.with({ next: "allow deletion in the registry (distribution: storage.delete.enabled: true)" });
    }
}
