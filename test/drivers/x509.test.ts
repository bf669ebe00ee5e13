import { execFileSync, spawnSync } from "node:child_process";
import { createPrivateKey, X509Certificate } from "node:crypto";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import type { AddressInfo } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import * as tls from "node:tls";
import fc from "fast-check";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import {
    type Authority,
    bundle,
    type CertificateWithKey,
    createAuthority,
    describeCertificate,
    issueCertificate,
    needsRenewal,
} from "../../drivers/x509";

const DAY = 86_400_000;
const daysAgo = (days: number) => new Date(Date.now() - days * DAY);
const hasOpenssl = spawnSync("openssl", ["version"]).status === 0;

let authority: Authority;
let server: CertificateWithKey;
let client: CertificateWithKey;

beforeAll(async () => {
    authority = await createAuthority({ name: "builders", days: 3650 });
    const settings = { authority, commonName: "node-1", usage: "server", days: 30 } as const;
    server = await issueCertificate({ ...settings, dnsNames: ["localhost"], ipAddresses: ["127.0.0.1", "::1"] });
    client = await issueCertificate({ authority, commonName: "runner", usage: "client", days: 30 });
});

/** Dials a mutual-TLS server once; resolves with what the server saw of the client, rejects with the first error. */
async function handshake(
    sides: {
        server?: CertificateWithKey;
        client?: CertificateWithKey;
        serverTrusts?: string;
        clientTrusts?: string;
    } = {},
    servername = "localhost",
): Promise<string> {
    const ours = sides.server ?? server;
    const theirs = sides.client ?? client;
    const listener = tls.createServer({
        cert: ours.certificate,
        key: ours.privateKey,
        ca: sides.serverTrusts ?? authority.certificate,
        requestCert: true,
        rejectUnauthorized: true,
    });
    try {
        return await new Promise<string>((resolve, reject) => {
            listener.on("tlsClientError", reject);
            listener.on("secureConnection", (socket) => {
                socket.on("error", reject);
                resolve(String(socket.getPeerCertificate().subject.CN));
                socket.end();
            });
            listener.listen(0, "127.0.0.1", () => {
                const socket = tls.connect({
                    host: "127.0.0.1",
                    port: (listener.address() as AddressInfo).port,
                    servername: /^[\d.]+$/.test(servername) ? "" : servername,
                    ca: sides.clientTrusts ?? authority.certificate,
                    cert: theirs.certificate,
                    key: theirs.privateKey,
                    checkServerIdentity: (_host, peer) => tls.checkServerIdentity(servername, peer),
                });
                socket.on("error", reject);
                socket.on("secureConnect", () => socket.end());
            });
        });
    } finally {
        listener.close();
    }
}

describe("certificates in a mutual TLS handshake", () => {
    it("are accepted by name and by address", async () => {
        expect(await handshake()).toBe("runner");
        expect(await handshake({}, "127.0.0.1")).toBe("runner");
    });

    it("are refused for a name they were not issued for", async () => {
        await expect(handshake({}, "elsewhere.internal")).rejects.toThrow(/altnames|does not match/i);
    });

    it("of a client from another authority are refused, even one of the same name", async () => {
        const other = await createAuthority({ name: "builders", days: 10 });
        const stranger = await issueCertificate({ authority: other, commonName: "runner", usage: "client", days: 1 });
        await expect(handshake({ client: stranger })).rejects.toThrow();
        await expect(handshake({ clientTrusts: other.certificate })).rejects.toThrow();
    });

    it("that expired are refused, the server's and the client's", async () => {
        const expired = { authority, days: 1, now: daysAgo(3), commonName: "old" };
        const oldServer = await issueCertificate({ ...expired, usage: "server", dnsNames: ["localhost"] });
        const oldClient = await issueCertificate({ ...expired, usage: "client" });
        await expect(handshake({ server: oldServer })).rejects.toThrow(/expired/);
        await expect(handshake({ client: oldClient })).rejects.toThrow();
    });

    it("are refused in the other role", async () => {
        const named = await issueCertificate({
            authority,
            commonName: "x",
            usage: "client",
            dnsNames: ["localhost"],
            days: 1,
        });
        await expect(handshake({ server: named })).rejects.toThrow(/purpose/);
        await expect(handshake({ client: server })).rejects.toThrow();
    });

    it("of the old and of the new authority are both accepted while a bundle of the two is trusted", async () => {
        const next = await createAuthority({ name: "builders", days: 10 });
        const renewed = await issueCertificate({ authority: next, commonName: "next", usage: "client", days: 1 });
        const both = bundle([authority.certificate, next.certificate]);
        expect(await handshake({ client: renewed, serverTrusts: both, clientTrusts: both })).toBe("next");
        expect(await handshake({ serverTrusts: both, clientTrusts: both })).toBe("runner");
    });
});

