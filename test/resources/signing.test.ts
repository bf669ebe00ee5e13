import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { digestTag } from "../../core/digest";
import { generateKeyPair } from "../../drivers/cosign";
import { RegistryClient } from "../../drivers/registry";
import { operations as attestation } from "../../resources/attestation/operations";
import { operations as signature } from "../../resources/signature/operations";
import { type Inputs, operations as verification } from "../../resources/verification/operations";
import { pushDebianImage } from "../support/debian-image";
import { answerError, type FaultServer, startFaultServer } from "../support/fault-server";
import { isSigned } from "../support/machines";
import { type RunningRegistry, startRegistry } from "../support/registry";

const PROVENANCE = "https://slsa.dev/provenance/v1";

let registry: RunningRegistry;
let client: RegistryClient;
let keys: Record<"ours" | "theirs", { kind: "key"; privateKey: string; password: string; publicKey: string }>;
let count = 0;

const newKey = async () => ({ kind: "key" as const, password: "p4ss", ...(await generateKeyPair("p4ss")) });

beforeAll(async () => {
    registry = await startRegistry();
    client = new RegistryClient({ registry: registry.registry, plainHttp: true });
    keys = { ours: await newKey(), theirs: await newKey() };
});
afterAll(async () => {
    await client.close();
    await registry.stop();
});

/** A new image that nobody has signed. */
const push = async () => (await pushDebianImage(client, "app", [{ name: "app", version: `${++count}` }])).digest;
const target = () => ({ repository: `${registry.registry}/app`, connection: { plainHttp: true } });
const referrers = async (digest: string) => (await client.referrers("app", digest)).length;

const sign = (digests: string[], signer = keys.ours) => signature.create({ ...target(), digests, signer });
const attest = (digest: string, predicate: Record<string, unknown>, signer = keys.ours) =>
    attestation.create({ ...target(), digest, predicateType: PROVENANCE, document: "", predicate, signer });
const verify = (digest: string, more: Partial<Inputs> = {}) =>
    verification.create({
        ...target(),
        digest,
        children: [],
        predicateTypes: [],
        verifier: { kind: "key", publicKey: keys.ours.publicKey },
        ...more,
    });

describe("a signature", () => {
    it("is made once, however often it is asked for, one after the other or at the same time", async () => {
        const [index, child] = [await push(), await push()];
        const { outs } = await sign([index, child]);
        expect(outs.publicKey).toBe(keys.ours.publicKey);
        await sign([index, child]);
        await Promise.all([sign([child]), sign([child])]);
        expect(await referrers(index)).toBe(1);
        expect(await referrers(child)).toBe(1);
        expect(await isSigned(`${registry.registry}/app@${index}`, keys.ours.publicKey)).toBe(true);
        expect(await isSigned(`${registry.registry}/app@${index}`, keys.theirs.publicKey)).toBe(false);
    });

    it("is added where another key signed before, beside that one's", async () => {
        const digest = await push();
        await sign([digest], keys.theirs);
        await sign([digest]);
        expect(await referrers(digest)).toBe(2);
        for (const { publicKey } of Object.values(keys))
            expect(await isSigned(`${registry.registry}/app@${digest}`, publicKey)).toBe(true);
    });

    it("refuses halves of two keys after one attempt, and without the password in the error", async () => {
        const digest = await push();
        const mixed = { ...keys.ours, publicKey: keys.theirs.publicKey };
        const error: Error = await sign([digest], mixed).then(
            () => new Error("it was signed"),
            (caught) => caught,
        );
        expect(error.message).toContain("does not verify with the public key that was given; no tag was moved");
        expect(error.message).not.toContain("p4ss");
        expect(await referrers(digest)).toBe(1);
    });

    it("says that the password is wrong, without it", async () => {
        const digest = await push();
        const error: Error = await sign([digest], { ...keys.ours, password: "wr0ng-word" }).then(
            () => new Error("it was signed"),
            (caught) => caught,
        );
        expect(error.message).toContain("next: check that the key and its password belong together");
        expect(error.message).not.toContain("wr0ng-word");
        expect(await referrers(digest)).toBe(0);
    });
});

