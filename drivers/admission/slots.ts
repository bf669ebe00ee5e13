import { randomUUID } from "node:crypto";
import type { ClientHttp2Session } from "node:http2";
import { setTimeout as delay } from "node:timers/promises";
import { compareVersions, parseSemver } from "../../core/semver";
import { BUILD_ID, call, lockedMountRequest, NEW_CONTAINER, SOLVE, solveRequest } from "./wire";

/**
 * The first BuildKit that gives up waiting for a locked mount when the waiting client is gone (frontend/gateway/gateway.go,
 * `containerCtx`). In older ones such a wait goes on, and takes the mount for good when it gets it.
 */
const OLDEST = "0.33.1";

/**
 * Why this BuildKit can't hold places, or nothing where it can.
 *
 * @param version as the daemon says it: `v0.33.1`
 */
export function placesUnsupported(version: string): string | undefined {
    const found = parseSemver(version.replace(/^v/, ""));
    const oldest = parseSemver(OLDEST);
    if (found && oldest && compareVersions(found, oldest) >= 0) return undefined;
    const is = version ? `is ${version}` : "does not say its version";
    return `maxBuilds needs BuildKit ${OLDEST} or newer, and this one ${is}; update it, or leave maxBuilds out`;
}

/** One of the places that a node has for builds. */
export interface Slot {
    /** Settles, with the reason, should the node take it away. */
    readonly lost: Promise<Error>;
    /** Gives it back; the node has it within a moment. */
    release(): void;
}

const PREFIX = "buildfleet-slot";
/** A place that is free is had within this; the next one is asked for as well when it is not. */
const TRY_NEXT_MS = 60;

interface Attempt {
    slot: Slot;
    granted: Promise<Slot>;
}

/**
 * Takes one of `limit` places of a node, waiting for it as long as it takes.
 *
 * BuildKit itself is the lock: a place is a cache mount with `sharing=locked`, which one container at a time has
 * (solver/llbsolver/mounts, getRefCacheDirNoCache), over all its clients. The container is part of a build that does nothing, which
 * lasts as long as its call: whoever dies, or is cut off, gives the place back with the connection. (Exclusive job IDs would do,
 * too, but BuildKit keeps one for 10 s after its end.) Such a build is internal: it is in no history, and no one counts it.
 *
 * @param session the connection of the build that it is for, so that both end together.
 * @throws GrpcError when the node refuses or is lost; CANCELLED by the signal.
 */
export async function takeSlot(session: ClientHttp2Session, limit: number, signal: AbortSignal): Promise<Slot> {
    const attempts: Attempt[] = [];
    let won: Slot | undefined;
    const first = Math.floor(Math.random() * limit);
    try {
        for (let i = 0; i < limit && !won; i++) {
            attempts.push(attempt(session, (first + i) % limit, signal));
            const granted = attempts.map((one) => one.granted);
            won = await Promise.race([...granted, delay(TRY_NEXT_MS, undefined, { signal }).catch(() => undefined)]);
        }
        won ??= await Promise.race(attempts.map((one) => one.granted));
        return won;
    } finally {
        for (const one of attempts) if (one.slot !== won) one.slot.release();
    }
}

function attempt(session: ClientHttp2Session, index: number, signal: AbortSignal): Attempt {
    const ref = `${PREFIX}-${index}-${randomUUID()}`;
    const held = new AbortController();
    const cancel = () => held.abort();
    signal.addEventListener("abort", cancel, { once: true });
    if (signal.aborted) cancel();
    const build = call(session, SOLVE, solveRequest({ Ref: ref, Internal: true }), { signal: held.signal });
    const mount = call(session, NEW_CONTAINER, lockedMountRequest(ref, `${PREFIX}-${index}`), {
        headers: { [BUILD_ID]: ref },
        signal: held.signal,
    });
    const lost = build.then(
        () => new Error("the node ended it"),
        (error: Error) => error,
    );
    const slot = { lost, release: cancel };
    const granted = Promise.race([
        mount.then(() => {
            // From here on it is the build that it was taken for that decides.
            signal.removeEventListener("abort", cancel);
            return slot;
        }),
        lost.then((error): never => {
            throw error;
        }),
    ]);
    // A loser's end is nobody's business.
    granted.catch(() => undefined);
    mount.catch(() => undefined);
    return { slot, granted };
}