describe.skipIf(!hasOpenssl)("certificates as openssl reads them", () => {
    const folder = mkdtempSync(join(tmpdir(), "buildfleet-x509-"));
    afterAll(() => rmSync(folder, { recursive: true, force: true }));
    const file = (name: string, text: string) => {
        writeFileSync(join(folder, name), text, { mode: 0o600 });
        return join(folder, name);
    };

    it("pass a strict verification for their purpose", () => {
        const ca = file("ca.pem", authority.certificate);
        const verify = (purpose: string, certificate: string) =>
            execFileSync("openssl", [
                "verify",
                "-x509_strict",
                "-purpose",
                purpose,
                "-CAfile",
                ca,
                certificate,
            ]).toString();
        expect(verify("sslserver", file("server.pem", server.certificate))).toContain("OK");
        expect(verify("sslclient", file("client.pem", client.certificate))).toContain("OK");
    });

    it("carry the extensions of RFC 5280", () => {
        const text = (pem: string) =>
            execFileSync("openssl", ["x509", "-noout", "-text"], { input: pem }).toString().replaceAll(/\s+/g, " ");
        const ca = text(authority.certificate);
        expect(ca).toContain("Basic Constraints: critical CA:TRUE, pathlen:0");
        expect(ca).toContain("Key Usage: critical Certificate Sign, CRL Sign");
        const leaf = text(server.certificate);
        expect(leaf).toContain("Basic Constraints: critical CA:FALSE");
        expect(leaf).toContain("Key Usage: critical Digital Signature");
        expect(leaf).toContain("TLS Web Server Authentication");
        expect(leaf).toContain("DNS:localhost, IP Address:127.0.0.1, IP Address:0:0:0:0:0:0:0:1");
        const keyId = authority.subjectKeyId.toUpperCase().match(/../g)?.join(":");
        expect(leaf).toContain(`X509v3 Authority Key Identifier: ${keyId}`);
        expect(text(client.certificate)).toContain("TLS Web Client Authentication");
    });
});

