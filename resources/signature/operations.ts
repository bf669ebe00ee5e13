import type { RegistryConnection } from "../../core/registry-connection";
import { attachOnce, isAttached, publicKeyFor } from "../../drivers/attachments";
import type { AttachedStatement } from "../../drivers/bundles";
import { SIGNATURE_PREDICATE, type Signer, sign } from "../../drivers/cosign";
import { withRegistry } from "../../drivers/registry-access";
import { defineOperations } from "../operations";

export interface Inputs {
    repository: string;
    connection: RegistryConnection;
    /** The index, then its children. */
    digests: string[];
    signer: Signer;
}

interface State extends Inputs {
    /** PEM; empty where an identity signed without a key of its own. */
    publicKey: string;
}

const isAbout =
    (digest: string) =>
    ({ subjects }: AttachedStatement) =>
        subjects.includes(digest);

export const operations = defineOperations<Inputs, State>({
    ignored: ["connection"],
    async create(inputs) {
        const { repository, connection, digests, signer } = inputs;
        const publicKey = await publicKeyFor(signer);
        await withRegistry(repository, connection, (access) =>
            Promise.all(
                digests.map((digest) =>
                    attachOnce(access, digest, SIGNATURE_PREDICATE, isAbout(digest), publicKey, () =>
                        sign(`${repository}@${digest}`, signer, access),
                    ),
                ),
            ),
        );
        return { id: `${repository}@${digests[0]}`, outs: { ...inputs, publicKey: publicKey ?? "" } };
    },
    async read(state) {
        const { repository, connection, digests, signer } = state;
        const publicKey = await publicKeyFor(signer);
        return withRegistry(repository, connection, async (access) => {
            const there = await Promise.all(
                digests.map((digest) => isAttached(access, digest, SIGNATURE_PREDICATE, isAbout(digest), publicKey)),
            );
            return there.every(Boolean) ? state : undefined;
        });
    },
});
