import type { RegistryConnection } from "../../core/registry-connection";
import { attachOnce, publicKeyFor } from "../../drivers/attachments";
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

export const operations = defineOperations<Inputs, State>({
    ignored: ["connection"],
    async create(inputs) {
        const { repository, connection, digests, signer } = inputs;
        const publicKey = await publicKeyFor(signer);
        await withRegistry(repository, connection, (access) =>
            Promise.all(
                digests.map((digest) =>
                    attachOnce(
                        access,
                        digest,
                        SIGNATURE_PREDICATE,
                        ({ subjects }) => subjects.includes(digest),
                        publicKey,
                        () => sign(`${repository}@${digest}`, signer, access),
                    ),
                ),
            ),
        );
        return { id: `${repository}@${digests[0]}`, outs: { ...inputs, publicKey: publicKey ?? "" } };
    },
});
