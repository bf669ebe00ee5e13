import type { RegistryConnection } from "../../core/registry-connection";
import { publicKeyFor } from "../../drivers/attachments";
import { attachedStatements } from "../../drivers/bundles";
import { SIGNATURE_PREDICATE, UnverifiedError, type Verifier, verify, verifyAttestation } from "../../drivers/cosign";
import { type RegistryAccess, withRegistry } from "../../drivers/registry-access";
import { defineOperations } from "../operations";

export interface Inputs {
    repository: string;
    connection: RegistryConnection;
    /** Of the index. */
    digest: string;
    children: string[];
    /** Types of the statements that each child must carry, URIs. */
    predicateTypes: string[];
    verifier: Verifier;
}

interface State extends Inputs {
    /** The digest again, known only when everything verified. */
    verifiedDigest: string;
}

async function verifySignature(inputs: Inputs, access: RegistryAccess, digest: string): Promise<void> {
    try {
        await verify(`${inputs.repository}@${digest}`, inputs.verifier, access);
    } catch (error) {
        // cosign says "no signatures" when it could not list them, too. Our own listing throws what was really wrong.
        if (error instanceof UnverifiedError) await attachedStatements(access, digest, SIGNATURE_PREDICATE);
        throw error;
    }
}

async function verifyStatement(inputs: Inputs, access: RegistryAccess, child: string, type: string): Promise<void> {
    const reference = `${inputs.repository}@${child}`;
    const publicKey = await publicKeyFor(inputs.verifier);
    if (publicKey === undefined) return verifyAttestation(reference, type, inputs.verifier, access);
    const statements = await attachedStatements(access, child, type);
    const good = statements.some(({ subjects, signedBy }) => subjects.includes(child) && signedBy(publicKey));
    if (!good)
        throw new UnverifiedError(
            reference,
            statements.length === 0 ? `it carries no ${type}` : `its ${type} was signed by another key`,
        );
}

async function verifyAll(inputs: Inputs): Promise<State> {
    const { repository, connection, digest, children, predicateTypes } = inputs;
    await withRegistry(repository, connection, async (access) => {
        const checks = [
            ...[digest, ...children].map((signed) => verifySignature(inputs, access, signed)),
            ...children.flatMap((child) => predicateTypes.map((type) => verifyStatement(inputs, access, child, type))),
        ];
        const failures = (await Promise.allSettled(checks)).flatMap((result) =>
            result.status === "rejected" ? [result.reason as Error] : [],
        );
        const [first] = failures;
        if (failures.length === 1) throw first;
        if (first)
            throw new Error(
                [
                    `${repository}@${digest}: ${failures.length} of ${checks.length} checks failed; no tag was moved`,
                    ...failures.map(({ message }) => `  ${message.replaceAll("\n", "\n  ")}`),
                    "next: check that the public key is the one of the signing key",
                ].join("\n"),
            );
    });
    return { ...inputs, verifiedDigest: digest };
}

export const operations = defineOperations<Inputs, State>({
    ignored: ["connection"],
    async create(inputs) {
        return { id: `${inputs.repository}@${inputs.digest}`, outs: await verifyAll(inputs) };
    },
});
