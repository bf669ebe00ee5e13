import { afterAll, beforeAll, beforeEach, describe, expect, it } from "vitest";
import { RegistryClient } from "../../drivers/registry";
import { operations as attestation } from "../../resources/attestation/operations";
import { operations as signature } from "../../resources/signature/operations";
import { operations as verification } from "../../resources/verification/operations";
import { pushDebianImage } from "../support/debian-image";
import { callKms, serveSigning } from "../support/kms";
import { type AwsProxy, jsonError, type Moto, REGION, startAwsProxy, startMoto, useEnvironment } from "../support/moto";
import { type RunningRegistry, startRegistry } from "../support/registry";
import { cosignVerify } from "../support/views";

const PROVENANCE = "https://slsa.dev/provenance/v1";

let moto: Moto;
let proxy: AwsProxy;
let registry: RunningRegistry;
let client: RegistryClient;
let restore: () => void;
let signing: ReturnType<typeof serveSigning>;
let count = 0;

/** What an `ImageSigningKey` makes: its `key`. */
async function makeKey(alias: string): Promise<string> {
    const { KeyMetadata } = await callKms(moto, "CreateKey", { KeySpec: "ECC_NIST_P256", KeyUsage: "SIGN_VERIFY" });
    await callKms(moto, "CreateAlias", { AliasName: alias, TargetKeyId: KeyMetadata.KeyId });
    return `awskms:///arn:aws:kms:${REGION}:123456789012:${alias}`;
}

beforeAll(async () => {
    [moto, registry] = await Promise.all([startMoto(), startRegistry()]);
    proxy = await startAwsProxy(moto);
    client = new RegistryClient({ registry: registry.registry, plainHttp: true });
    // The runner works in another region than the key is in.
    restore = useEnvironment({ ...proxy.env, AWS_REGION: "us-east-1" });
});
beforeEach(() => {
    proxy.reset();
    signing = serveSigning(proxy, moto);
});
afterAll(async () => {
    restore?.();
    await client?.close();
    await proxy?.stop();
    await Promise.all([moto?.close(), registry?.stop()]);
});

const push = async () => (await pushDebianImage(client, "app", [{ name: "app", version: `${++count}` }])).digest;
const target = () => ({ repository: `${registry.registry}/app`, connection: { plainHttp: true } });

describe("a key in AWS KMS", () => {
    it("signs and attests without leaving KMS, and verifies as a release does", async () => {
        const uri = await makeKey("alias/buildfleet/shop/dev/images");
        const signer = { kind: "kms" as const, uri };
        const [index, child] = [await push(), await push()];
        const { outs } = await signature.create({ ...target(), digests: [index, child], signer });
        expect(outs.publicKey).toMatch(/^-----BEGIN PUBLIC KEY-----/);
        const statement = {
            ...target(),
            digest: child,
            predicateType: PROVENANCE,
            document: "",
            predicate: { a: 1 },
            signer,
        };
        await attestation.create(statement);
        const verified = await verification.create({
            ...target(),
            digest: index,
            children: [child],
            predicateTypes: [PROVENANCE],
            verifier: signer,
        });
        expect(verified.outs.verifiedDigest).toBe(index);
        // What leaves this machine is a digest of 32 bytes, signed by the one algorithm that the key's policy allows.
        const seen: object[] = [];
        proxy.on("Sign", ({ input }) => {
            seen.push({ ...input, Message: Buffer.from(input.Message, "base64").length });
            return signing.signWith(input.KeyId, input);
        });
        await signature.create({ ...target(), digests: [await push()], signer });
        expect(seen).toEqual([
            {
                KeyId: uri.slice("awskms:///".length),
                Message: 32,
                MessageType: "DIGEST",
                SigningAlgorithm: "ECDSA_SHA_256",
            },
        ]);
    }, 300_000);

    it("is verified offline with its public half, and with no other key's", async () => {
        const [ours, theirs] = [await makeKey("alias/ours"), await makeKey("alias/theirs")];
        const digest = await push();
        const sign = (uri: string, digests: string[]) =>
            signature.create({ ...target(), digests, signer: { kind: "kms" as const, uri } });
        const { publicKey } = (await sign(ours, [digest])).outs;
        const otherKey = (await sign(theirs, [await push()])).outs.publicKey;
        const undo = useEnvironment({});
        try {
            const verify = (key: string) =>
                verification.create({
                    ...target(),
                    ...{ digest, children: [], predicateTypes: [] },
                    verifier: { kind: "key", publicKey: key },
                });
            await expect(verify(publicKey)).resolves.toMatchObject({ outs: { verifiedDigest: digest } });
            await expect(verify(otherKey)).rejects.toThrow("does not verify");
            const reference = `${registry.registry}/app@${digest}`;
            expect((await cosignVerify(reference, publicKey)).exitCode).toBe(0);
            expect((await cosignVerify(reference, otherKey)).exitCode).not.toBe(0);
        } finally {
            undo();
        }
    }, 300_000);

    it("is not signed with twice for one digest", async () => {
        const signer = { kind: "kms" as const, uri: await makeKey("alias/once") };
        const digest = await push();
        for (let i = 0; i < 2; i++) await signature.create({ ...target(), digests: [digest], signer });
        expect((await client.referrers("app", digest)).length).toBe(1);
    }, 300_000);

    it("that may not be used is told with the key, and nothing is left in the registry", async () => {
        const uri = await makeKey("alias/denied");
        const digest = await push();
        const said = "User: arn:aws:iam::123456789012:role/dev is not authorized to perform: kms:Sign";
        proxy.on("Sign", () => jsonError("AccessDeniedException", said));
        const error: Error = await signature
            .create({ ...target(), digests: [digest], signer: { kind: "kms", uri } })
            .then(
                () => new Error("it was signed"),
                (caught) => caught,
            );
        expect(error.message).toContain("is not authorized to perform: kms:Sign");
        expect(error.message).toContain(uri);
        expect(await client.referrers("app", digest)).toEqual([]);
    }, 300_000);

    it("that answers with another key's signature releases nothing", async () => {
        const [ours, theirs] = [await makeKey("alias/mixed"), await makeKey("alias/forger")];
        const digest = await push();
        proxy.on("Sign", ({ input }) => signing.signWith(theirs.slice("awskms:///".length), input));
        const released = signature.create({ ...target(), digests: [digest], signer: { kind: "kms", uri: ours } });
        await expect(released).rejects.toThrow("failed to verify signature");
        expect(await client.referrers("app", digest)).toEqual([]);
    }, 300_000);
});

describe("a key in AWS KMS that is not there", () => {
    it("is named, with what to look at", async () => {
        const uri = `awskms:///arn:aws:kms:${REGION}:123456789012:alias/nobody`;
        const digests = [await push()];
        const error: Error = await signature.create({ ...target(), digests, signer: { kind: "kms", uri } }).then(
            () => new Error("it was signed"),
            (caught) => caught,
        );
        expect(error.message).toContain("NotFoundException");
        expect(error.message).toContain("next: check that the key is there");
    }, 300_000);
});
