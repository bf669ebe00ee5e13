import * as pulumi from "@pulumi/pulumi";
import { kmsKeyFault } from "../../core/gate-settings";
import { SettingsError } from "../../core/problems";
import { PREDICATES } from "../../core/statements";
import { Attestation } from "../../resources/attestation";
import type { ImageIndex } from "../../resources/image-index";
import { Signature, type Signer } from "../../resources/signature";
import { TagPromotion } from "../../resources/tag-promotion";
import { Verification, type Verifier } from "../../resources/verification";
import { applyTransform } from "../transform";
import type { SignArgs } from "./args";
import type { BuiltPlatform, Scope } from "./build";
import type { Gates } from "./gates";
import { provenance } from "./provenance";
import { tagsOf } from "./tags";

interface Released {
    ref: pulumi.Output<string>;
    tags: pulumi.Output<string[]>;
    signature: { publicKey: pulumi.Output<string>; digests: pulumi.Output<string>[] } | undefined;
}

/** Signs, attests, verifies, and only then moves the tags. */
export function release(scope: Scope, index: ImageIndex, built: BuiltPlatform[], gates: Gates[]): Released {
    const { settings } = scope;
    const passed = gates.flatMap(({ test, scan }) => [test, scan]).filter((gate) => gate !== undefined);
    const children = built.map(({ digest }) => digest);
    if (settings.sign === false) return { ...promote(scope, index.digest, children, passed), signature: undefined };
    const digests = [index.digest, ...children];
    const { signer, verifier } = parties(scope.name, settings.sign);
    const attestations = built.flatMap((platform, i) => attest(scope, index, platform, gates[i], signer));
    const signature = createSignature(scope, digests, signer, passed);
    const verification = createVerification(scope, index, built, gates, verifier, [signature, ...attestations]);
    return {
        ...promote(scope, verification.verifiedDigest, children, []),
        signature: { publicKey: signature.publicKey, digests },
    };
}

/** Who signs, and what is needed to verify: the private half goes no further than the signing resources. */
export function parties(
    name: string,
    sign: SignArgs,
): { signer: pulumi.Output<Signer>; verifier: pulumi.Output<Verifier> } {
    if (sign.keyless) {
        const identity = { kind: "keyless" as const, ...sign.keyless };
        return { signer: pulumi.output<Signer>(identity), verifier: pulumi.output<Verifier>(identity) };
    }
    if (isKmsKey(sign.key)) {
        const key = pulumi.output(sign.key).apply((uri) => ({ kind: "kms" as const, uri: kmsKey(name, uri) }));
        return { signer: key, verifier: key };
    }
    if (!sign.key) throw new Error("unreachable: the settings were checked");
    const { privateKey, password, publicKey } = sign.key;
    return {
        signer: pulumi.secret(
            pulumi.output({ kind: "key" as const, privateKey, password, publicKey }),
        ) as pulumi.Output<Signer>,
        verifier: pulumi.output({ kind: "key" as const, publicKey }) as pulumi.Output<Verifier>,
    };
}

const isKmsKey = (key: SignArgs["key"]): key is pulumi.Input<string> =>
    typeof key === "string" || pulumi.Output.isInstance(key) || key instanceof Promise;

/** An output is only looked at when it is known. */
function kmsKey(name: string, uri: unknown): string {
    const fault = kmsKeyFault(uri);
    if (fault) throw new SettingsError(`MultiPlatformImage ${JSON.stringify(name)}`, [{ path: "sign.key", ...fault }]);
    return uri as string;
}

function attest(
    scope: Scope,
    index: ImageIndex,
    built: BuiltPlatform,
    gates: Gates | undefined,
    signer: pulumi.Output<Signer>,
): Attestation[] {
    const { name, settings, transform, options } = scope;
    const make = (
        kind: keyof typeof PREDICATES,
        content: { document?: pulumi.Input<string>; predicate?: pulumi.Input<Record<string, unknown>> },
    ) => {
        const args = {
            repository: settings.repository,
            connection: settings.connection,
            digest: built.digest,
            predicateType: PREDICATES[kind],
            signer,
            ...content,
        };
        const child = `${kind}-${built.slug}`;
        return new Attestation(`${name}-attest-${child}`, applyTransform(transform.attestation, args, child), options);
    };
    return [
        ...(gates?.sbom && settings.attestSbom ? [make("sbom", { document: gates.sbom.spdx.digest })] : []),
        ...(gates?.scan ? [make("scan", { document: gates.scan.document.digest })] : []),
        make("provenance", { predicate: provenance(settings, index, built) }),
    ];
}

function createSignature(
    { name, settings, transform, options }: Scope,
    digests: pulumi.Output<string>[],
    signer: pulumi.Output<Signer>,
    passed: pulumi.Resource[],
): Signature {
    const args = { repository: settings.repository, connection: settings.connection, digests, signer };
    return new Signature(
        `${name}-signature`,
        applyTransform(transform.signature, args),
        // A signature says that the gates were passed, so there is none before they are.
        pulumi.mergeOptions(options, { dependsOn: passed }),
    );
}

function createVerification(
    { name, settings, transform, options }: Scope,
    index: ImageIndex,
    built: BuiltPlatform[],
    gates: Gates[],
    verifier: pulumi.Output<Verifier>,
    written: pulumi.Resource[],
): Verification {
    const args = {
        repository: settings.repository,
        connection: settings.connection,
        digest: index.digest,
        children: built.map(({ digest }) => digest),
        predicateTypes: [
            ...(settings.attestSbom ? [PREDICATES.sbom] : []),
            ...(gates.some(({ scan }) => scan) ? [PREDICATES.scan] : []),
            PREDICATES.provenance,
        ],
        verifier,
    };
    return new Verification(
        `${name}-verification`,
        applyTransform(transform.verification, args),
        pulumi.mergeOptions(options, { dependsOn: written }),
    );
}

function promote(
    { name, settings, transform, options, git }: Scope,
    digest: pulumi.Output<string>,
    children: pulumi.Output<string>[],
    dependsOn: pulumi.Resource[],
): { ref: pulumi.Output<string>; tags: pulumi.Output<string[]> } {
    const args = {
        repository: settings.repository,
        connection: settings.connection,
        digest,
        ...tagsOf(settings, git),
        ...(settings.ecr ? { children } : {}),
    };
    const promotion = new TagPromotion(
        `${name}-promotion`,
        applyTransform(transform.promotion, args),
        pulumi.mergeOptions(options, { dependsOn }),
    );
    return { ref: promotion.ref, tags: promotion.promoted };
}
