import { readFileSync } from "node:fs";
import { join } from "node:path";
import { writeFileAtomic } from "./files";
import { CommandError, type RunOptions, run } from "./process";
import type { RegistryAccess } from "./registry-access";
import { inTemporaryFolder } from "./temporary-folder";
import { cacheRoot } from "./tools";

/** Who signs: a key pair, a key in a KMS, or an OIDC identity (keyless). */
export type Signer =
    | { kind: "key"; privateKey: string; password: string; publicKey: string }
    | { kind: "kms"; uri: string; transparencyLog?: boolean }
    | { kind: "keyless"; identity: string; issuer: string; provider?: string };

/** What a verifier must know: only public halves. */
export type Verifier =
    | { kind: "key"; publicKey: string }
    | { kind: "kms"; uri: string; transparencyLog?: boolean }
    | { kind: "keyless"; identity: string; issuer: string };

const KEY_VARIABLE = "BUILDFLEET_SIGNING_KEY";
const PUBLIC_KEY_VARIABLE = "BUILDFLEET_PUBLIC_KEY";

/** Type of the statement that `cosign sign` makes (cosign: pkg/types/predicate.go). */
export const SIGNATURE_PREDICATE = "https://sigstore.dev/cosign/sign/v1";

// Signing with a key needs no service of sigstore's: no transparency log, no time stamps, no root of trust to fetch.
const SIGNING_CONFIG = {
    mediaType: "application/vnd.dev.sigstore.signingconfig.v0.2+json",
    rekorTlogConfig: {},
    tsaConfig: {},
};
const TRUSTED_ROOT = { mediaType: "application/vnd.dev.sigstore.trustedroot+json;version=0.1" };

function offlineArguments(): string[] {
    const folder = join(cacheRoot(), "cosign");
    const config = join(folder, "signing-config.json");
    const root = join(folder, "trusted-root.json");
    writeFileAtomic(config, JSON.stringify(SIGNING_CONFIG));
    writeFileAtomic(root, JSON.stringify(TRUSTED_ROOT));
    return ["--signing-config", config, "--trusted-root", root];
}

/**
 * The region of a key in AWS KMS that is named by its ARN: cosign's client takes the one of the environment, whatever the ARN says
 * (sigstore: pkg/signature/kms/aws/client.go, setupClient).
 */
function kmsEnvironment(uri: string): Record<string, string> {
    const region = /^awskms:\/\/[^/]*\/arn:[^:]+:kms:([^:]+):/.exec(uri)?.[1];
    return region === undefined ? {} : { AWS_REGION: region };
}

function signerArguments(signer: Signer): { args: string[]; env: Record<string, string>; redact: string[] } {
    if (signer.kind === "key")
        return {
            args: ["--key", `env://${KEY_VARIABLE}`, ...offlineArguments()],
            env: { [KEY_VARIABLE]: signer.privateKey, COSIGN_PASSWORD: signer.password },
            redact: [signer.password, signer.privateKey],
        };
    if (signer.kind === "kms")
        return {
            args: ["--key", signer.uri, ...(signer.transparencyLog ? [] : offlineArguments())],
            env: kmsEnvironment(signer.uri),
            redact: [],
        };
    return { args: signer.provider ? ["--oidc-provider", signer.provider] : [], env: {}, redact: [] };
}

function verifierArguments(verifier: Verifier): { args: string[]; env: Record<string, string> } {
    if (verifier.kind === "key")
        return {
            args: ["--key", `env://${PUBLIC_KEY_VARIABLE}`, "--insecure-ignore-tlog"],
            env: { [PUBLIC_KEY_VARIABLE]: verifier.publicKey },
        };
    if (verifier.kind === "kms")
        return {
            args: ["--key", verifier.uri, ...(verifier.transparencyLog ? [] : ["--insecure-ignore-tlog"])],
            env: kmsEnvironment(verifier.uri),
        };
    return {
        args: ["--certificate-identity", verifier.identity, "--certificate-oidc-issuer", verifier.issuer],
        env: {},
    };
}

function registryArguments(access: RegistryAccess): string[] {
    return [
        ...(access.plainHttp ? ["--allow-http-registry"] : []),
        ...(access.caFile ? ["--registry-cacert", access.caFile] : []),
        ...(access.clientCertificate
            ? [
                  ...["--registry-client-cert", access.clientCertificate.certificate],
                  ...["--registry-client-key", access.clientCertificate.privateKey],
              ]
            : []),
    ];
}

const NEXT_SIGN = {
    key: "check that the key and its password belong together, and that the registry accepts a push",
    kms: "check that these credentials may sign with the key (for AWS kms:Sign), and that the registry accepts a push",
    keyless: "check that the identity's token can be had here, and that the registry accepts a push",
};

