import { type CallOptions, push, repositoryPath } from "./manifests";
import type { RegistrySession } from "./session";
import { header, resolveLocation } from "./transport";

/** Largest answer to an upload's requests, which have none to speak of. */
const SMALL = 64 * 1024;

/**
 * Asks for the right to push in the one way that every registry has: an upload is opened and cancelled, and nothing is sent. Where
 * it can't be cancelled (404, 405), or not by who may not delete (401, 403: distribution), the registry purges it.
 */
export function checkPush(session: RegistrySession, repository: string, { signal }: CallOptions): Promise<void> {
    const scopes = push(repository);
    return session.retrying(signal, async () => {
        const target = `${repositoryPath(repository)}/blobs/uploads/`;
        const opened = await session.attempt({ method: "POST", target, limit: SMALL, expect: [202], scopes, signal });
        await session.attempt({
            method: "DELETE",
            target: resolveLocation(header(opened.headers, "location"), "POST", opened.url),
            limit: SMALL,
            expect: [200, 202, 204, 401, 403, 404, 405],
            scopes,
            signal,
        });
    });
}
