import { writeFileSync } from "node:fs";
import { readFile } from "node:fs/promises";
import { join } from "node:path";
import type { RegistryConnection } from "../../core/registry-connection";
import { saysTheSame } from "../../core/statements";
import { attachOnce, isAttached, publicKeyFor } from "../../drivers/attachments";
import { attest, type Signer } from "../../drivers/cosign";
import { fetchDocument } from "../../drivers/documents";
import { type RegistryAccess, withRegistry } from "../../drivers/registry-access";
import { inTemporaryFolder } from "../../drivers/temporary-folder";
import { defineOperations } from "../operations";

export interface Inputs {
    repository: string;
    connection: RegistryConnection;
    digest: string;
    /** The predicate's type, a URI. */
    predicateType: string;
    /** Digest of a stored document that is the predicate; or empty, and `predicate` is it. */
    document: string;
    predicate: Record<string, unknown>;
    signer: Signer;
}

interface State extends Inputs {
    /** What it is about: `repository@digest`. */
    reference: string;
}

async function store(inputs: Inputs, access: RegistryAccess, path: string): Promise<void> {
    const predicate = JSON.parse(await readFile(path, "utf8"));
    const publicKey = await publicKeyFor(inputs.signer);
    await attachOnce(
        access,
        inputs.digest,
        inputs.predicateType,
        ({ subjects, predicate: stored }) =>
            subjects.includes(inputs.digest) && saysTheSame(inputs.predicateType, stored, predicate),
        publicKey,
        () =>
            attest(
                `${inputs.repository}@${inputs.digest}`,
                { type: inputs.predicateType, path },
                inputs.signer,
                access,
            ),
    );
}

export const operations = defineOperations<Inputs, State>({
    ignored: ["connection"],
    async create(inputs) {
        const { repository, connection, digest, predicateType, document } = inputs;
        await withRegistry(repository, connection, async (access) => {
            if (document) return store(inputs, access, await fetchDocument(access, document));
            return inTemporaryFolder(async (folder) => {
                const path = join(folder, "predicate.json");
                writeFileSync(path, JSON.stringify(inputs.predicate));
                await store(inputs, access, path);
            });
        });
        const reference = `${repository}@${digest}`;
        return { id: `${predicateType} of ${reference}`, outs: { ...inputs, reference } };
    },
    async read(state) {
        const { repository, connection, digest, predicateType, document, predicate } = state;
        const publicKey = await publicKeyFor(state.signer);
        // A stored document may be gone from the registry by now (nothing refers to it); the statement has all of it.
        const isThere = await withRegistry(repository, connection, (access) =>
            isAttached(
                access,
                digest,
                predicateType,
                ({ subjects, predicate: stored }) =>
                    subjects.includes(digest) && (document !== "" || saysTheSame(predicateType, stored, predicate)),
                publicKey,
            ),
        );
        return isThere ? state : undefined;
    },
});