describe("an attestation", () => {
    it("is made once for one content, and again for another", async () => {
        const digest = await push();
        await attest(digest, { node: "arm64-1" });
        await attest(digest, { node: "arm64-1" });
        expect(await referrers(digest)).toBe(1);
        await attest(digest, { node: "arm64-2" });
        expect(await referrers(digest)).toBe(2);
    });

    it("is lost to none of several that are written at the same time", async () => {
        const digest = await push();
        await Promise.all([sign([digest]), ...[1, 2, 3].map((n) => attest(digest, { n }))]);
        expect(await referrers(digest)).toBe(4);
        await expect(verify(digest, { children: [digest], predicateTypes: [PROVENANCE] })).resolves.toBeDefined();
    });
});

describe("verification", () => {
    it("passes on the digest it has verified, index and children", async () => {
        const [index, child] = [await push(), await push()];
        await sign([index, child]);
        await attest(child, { node: "arm64-1" });
        const { outs } = await verify(index, { children: [child], predicateTypes: [PROVENANCE] });
        expect(outs.verifiedDigest).toBe(index);
    });

    it("refuses an unsigned child, naming it", async () => {
        const [index, child] = [await push(), await push()];
        await sign([index]);
        await expect(verify(index, { children: [child] })).rejects.toThrow(`app@${child} does not verify: `);
    });

    it("refuses a signature that was lost", async () => {
        const digest = await push();
        await sign([digest]);
        await verify(digest);
        await client.deleteManifest("app", digestTag(digest as `sha256:${string}`));
        await expect(verify(digest)).rejects.toThrow(`app@${digest} does not verify: `);
    });

    it("refuses what another key signed", async () => {
        const digest = await push();
        await sign([digest], keys.theirs);
        await expect(verify(digest)).rejects.toThrow(`app@${digest} does not verify: `);
    });

    it("refuses an image that carries only a statement by the same key", async () => {
        const digest = await push();
        await attest(digest, { node: "arm64-1" });
        await expect(verify(digest)).rejects.toThrow(
            `no signature of ${digest} among what the key signed (${PROVENANCE})`,
        );
    });

    it("refuses a statement that is missing, or another key's", async () => {
        const digest = await push();
        await sign([digest]);
        const more = { children: [digest], predicateTypes: [PROVENANCE] };
        await expect(verify(digest, more)).rejects.toThrow(`it carries no ${PROVENANCE}`);
        await attest(digest, {}, keys.theirs);
        await expect(verify(digest, more)).rejects.toThrow(`its ${PROVENANCE} was signed by another key`);
    });

    it("lists everything that failed at once", async () => {
        const [index, child] = [await push(), await push()];
        const error: Error = await verify(index, { children: [child], predicateTypes: [PROVENANCE] }).then(
            () => new Error("it verified"),
            (caught) => caught,
        );
        expect(error.message).toContain("3 of 3 checks failed; no tag was moved");
        for (const text of [index, child, PROVENANCE]) expect(error.message).toContain(text);
    });

    describe("through a registry that fails", () => {
        let faults: FaultServer;
        beforeAll(async () => {
            faults = await startFaultServer({ upstream: registry.registry });
        });
        afterAll(() => faults.stop());

        it.each([
            [500, "UNKNOWN", /HTTP 500|500/],
            [429, "TOOMANYREQUESTS", /429/],
        ])(
            "does not take HTTP %i on the listing for a missing signature",
            async (status, code, said) => {
                const digest = await push();
                await sign([digest]);
                faults.setFault(({ url }, response) =>
                    url.includes("/referrers/") || url.includes(`/manifests/sha256-`)
                        ? answerError(response, status, code)
                        : "pass",
                );
                const error: Error = await verify(digest, { repository: `${faults.address}/app` }).then(
                    () => new Error("it verified"),
                    (caught) => caught,
                );
                expect(error.name).toBe("RegistryError");
                expect(error.message).toMatch(said);
                expect(error.message).not.toContain("no signatures found");
            },
            300_000,
        );
    });
});
