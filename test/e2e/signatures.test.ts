import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { attest, generateKeyPair, type Signer, sign } from "../../drivers/cosign";
import { withRegistry } from "../../drivers/registry-access";
import { operations as verification } from "../../resources/verification/operations";
import { writeAdvisories, writeAppContext } from "../support/app";
import { pushDebianImage } from "../support/debian-image";
import { freePort } from "../support/port";
import { MAIN_PROGRAM, type Run, TestStack } from "../support/stack";
import { cosignVerify, cosignVerifyAttestation, predicates, RepositoryView } from "../support/views";

const PASSWORD = "not a secret";

/** What cosign calls the types of statements. */
const SHORT_NAMES = { spdxjson: predicates.sbom, vuln: predicates.scan, slsaprovenance1: predicates.provenance };

describe("the signatures of a release", () => {
    const stack = new TestStack(MAIN_PROGRAM);
    let settings: object;
    let released: Run;
    let repository: string;
    let publicKey: string;
    let ours: Signer & { kind: "key" };
    let other: Signer & { kind: "key" };

    const keyPair = async () => ({
        kind: "key" as const,
        password: PASSWORD,
        ...(await generateKeyPair(PASSWORD)),
    });

    beforeAll(async () => {
        [ours, other] = await Promise.all([keyPair(), keyPair()]);
        const { privateKey, password } = ours;
        const key = { privateKey, password, publicKey: ours.publicKey };
        settings = { registry: { port: await freePort() }, image: { sign: { key } } };
        writeAppContext(stack.path("app"));
        writeAdvisories(stack.path("advisories"), [
            { id: "BF-2026-0001", severity: "high", package: "openssl", affected: "< 3.0.2", fixed: "3.0.2" },
        ]);
        released = await stack.up(settings);
        [repository = ""] = released.outputs.ref.split("@");
        publicKey = released.outputs.signature.publicKey;
    }, 300_000);
    afterAll(() => stack.dispose());

    const children = (): string[] => Object.values<{ digest: string }>(released.outputs.platforms).map((p) => p.digest);
    const access = <T>(use: Parameters<typeof withRegistry<T>>[2]) =>
        withRegistry(repository, { plainHttp: true }, use);
    const ourVerification = (digest: string, key = publicKey, predicateTypes: string[] = []) =>
        verification.create({
            repository,
            connection: { plainHttp: true },
            digest,
            children: [],
            predicateTypes,
            verifier: { kind: "key", publicKey: key },
        });

    it("verify with the output's public key, on the index and on every child", async () => {
        expect(publicKey).toBe(ours.publicKey);
        const digests = [released.outputs.digest, ...children()];
        expect(released.outputs.signature.digests).toEqual(digests);
        expect(new Set(digests).size).toBe(3);
        for (const digest of digests) {
            const { exitCode, stdout } = await cosignVerify(`${repository}@${digest}`, publicKey);
            expect(exitCode).toBe(0);
            // The statements by this key: exactly one of them is a signature, and of this very digest.
            const signatures = JSON.parse(stdout).filter(
                ({ critical }: { critical: { type: string } }) => critical.type === predicates.signature,
            );
            expect(signatures).toHaveLength(1);
            expect(signatures[0].critical.image["docker-manifest-digest"]).toBe(digest);
        }
    });

    it("verify under the tag, too", async () => {
        expect((await cosignVerify(`${repository}:stable`, publicKey)).exitCode).toBe(0);
    });

    it("carry bill of materials, scan result and provenance of each child, signed", async () => {
        for (const digest of children()) {
            for (const [name, predicateType] of Object.entries(SHORT_NAMES)) {
                const reference = `${repository}@${digest}`;
                const { exitCode, stdout, stderr } = await cosignVerifyAttestation(reference, publicKey, name);
                expect(exitCode, stderr).toBe(0);
                const statements = stdout.trim().split("\n");
                expect(statements).toHaveLength(1);
                const statement = JSON.parse(
                    Buffer.from(JSON.parse(statements[0] ?? "").payload, "base64").toString("utf8"),
                );
                expect(statement.predicateType).toBe(predicateType);
                expect(statement.subject.map((s: { digest: object }) => s.digest)).toEqual([
                    { sha256: digest.slice("sha256:".length) },
                ]);
                expectAbout(predicateType, statement.predicate, digest);
            }
        }
    }, 300_000);

    /** Each statement is about this platform's image, not merely attached to it. */
    function expectAbout(predicateType: string, predicate: Record<string, never>, digest: string) {
        const text = JSON.stringify(predicate);
        const [platform, built] = Object.entries<{ digest: string; node: string }>(released.outputs.platforms).find(
            ([, { digest: of }]) => of === digest,
        ) ?? ["", undefined];
        if (predicateType === predicates.sbom) expect(text).toContain("base-files");
        if (predicateType === predicates.scan) expect(text).toContain("grype");
        if (predicateType !== predicates.provenance) return;
        expect(text).toContain(`"platform":"${platform}"`);
        expect(text).toContain(`/node/${built?.node}"`);
    }

    it("are made again, and nothing else, when a refresh finds them lost", async () => {
        // A writer that takes no turns, on another machine, overwrites the list of what is stored beside a digest.
        const [child = ""] = children();
        const view = new RepositoryView(repository);
        const lists = await view.allAttached([released.outputs.digest, ...children()]);
        await access(async ({ client, path }) => {
            const list = await client.headManifest(path, child.replace(":", "-"));
            await client.deleteManifest(path, list?.digest ?? "");
        });
        expect(await view.attached(child)).toEqual([]);
        expect((await stack.run("refresh", settings)).errors).toEqual([]);
        const mended = await stack.up(settings);
        expect([...mended.did].sort()).toEqual([
            "create app-attest-provenance-linux-amd64",
            "create app-attest-sbom-linux-amd64",
            "create app-attest-scan-linux-amd64",
            "create app-signature",
        ]);
        expect(await view.allAttached([released.outputs.digest, ...children()])).toEqual(lists);
        expect((await cosignVerify(`${repository}@${child}`, publicKey)).exitCode).toBe(0);
        expect((await stack.run("refresh", settings)).changes).toMatchObject({ update: 0, delete: 0 });
        expect((await stack.up(settings)).did).toEqual([]);
    }, 300_000);

    it("do not verify with another key, neither for cosign nor for us", async () => {
        for (const digest of [released.outputs.digest, ...children()]) {
            const { exitCode, stderr } = await cosignVerify(`${repository}@${digest}`, other.publicKey);
            expect(exitCode).not.toBe(0);
            expect(stderr).toContain("failed to verify signature");
        }
        await expect(ourVerification(released.outputs.digest, other.publicKey)).rejects.toThrow("does not verify");
    });

    it("are missed on an unsigned image, by cosign and by us", async () => {
        const { digest, reference } = await access(({ client, path }) =>
            pushDebianImage(client, path, [{ name: "unsigned", version: "1" }]),
        );
        const { exitCode, stderr } = await cosignVerify(reference, publicKey);
        expect(exitCode).not.toBe(0);
        expect(stderr).toContain("no signatures found");
        await expect(ourVerification(digest)).rejects.toThrow(/does not verify.*no signatures found/s);
    });

    it("are not replaced by an attestation: only a bill of materials by the same key refuses", async () => {
        const folder = mkdtempSync(join(tmpdir(), "buildfleet-attested-"));
        try {
            const predicate = join(folder, "sbom.json");
            writeFileSync(predicate, JSON.stringify({ spdxVersion: "SPDX-2.3", name: "attested" }));
            const { digest, reference } = await access(({ client, path }) =>
                pushDebianImage(client, path, [{ name: "attested", version: "1" }]),
            );
            await access((registry) => attest(reference, { type: predicates.sbom, path: predicate }, ours, registry));

            // cosign itself takes any statement by the key for a signature; its JSON says what it is.
            const { exitCode, stdout } = await cosignVerify(reference, publicKey);
            const types = exitCode === 0 ? JSON.parse(stdout).map((seen: SeenPayload) => seen.critical.type) : [];
            expect(types).not.toContain(predicates.signature);
            await expect(ourVerification(digest)).rejects.toThrow(/does not verify: no signature of sha256:/);

            // The same image with a signature passes: what was refused is the missing signature and nothing else.
            await access((registry) => sign(reference, ours, registry));
            await expect(ourVerification(digest)).resolves.toMatchObject({ outs: { verifiedDigest: digest } });
        } finally {
            rmSync(folder, { recursive: true, force: true });
        }
    });

    it("are not enough where a child lacks a statement or carries one by another key", async () => {
        const { digest, reference } = await access(({ client, path }) =>
            pushDebianImage(client, path, [{ name: "half", version: "1" }]),
        );
        const folder = mkdtempSync(join(tmpdir(), "buildfleet-attested-"));
        try {
            const path = join(folder, "sbom.json");
            writeFileSync(path, JSON.stringify({ spdxVersion: "SPDX-2.3", name: "half" }));
            const whole = () =>
                verification.create({
                    repository,
                    connection: { plainHttp: true },
                    digest,
                    children: [digest],
                    predicateTypes: [predicates.sbom],
                    verifier: { kind: "key", publicKey },
                });
            await access((registry) => sign(reference, ours, registry));
            await expect(whole()).rejects.toThrow(`it carries no ${predicates.sbom}`);
            await access((registry) => attest(reference, { type: predicates.sbom, path }, other, registry));
            await expect(whole()).rejects.toThrow(`its ${predicates.sbom} was signed by another key`);
            await access((registry) => attest(reference, { type: predicates.sbom, path }, ours, registry));
            await expect(whole()).resolves.toMatchObject({ outs: { verifiedDigest: digest } });
        } finally {
            rmSync(folder, { recursive: true, force: true });
        }
    });
});

interface SeenPayload {
    critical: { type: string };
}
