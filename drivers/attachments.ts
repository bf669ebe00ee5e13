import { availableParallelism } from "node:os";
import pLimit from "p-limit";
import { type AttachedStatement, attachedStatements } from "./bundles";
import { publicKeyOf, type Signer, type Verifier } from "./cosign";
import { withLocks } from "./lock";
import type { RegistryAccess } from "./registry-access";

const publicKeys = new Map<string, Promise<string>>();

/** The public half, where there is one: a keyless identity has none. */
export async function publicKeyFor(party: Signer | Verifier): Promise<string | undefined> {
    if (party.kind === "key") return party.publicKey;
    if (party.kind === "keyless") return undefined;
    const known = publicKeys.get(party.uri) ?? publicKeyOf(party.uri);
    publicKeys.set(party.uri, known);
    // A look-up that failed (throttled, expired) is tried again by whoever asks next.
    known.catch(() => publicKeys.delete(party.uri));
    return known;
}

/** Statements are read whole, and a bill of materials has megabytes: not those of all images at once. */
const attaching = pLimit(2 * availableParallelism());

const isSignedBy =
    (publicKey: string | undefined) =>
    ({ signedBy }: AttachedStatement) =>
        publicKey === undefined || signedBy(publicKey);

/** Whether a statement that {@link attachOnce} stored is (still) there: a writer elsewhere may have overwritten it. */
export async function isAttached(
    access: RegistryAccess,
    digest: string,
    predicateType: string,
    isMeant: (statement: AttachedStatement) => boolean,
    publicKey: string | undefined,
): Promise<boolean> {
    const statements = await attachedStatements(access, digest, predicateType);
    return statements.filter(isMeant).some(isSignedBy(publicKey));
}

/**
 * Stores a statement beside a digest exactly once: it is there when one that `isMeant` is signed by the key's other half
 * (by anybody, where there is no public key).
 *
 * A registry without the referrers API keeps all statements about a digest under one tag, which every writer reads,
 * extends and writes back; of two at the same time one loses its entry (google/go-containerregistry#2205). So writers
 * on this machine take turns, and what was written is read back: a writer elsewhere may have overwritten it.
 *
 * @throws Error where it is not there after three attempts, and at once where the key that signs is another one's half.
 */
export async function attachOnce(
    access: RegistryAccess,
    digest: string,
    predicateType: string,
    isMeant: (statement: AttachedStatement) => boolean,
    publicKey: string | undefined,
    attach: () => Promise<void>,
): Promise<void> {
    const where = `${access.registry}/${access.path}@${digest}`;
    const once = async () => {
        const meant = async () => (await attachedStatements(access, digest, predicateType)).filter(isMeant);
        const isOurs = isSignedBy(publicKey);
        const before = await meant();
        if (before.some(isOurs)) return;
        for (let attempt = 0; attempt < 3; attempt++) {
            await attach();
            const after = await meant();
            if (after.some(isOurs)) return;
            if (after.length > before.length)
                throw new Error(
                    `${where}: the ${predicateType} statement does not verify with the public key that was given; ` +
                        "no tag was moved\nnext: give the public key that belongs to the private one",
                );
        }
        throw new Error(
            `${where}: the ${predicateType} statement was stored three times and overwritten each time; ` +
                "another client writes there without taking turns: run again when it is done",
        );
    };
    await withLocks([where], () => attaching(once));
}
