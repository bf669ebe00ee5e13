import { createPublicKey, verify as verifySignature } from "node:crypto";
import type { RegistryAccess } from "./registry-access";

const PREDICATE_ANNOTATION = "dev.sigstore.bundle.predicateType";
/** Media type of a sigstore bundle, also the artifact type of the manifest that carries one. */
const BUNDLE_TYPE = "application/vnd.dev.sigstore.bundle.v0.3+json";

/** A signed statement that is stored beside a digest. */
export interface AttachedStatement {
    predicate: unknown;
    /** `sha256:…` of what the statement is about. */
    subjects: string[];
    /** Whether this key signed it. */
    signedBy(publicKey: string): boolean;
}

/** Pre-authentication encoding of a DSSE envelope (secure-systems-lab/dsse, protocol.md). */
const preAuthenticated = (type: string, payload: Buffer) =>
    Buffer.concat([Buffer.from(`DSSEv1 ${Buffer.byteLength(type)} ${type} ${payload.length} `), payload]);

interface Bundle {
    dsseEnvelope?: { payload: string; payloadType: string; signatures: { sig: string }[] };
}
interface Statement {
    predicateType: string;
    predicate: unknown;
    subject?: { digest?: { sha256?: string } }[];
}

/**
 * Every statement of a type that cosign (3, bundle format) stored beside a digest.
 *
 * @throws RegistryError where the registry could not be asked: no answer is not "none".
 */
export async function attachedStatements(
    access: RegistryAccess,
    digest: string,
    predicateType: string,
): Promise<AttachedStatement[]> {
    const referrers = await access.client.referrers(access.path, digest, { artifactType: BUNDLE_TYPE });
    const read = referrers.map((referrer) => readStatement(access, referrer.digest, predicateType));
    return (await Promise.all(read)).flat();
}

async function readStatement(
    access: RegistryAccess,
    manifestDigest: string,
    predicateType: string,
): Promise<AttachedStatement[]> {
    const manifest = JSON.parse((await access.client.getManifest(access.path, manifestDigest)).bytes.toString());
    // Statements can be large (a bill of materials); the annotation tells the type without reading them.
    if ((manifest.annotations?.[PREDICATE_ANNOTATION] ?? predicateType) !== predicateType) return [];
    const [layer] = manifest.layers ?? [];
    if (!layer) return [];
    const bundle: Bundle = JSON.parse((await access.client.getBlob(access.path, layer.digest)).toString());
    const envelope = bundle.dsseEnvelope;
    if (!envelope) return [];
    const payload = Buffer.from(envelope.payload, "base64");
    const statement: Statement = JSON.parse(payload.toString());
    if (statement.predicateType !== predicateType) return [];
    return [
        {
            predicate: statement.predicate,
            subjects: (statement.subject ?? []).flatMap(({ digest: subject }) =>
                subject?.sha256 ? [`sha256:${subject.sha256}`] : [],
            ),
            signedBy: (publicKey) =>
                envelope.signatures.some(({ sig }) =>
                    verifySignature(
                        "sha256",
                        preAuthenticated(envelope.payloadType, payload),
                        createPublicKey(publicKey),
                        Buffer.from(sig, "base64"),
                    ),
                ),
        },
    ];
}