describe("issuing", () => {
    it("gives every certificate its own key and a serial number of 128 random bits", async () => {
        const issued = await Promise.all(
            Array.from({ length: 20 }, () =>
                issueCertificate({ authority, commonName: "c", usage: "client", days: 1 }),
            ),
        );
        const serials = issued.map((each) => new X509Certificate(each.certificate).serialNumber);
        expect(new Set(serials).size).toBe(20);
        expect(Math.max(...serials.map((serial) => serial.length))).toBe(32);
        expect(new Set(issued.map((each) => each.privateKey)).size).toBe(20);
        for (const each of issued) {
            expect(new X509Certificate(each.certificate).checkPrivateKey(createPrivateKey(each.privateKey))).toBe(true);
        }
    });

    it("never outlives the authority", async () => {
        const short = await createAuthority({ name: "short", days: 2 });
        const long = await issueCertificate({ authority: short, commonName: "c", usage: "client", days: 90 });
        expect(long.notAfter).toBe(short.notAfter);
    });

    it("is valid a little before it was made, for nodes whose clock is behind", () => {
        const { notBefore } = describeCertificate(server.certificate);
        expect(Date.now() - Date.parse(notBefore)).toBeGreaterThan(4 * 60_000);
    });

    it.each([
        ["a server nobody can dial", { usage: "server" as const }, /at least one DNS name or IP address/],
        ["an address among the names", { usage: "server" as const, dnsNames: ["10.0.0.1"] }, /goes to ipAddresses/],
        ["no DNS name", { usage: "server" as const, dnsNames: ["a b"] }, /"a b" is not a DNS name/],
        ["no address", { usage: "server" as const, ipAddresses: ["10.0.0"] }, /"10.0.0" is not an IP address/],
        ["no name", { usage: "client" as const, commonName: " " }, /needs a name/],
        [
            "a name longer than the format allows",
            { usage: "client" as const, commonName: "x".repeat(65) },
            /at most 64/,
        ],
        ["no days", { usage: "client" as const, days: 0 }, /0 days/],
    ])("refuses %s", async (_case, settings, message) => {
        const base = { authority, commonName: "c", days: 1 };
        await expect(issueCertificate({ ...base, ...settings })).rejects.toThrow(message);
    });

    it("refuses an authority that expired or whose halves don't match, without showing the key", async () => {
        const old = await createAuthority({ name: "old", days: 1, now: daysAgo(2) });
        const request = { commonName: "c", usage: "client", days: 1 } as const;
        await expect(issueCertificate({ ...request, authority: old })).rejects.toThrow(/expired on/);
        const mixed = { certificate: authority.certificate, privateKey: old.privateKey };
        const refused = await issueCertificate({ ...request, authority: mixed }).catch((error: Error) => error);
        expect(String(refused)).toMatch(/does not belong/);
        expect(String(refused)).not.toContain("PRIVATE");
    });
});

describe("reading", () => {
    it("describes what was issued", () => {
        expect(describeCertificate(server.certificate)).toMatchObject({
            subject: "CN=node-1",
            issuer: "CN=builders",
            notAfter: server.notAfter,
            fingerprint: server.fingerprint,
            dnsNames: ["localhost"],
            ipAddresses: ["127.0.0.1", "::1"],
        });
        expect(authority.fingerprint).toMatch(/^sha256:[0-9a-f]{64}$/);
    });

    it("reads back any common name, and any host names", async () => {
        const label = fc.stringMatching(/^[a-z0-9]([a-z0-9-]{0,10}[a-z0-9])?$/);
        const host = fc
            .array(label, { minLength: 1, maxLength: 4 })
            .map((labels) => labels.join("."))
            .filter((name) => !/^[\d.]+$/.test(name));
        const name = fc.string({ minLength: 1, maxLength: 40 }).filter((text) => text.trim() === text && text !== "");
        await fc.assert(
            fc.asyncProperty(name, fc.uniqueArray(host, { minLength: 1 }), async (commonName, dnsNames) => {
                const issued = await issueCertificate({ authority, commonName, usage: "server", dnsNames, days: 1 });
                const certificate = new X509Certificate(issued.certificate);
                expect(certificate.toLegacyObject().subject.CN).toBe(commonName);
                expect(describeCertificate(issued.certificate).dnsNames).toEqual(dnsNames);
            }),
            { numRuns: 50 },
        );
    });

    it("asks for renewal from the given number of days before the end on", () => {
        const end = Date.parse(server.notAfter);
        expect(needsRenewal(server.certificate, new Date(end - 10 * DAY - 1000), 10)).toBe(false);
        expect(needsRenewal(server.certificate, new Date(end - 10 * DAY), 10)).toBe(true);
        expect(needsRenewal(server.certificate, new Date(end + DAY), 0)).toBe(true);
    });

    it("bundles each certificate once, in order", () => {
        const both = bundle([authority.certificate, `${server.certificate}${authority.certificate}`]);
        expect(both).toBe(`${authority.certificate}${server.certificate}`);
        expect(bundle([both, client.certificate])).toBe(`${both}${client.certificate}`);
        expect(() => bundle(["-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----"])).toThrow(/not a PEM/);
    });

    it("refuses what is no certificate", () => {
        expect(() => describeCertificate("nonsense")).toThrow("not a PEM certificate");
    });
});
