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
    return known;
}

/**
 * Stores a statement beside a digest exactly once.
 *
 * A registry without the referrers API keeps all statements about a digest under one tag, which every writer reads,
 * extends and writes back; of two at the same time one loses its entry (google/go-containerregistry#2205). So writers
 * on this machine take turns, and what was written is read back: a writer elsewhere may have overwritten it.
 *
 * @throws Error where it is not there after three attempts.
 */
export async function attachOnce(
    access: RegistryAccess,
    digest: string,
    predicateType: string,
    isOurs: (statement: AttachedStatement) => boolean,
    attach: () => Promise<void>,
): Promise<void> {
    const where = `${access.registry}/${access.path}@${digest}`;
    await withLocks([where], async () => {
        const isThere = async () => (await attachedStatements(access, digest, predicateType)).some(isOurs);
        if (await isThere()) return;
        for (let attempt = 0; attempt < 3; attempt++) {
            await attach();
            if (await isThere()) return;
        }
        throw new Error(
            `${where}: the ${predicateType} statement was stored three times and overwritten each time; ` +
                "another client writes there without taking turns: run again when it is done",
        );
    });
}
