import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { sha256 } from "../../core/digest";
import { mediaTypes } from "../../core/image-index";
import { anonymous, RegistryClient, staticCredentials } from "../../drivers/registry";
import { createAuthority, issueCertificate } from "../../drivers/x509";
import { account, type RunningRegistry, startRegistry } from "../support/registry";
import { failure, plainClient, pushImage } from "./support";

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

    it("says to set clientCertificate when the registry wants one", async () => {
        const error = await failure(client({ ca, ...quick }).getManifest("tls", "1.0"));
        expect(["TLS_FAILED", "CONNECTION_LOST"]).toContain(error.code);
        expect(error.next).toContain("set clientCertificate");
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
