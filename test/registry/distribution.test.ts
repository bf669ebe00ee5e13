import { randomBytes } from "node:crypto";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { digestTag, sha256 } from "../../core/digest";
import { mediaTypes } from "../../core/image-index";
import { anonymous, RegistryClient, staticCredentials } from "../../drivers/registry";
import { createAuthority, issueCertificate } from "../../drivers/x509";
import { account, type RunningRegistry, startRegistry } from "../support/registry";
import { failure, imageManifest, plainClient, pushImage } from "./support";

describe("against distribution over plain HTTP", () => {
    let running: RunningRegistry;
    let client: RegistryClient;
    beforeAll(async () => {
        running = await startRegistry();
        client = plainClient(running.registry);
    });
    afterAll(async () => {
        await client.close();
        await running.stop();
    });

    it("reads back byte for byte what it stored, by tag and by digest", async () => {
        const { digest, bytes, config } = await pushImage(client, "team/app", "1.0", "one");
        const expected = { mediaType: mediaTypes.ociManifest, digest, size: bytes.length };
        expect(await client.getManifest("team/app", "1.0")).toEqual({ ...expected, bytes });
        expect(await client.getManifest("team/app", digest)).toEqual({ ...expected, bytes });
        expect(await client.headManifest("team/app", "1.0")).toEqual(expected);
        expect(await client.headManifest("team/app", digest)).toEqual(expected);
        expect((await client.getBlob("team/app", config.digest)).toString()).toBe('{"text":"one"}');
        expect(await client.headBlob("team/app", config.digest)).toEqual({ digest: config.digest, size: config.size });
    });

    it("stores by digest without a tag, and the same bytes twice under the same digest", async () => {
        const first = await pushImage(client, "by-digest", undefined, "quiet");
        const second = await pushImage(client, "by-digest", undefined, "quiet");
        expect(second.digest).toBe(first.digest);
        expect(await client.tags("by-digest")).toEqual([]);
    });

    it("lists tags over many pages, whole and in order", async () => {
        const { bytes } = await pushImage(client, "tagged", "t0", "tagged");
        for (const n of [1, 2, 3, 4, 5, 6]) await client.putManifest("tagged", `t${n}`, mediaTypes.ociManifest, bytes);
        expect(await client.tags("tagged", { pageSize: 2 })).toEqual(["t0", "t1", "t2", "t3", "t4", "t5", "t6"]);
        expect(running.log()).toContain("/v2/tagged/tags/list?last=t5&n=2");
    });

    it("tells absent from failed", async () => {
        const absent = sha256("absent");
        expect(await client.tags("never/pushed")).toEqual([]);
        expect(await client.headManifest("never/pushed", "1.0")).toBeUndefined();
        expect(await client.headBlob("never/pushed", absent)).toBeUndefined();
        expect(await client.referrers("never/pushed", absent)).toEqual([]);
        expect(await failure(client.getManifest("never/pushed", "1.0"))).toMatchObject({
            code: "NOT_FOUND",
            status: 404,
            registryCode: "MANIFEST_UNKNOWN",
            url: `http://${running.registry}/v2/never/pushed/manifests/1.0`,
        });
        expect(await failure(client.getBlob("never/pushed", absent))).toMatchObject({ code: "NOT_FOUND" });
    });

    it("refuses a manifest whose blob is missing", async () => {
        const bytes = imageManifest({ mediaType: "application/json", digest: sha256("nowhere"), size: 7 });
        const error = await failure(client.putManifest("holes", "1.0", mediaTypes.ociManifest, bytes));
        expect(error.message).toContain("MANIFEST_BLOB_UNKNOWN");
        expect(await client.headManifest("holes", "1.0")).toBeUndefined();
    });

    it("moves a blob of 9 MiB, and takes it over into another repository", async () => {
        const bytes = randomBytes(9 * 1024 * 1024);
        const { digest } = await client.putBlob("large/from", bytes);
        expect((await client.getBlob("large/from", digest)).equals(bytes)).toBe(true);
        expect(await client.mountBlob("large/to", digest, "large/from")).toBe(true);
        expect(await client.headBlob("large/to", digest)).toEqual({ digest, size: bytes.length });
        expect(await client.mountBlob("large/to", sha256("absent"), "large/from")).toBe(false);
        expect(await failure(client.getBlob("large/to", digest, { maxBytes: 1000 }))).toMatchObject({
            code: "TOO_LARGE",
        });
    });

    it("uploads a blob once", async () => {
        const bytes = Buffer.from("only once");
        await client.putBlob("once", bytes);
        const uploads = () =>
            running
                .log()
                .match(
                    /"?POST \/v2\/once\/blobs\/uploads|http.request.method=POST http.request.remoteaddr="[^"]*" http.request.uri="?\/v2\/once/g,
                )?.length;
        const before = uploads();
        expect(before).toBeGreaterThan(0);
        await client.putBlob("once", bytes);
        expect(uploads()).toBe(before);
    });

    it("finds referrers under the fallback tag, by type", async () => {
        const { digest } = await pushImage(client, "signed", "1.0", "signed");
        expect(await client.referrers("signed", digest)).toEqual([]);
        const signature = await pushImage(client, "signed", undefined, "signature");
        const entry = {
            mediaType: mediaTypes.ociManifest,
            digest: signature.digest,
            size: signature.bytes.length,
            artifactType: "application/vnd.example.signature",
        };
        const index = Buffer.from(
            JSON.stringify({ schemaVersion: 2, mediaType: mediaTypes.ociIndex, manifests: [entry] }),
        );
        await client.putManifest("signed", digestTag(digest), mediaTypes.ociIndex, index);
        expect(await client.referrers("signed", digest)).toEqual([entry]);
        expect(await client.referrers("signed", digest, { artifactType: entry.artifactType })).toEqual([entry]);
        expect(await client.referrers("signed", digest, { artifactType: "application/other" })).toEqual([]);
    });

    it("does not take an image under the fallback tag for an empty listing", async () => {
        const { digest, bytes } = await pushImage(client, "squatted", "1.0", "squatted");
        await client.putManifest("squatted", digestTag(digest), mediaTypes.ociManifest, bytes);
        expect(await failure(client.referrers("squatted", digest))).toMatchObject({ code: "BAD_CONTENT" });
    });

    it("deletes by digest, and says when nothing was there", async () => {
        const { digest } = await pushImage(client, "gone", "1.0", "gone");
        expect(await client.deleteManifest("gone", digest)).toBe(true);
        expect(await client.headManifest("gone", digest)).toBeUndefined();
        expect(await client.deleteManifest("gone", digest)).toBe(false);
    });

    it("says where deletion is allowed when the registry forbids it", async () => {
        const frozen = await startRegistry({ deletable: false });
        try {
            const other = plainClient(frozen.registry);
            const { digest } = await pushImage(other, "kept", "1.0", "kept");
            const error = await failure(other.deleteManifest("kept", digest));
            expect(error).toMatchObject({ status: 405, registryCode: "UNSUPPORTED" });
            expect(error.next).toContain("storage.delete.enabled");
        } finally {
            await frozen.stop();
        }
    });

    it("sends nothing for names, references and digests that are none", async () => {
        const before = running.log().length;
        const bytes = Buffer.from("{}");
        for (const attempt of [
            () => client.getManifest("../../etc", "1.0"),
            () => client.getManifest("Upper/Case", "1.0"),
            () => client.getManifest("app", "no/slash"),
            () => client.getManifest("app", "sha256:short"),
            () => client.getBlob("app", "latest"),
            () => client.mountBlob("app", sha256("x"), "../other"),
            () => client.putManifest("app", "1.0", "not a type", bytes),
            () => client.putManifest("app", "1.0", mediaTypes.ociIndex, Buffer.alloc(4 * 1024 * 1024 + 1)),
        ]) {
            expect(await failure((async () => attempt())())).toMatchObject({ code: "BAD_REQUEST" });
        }
        const wrong = failure(client.putManifest("app", sha256("other"), mediaTypes.ociIndex, bytes));
        expect((await wrong).message).toMatch(new RegExp(`${sha256("other")}.*${sha256(bytes)}`));
        expect(running.log().length).toBe(before);
        for (const registry of ["https://example.com", "example.com/path", "user@example.com", ""]) {
            expect(() => new RegistryClient({ registry })).toThrow("is not a registry's host and port");
        }
    });
});

describe("against distribution with htpasswd", () => {
    let running: RunningRegistry;
    beforeAll(async () => {
        running = await startRegistry({ htpasswd: account.htpasswd });
    });
    afterAll(() => running.stop());

    it("pushes and pulls with the right password", async () => {
        const client = plainClient(running.registry, { credentials: staticCredentials(account) });
        const { digest } = await pushImage(client, "private", "1.0", "private");
        expect((await client.getManifest("private", "1.0")).digest).toBe(digest);
    });

    it("names the source and the way out without credentials", async () => {
        const error = await failure(plainClient(running.registry).getManifest("private", "1.0"));
        expect(error).toMatchObject({ code: "UNAUTHORIZED", status: 401 });
        expect(error.message).toContain(`anonymous access (nothing for ${running.registry})`);
        expect(error.next).toContain(`docker login ${running.registry}`);
    });

    it("does not take a refused HEAD for an absent manifest", async () => {
        const client = plainClient(running.registry);
        expect(await failure(client.headManifest("private", "1.0"))).toMatchObject({ status: 401 });
        expect(await failure(client.tags("private"))).toMatchObject({ status: 401 });
        expect(await failure(client.referrers("private", sha256("x")))).toMatchObject({ status: 401 });
    });

    it("asks again for a password that was renewed, and shows none that is wrong", async () => {
        const given: string[] = [];
        const passwords = ["stale-canary", account.password];
        const credentials = {
            description: "a helper",
            get: async () => {
                const password = passwords[given.length] ?? "too often";
                given.push(password);
                return { username: account.username, password };
            },
        };
        const client = plainClient(running.registry, { credentials });
        // The first 401 is the challenge; the second refuses the stale password once it was shown ahead of any challenge.
        const error = await failure(client.getManifest("private", "1.0"));
        expect(error).toMatchObject({ code: "UNAUTHORIZED" });
        expect(error.message).toContain("a helper (entry found)");
        expect(error.message).not.toContain("stale-canary");
        expect((await client.getManifest("private", "1.0")).mediaType).toBe(mediaTypes.ociManifest);
        expect(given).toEqual(passwords);
    });
});

describe("against distribution over TLS with a private authority", () => {
    let running: RunningRegistry;
    let ca: string;
    let identity: { clientCert: string; clientKey: string };
    beforeAll(async () => {
        const authority = await createAuthority({ name: "registry test", days: 1 });
        const server = await issueCertificate({
            authority,
            commonName: "registry",
            usage: "server",
            ipAddresses: ["127.0.0.1"],
            days: 1,
        });
        const person = await issueCertificate({ authority, commonName: "client", usage: "client", days: 1 });
        ca = authority.certificate;
        identity = { clientCert: person.certificate, clientKey: person.privateKey };
        running = await startRegistry({ tls: { ...server, clientCa: ca } });
    });
    afterAll(() => running.stop());
    const client = (options: object) =>
        new RegistryClient({ registry: running.registry, credentials: anonymous, ...options });
    const quick = { retry: { attempts: 1 } };

    it("pushes and pulls with the authority and a client certificate", async () => {
        const { digest } = await pushImage(client({ ca, ...identity }), "tls", "1.0", "tls");
        expect((await client({ ca, ...identity }).getManifest("tls", digest)).digest).toBe(digest);
    });

    it("says to set ca for an unknown authority", async () => {
        const error = await failure(client({ ...quick }).getManifest("tls", "1.0"));
        expect(error).toMatchObject({ code: "TLS_UNKNOWN_CA" });
        expect(error.next).toContain('set "ca"');
    });

    it("says to set clientCert when the registry wants one", async () => {
        const error = await failure(client({ ca, ...quick }).getManifest("tls", "1.0"));
        expect(error.message).toBe("");
        expect(error.next).toContain("clientCert");
    });

    it("names a host that is not in the certificate", async () => {
        const registry = running.registry.replace("127.0.0.1", "localhost");
        const error = await failure(client({ registry, ca, ...identity }).getManifest("tls", "1.0"));
        expect(error).toMatchObject({ code: "TLS_FAILED" });
        expect(error.message).toContain("ERR_TLS_CERT_ALTNAME_INVALID");
    });

    it("says to remove plainHttp", async () => {
        const error = await failure(client({ plainHttp: true }).getManifest("tls", "1.0"));
        expect(error).toMatchObject({ code: "NOT_PLAIN_HTTP", status: 400 });
    });

    it("says to set plainHttp, on loopback too", async () => {
        const plain = await startRegistry();
        try {
            const error = await failure(client({ registry: plain.registry, ca }).getManifest("tls", "1.0"));
            expect(error).toMatchObject({ code: "PLAIN_HTTP" });
            expect(error.message).toContain("registry speaks plain HTTP; set plainHttp");
        } finally {
            await plain.stop();
        }
    });

    it("names host and port when nothing listens", async () => {
        const gone = await startRegistry();
        await gone.stop();
        const error = await failure(plainClient(gone.registry).getManifest("tls", "1.0"));
        expect(error).toMatchObject({ code: "CONNECTION_REFUSED" });
        expect(error.message).toContain(`nothing listens at ${gone.registry} (gave up after 4 attempts`);
    });
});