/** Makes a key pair of cosign's own form: ECDSA P-256, the private half encrypted with the password. */
export async function generateKeyPair(password: string): Promise<{ privateKey: string; publicKey: string }> {
    return inTemporaryFolder(async (folder) => {
        await run("cosign", ["generate-key-pair", "--output-key-prefix", join(folder, "cosign")], {
            env: { COSIGN_PASSWORD: password },
            redact: [password],
        });
        return {
            privateKey: readFileSync(join(folder, "cosign.key"), "utf8"),
            publicKey: readFileSync(join(folder, "cosign.pub"), "utf8"),
        };
    }, process.env.XDG_RUNTIME_DIR);
}

/** Public half of a key in a KMS, PEM. */
export async function publicKeyOf(uri: string): Promise<string> {
    const result = await run("cosign", ["public-key", "--key", uri], {
        env: kmsEnvironment(uri),
        where: uri,
        next: "check that the key is there, and that these credentials may read its public half (kms:GetPublicKey)",
        timeoutMs: 60_000,
    });
    return result.stdout;
}

/** Signs one digest (not what an index points at). */
export async function sign(
    reference: string,
    signer: Signer,
    access: RegistryAccess,
    options: { recursive?: boolean } & RunOptions = {},
): Promise<void> {
    const { recursive, ...rest } = options;
    const { args, env, redact } = signerArguments(signer);
    await run(
        "cosign",
        ["sign", "--yes", ...(recursive ? ["--recursive"] : []), ...args, ...registryArguments(access), reference],
        {
            env: { ...env, ...access.env },
            redact,
            where: reference,
            next: NEXT_SIGN[signer.kind],
            timeoutMs: 120_000,
            cpuBound: true,
            ...rest,
        },
    );
}

/** Signs a statement about a digest and stores it beside it. */
export async function attest(
    reference: string,
    predicate: { type: string; path: string },
    signer: Signer,
    access: RegistryAccess,
): Promise<void> {
    const { args, env, redact } = signerArguments(signer);
    await run(
        "cosign",
        [
            ...["attest", "--yes", "--type", predicate.type, "--predicate", predicate.path],
            ...args,
            ...registryArguments(access),
            reference,
        ],
        {
            env: { ...env, ...access.env },
            redact,
            where: reference,
            next: NEXT_SIGN[signer.kind],
            timeoutMs: 120_000,
            cpuBound: true,
        },
    );
}

/** Nothing signed this digest with this identity, or what did is no signature of it. */
export class UnverifiedError extends Error {
    constructor(
        readonly reference: string,
        reason: string,
    ) {
        super(`${reference} does not verify: ${reason}`);
        this.name = "UnverifiedError";
    }
}

interface VerifiedPayload {
    critical?: { type?: string; image?: { "docker-manifest-digest"?: string } };
}

/**
 * Verifies the signature of a digest with cosign and looks at what was verified: in bundle mode `cosign verify` takes
 * any statement by the key for a signature, an SBOM attestation too, so type and digest are checked here.
 *
 * @throws UnverifiedError naming the reason; CommandError where the registry could not be asked.
 */
export async function verify(reference: string, verifier: Verifier, access: RegistryAccess): Promise<void> {
    const { args, env } = verifierArguments(verifier);
    const output = await runVerifier(["verify", "-o", "json", ...args], env, reference, access);
    const digest = reference.slice(reference.indexOf("@") + 1);
    const payloads: VerifiedPayload[] = JSON.parse(output);
    const good = payloads.some(
        ({ critical }) =>
            critical?.type === SIGNATURE_PREDICATE && critical.image?.["docker-manifest-digest"] === digest,
    );
    if (good) return;
    const seen = payloads.map(({ critical }) => critical?.type ?? "unknown").join(", ");
    throw new UnverifiedError(reference, `no signature of ${digest} among what the key signed (${seen || "nothing"})`);
}

/**
 * Verifies with cosign that a digest carries a statement of this type by this identity.
 *
 * @throws UnverifiedError naming the reason.
 */
export async function verifyAttestation(
    reference: string,
    predicateType: string,
    verifier: Verifier,
    access: RegistryAccess,
): Promise<void> {
    const { args, env } = verifierArguments(verifier);
    await runVerifier(["verify-attestation", "--type", predicateType, ...args], env, reference, access);
}

async function runVerifier(
    args: string[],
    env: Record<string, string>,
    reference: string,
    access: RegistryAccess,
): Promise<string> {
    try {
        const result = await run("cosign", [...args, ...registryArguments(access), reference], {
            env: { ...env, ...access.env },
            where: reference,
            timeoutMs: 60_000,
            cpuBound: true,
        });
        return result.stdout;
    } catch (error) {
        if (error instanceof CommandError && error.exitCode !== undefined)
            throw new UnverifiedError(reference, error.lastLines.at(-1) ?? error.message);
        throw error;
    }
}
