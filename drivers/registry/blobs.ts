import { type Digest, sha256 } from "../../core/digest";
import { contentLength, type Descriptor, verifyBody, verifyClaim } from "./content";
import { RegistryError } from "./errors";
import { type CallOptions, pull, push, repositoryPath, requireDigest } from "./manifests";
import type { RegistrySession } from "./session";
import { header, resolveLocation, type WireReply } from "./transport";

/** Largest answer to an upload's requests, which have none to speak of. */
const SMALL = 64 * 1024;
const BLOB_LIMIT = 256 * 1024 * 1024;

export interface BlobOptions extends CallOptions {
    /** Largest blob to read into memory, in bytes. Default 256 MiB. */
    maxBytes?: number | undefined;
}

export async function getBlob(
    session: RegistrySession,
    repository: string,
    digest: string,
    { signal, maxBytes }: BlobOptions,
): Promise<Buffer> {
    const asked = requireDigest(digest);
    const reply = await session.request({
        method: "GET",
        target: `${repositoryPath(repository)}/blobs/${asked}`,
        limit: maxBytes ?? BLOB_LIMIT,
        expect: [200],
        scopes: pull(repository),
        signal,
    });
    verifyBody(reply, "GET", sha256(reply.body), asked);
    return reply.body;
}

function head(repository: string, digest: Digest, signal: AbortSignal | undefined) {
    return {
        method: "HEAD" as const,
        target: `${repositoryPath(repository)}/blobs/${digest}`,
        limit: SMALL,
        expect: [200, 404],
        scopes: pull(repository),
        signal,
    };
}

export async function headBlob(
    session: RegistrySession,
    repository: string,
    digest: string,
    { signal }: CallOptions,
): Promise<{ digest: Digest; size: number | undefined } | undefined> {
    const asked = requireDigest(digest);
    const reply = await session.request(head(repository, asked, signal));
    if (reply.status === 404) return undefined;
    verifyClaim(reply, "HEAD", asked, "Docker-Content-Digest is not what was asked for");
    return { digest: asked, size: contentLength(reply) };
}

/** `POST` then `PUT`, in one piece ("Pushing a blob monolithically"); repeated as a whole, for a session can be lost. */
export async function putBlob(
    session: RegistrySession,
    repository: string,
    bytes: Buffer,
    mediaType: string,
    { signal }: CallOptions,
): Promise<Descriptor> {
    const digest = sha256(bytes);
    return session.retrying(signal, async () => {
        const there = await session.attempt(head(repository, digest, signal));
        if (there.status === 404) {
            const opened = await openUpload(session, repository, "", [202], push(repository), signal);
            await upload(session, repository, opened, digest, bytes, signal);
        } else {
            verifyClaim(there, "HEAD", digest, "Docker-Content-Digest is not what was asked for");
        }
        return { mediaType, digest, size: bytes.length };
    });
}

function openUpload(
    session: RegistrySession,
    repository: string,
    query: string,
    expect: number[],
    scopes: string[],
    signal: AbortSignal | undefined,
): Promise<WireReply> {
    const target = `${repositoryPath(repository)}/blobs/uploads/${query}`;
    return session.attempt({ method: "POST", target, limit: SMALL, expect, scopes, signal });
}

async function upload(
    session: RegistrySession,
    repository: string,
    opened: WireReply,
    digest: Digest,
    bytes: Buffer,
    signal: AbortSignal | undefined,
): Promise<void> {
    const location = resolveLocation(header(opened.headers, "location"), "POST", opened.url);
    // Appended as text: what stands there may be signed, and must not be encoded anew.
    const target = new URL(`${location.href}${location.search ? "&" : "?"}digest=${encodeURIComponent(digest)}`);
    const scopes = push(repository);
    const headers = { "content-type": "application/octet-stream" };
    try {
        const request = {
            method: "PUT" as const,
            target,
            headers,
            body: bytes,
            limit: SMALL,
            expect: [201],
            scopes,
            signal,
        };
        const reply = await session.attempt(request);
        verifyClaim(reply, "PUT", digest, "the registry stored other content than was sent");
    } catch (error) {
        const lost = error instanceof RegistryError && error.registryCode === "BLOB_UPLOAD_UNKNOWN";
        throw lost ? error.with({ retryable: true }) : error;
    }
}

/** @returns whether the registry took the blob over; where not, nothing was started. */
export async function mountBlob(
    session: RegistrySession,
    repository: string,
    digest: string,
    from: string,
    { signal }: CallOptions,
): Promise<boolean> {
    const asked = requireDigest(digest);
    repositoryPath(from);
    const scopes = [...push(repository), ...pull(from)];
    const query = `?mount=${encodeURIComponent(asked)}&from=${encodeURIComponent(from)}`;
    return session.retrying(signal, async () => {
        const reply = await openUpload(session, repository, query, [201, 202], scopes, signal);
        if (reply.status === 201) {
            verifyClaim(reply, "POST", asked, "the registry mounted other content than was asked for");
            return true;
        }
        // 202: it opened an upload instead, which nobody wants. Registries that can't cancel one (404, 405) purge it.
        const target = resolveLocation(header(reply.headers, "location"), "POST", reply.url);
        const expect = [200, 202, 204, 404, 405];
        await session.attempt({ method: "DELETE", target, limit: SMALL, expect, scopes: push(repository), signal });
        return false;
    });
}
