import type { Blob } from "../blob-check";
import { badContent } from "./content";
import { RegistryError } from "./errors";
import { type CallOptions, pull, repositoryPath, requireDigest } from "./manifests";
import type { RegistrySession } from "./session";
import { header, type WireHead } from "./transport";

export interface StreamOptions extends CallOptions {
    /** Bytes that are there already, and not asked for again. Default 0. */
    offset?: number | undefined;
}

/**
 * Reads a blob piece by piece, in order, each byte once: where the connection breaks it goes on from there (`Range`; OCI
 * distribution specification, "Pulling blobs"), for as long as each attempt brings more. Nothing of it is kept, so its
 * digest is for the caller to check.
 *
 * @param take gets each piece, and is waited for before the next one is read.
 */
export async function streamBlob(
    session: RegistrySession,
    repository: string,
    { digest, size }: Blob,
    take: (piece: Buffer) => void | Promise<void>,
    { signal, offset = 0 }: StreamOptions,
): Promise<void> {
    const target = `${repositoryPath(repository)}/blobs/${requireDigest(digest)}`;
    let taken = offset;
    const receive = async (head: WireHead, body: AsyncIterable<Buffer>) => {
        let skip = head.status === 206 ? startOf(head, taken) : taken;
        for await (const piece of body) {
            const fresh = piece.subarray(skip);
            skip -= piece.length - fresh.length;
            if (taken + fresh.length > size) throw wrongSize(head, `more than the ${size} bytes of its descriptor`);
            taken += fresh.length;
            if (fresh.length > 0) await take(fresh);
        }
        // A body that ended well and is too short is what the registry has; no further attempt brings more.
        if (taken < size) throw wrongSize(head, `${taken} bytes instead of the ${size} of its descriptor`);
    };
    const attempt = async () => {
        const before = taken;
        const headers: Record<string, string> = taken > 0 ? { range: `bytes=${taken}-` } : {};
        try {
            const expect = [200, 206];
            const scopes = pull(repository);
            await session.attempt({ method: "GET", target, headers, limit: size, expect, scopes, signal, receive });
        } catch (error) {
            const broken = error instanceof RegistryError && error.retryable;
            if (!broken || taken === before) throw error;
        }
    };
    do await session.retrying(signal, attempt);
    while (taken < size);
}

/** How many bytes of a partial answer are known already: none, unless it starts earlier than it was asked to. */
function startOf(head: WireHead, asked: number): number {
    const start = Number(/^bytes (\d+)-/.exec(header(head.headers, "content-range") ?? "")?.[1] ?? asked);
    if (start > asked) throw wrongSize(head, `bytes from ${start} on, where ${asked} was asked for`);
    return asked - start;
}

function wrongSize(head: WireHead, found: string): RegistryError {
    return badContent({ ...head, body: Buffer.alloc(0), foreign: false }, "GET", `the blob has ${found}`);
}
