import { existsSync, mkdtempSync, readFileSync, rmSync, statSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { rootCertificates } from "node:tls";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import type { RegistryConnection } from "../../core/registry-connection";
import { type RegistryAccess, withRegistry } from "../../drivers/registry-access";
import { createAuthority, issueCertificate } from "../../drivers/x509";

describe("what tools are given for a registry", () => {
    let folder: string;
    const before = { ...process.env };
    beforeEach(() => {
        folder = mkdtempSync(join(tmpdir(), "registry-access-"));
        process.env.DOCKER_CONFIG = folder;
    });
    afterEach(() => {
        process.env = { ...before };
        rmSync(folder, { recursive: true, force: true });
    });

    /** Looks while the files are there; they are gone afterwards. */
    async function given<T>(connection: RegistryConnection, look: (access: RegistryAccess) => T): Promise<T> {
        let paths: string[] = [];
        const seen = await withRegistry("registry.room/team/app", connection, async (access) => {
            const { caFile, clientCertificate, env } = access;
            paths = [caFile, ...Object.values(clientCertificate ?? {}), env.DOCKER_CONFIG].filter(
                (path) => path !== undefined,
            );
            return look(access);
        });
        expect(paths.filter((path) => existsSync(path))).toEqual([]);
        return seen;
    }
    const authsOf = ({ env }: RegistryAccess): Record<string, string> => {
        const { auths } = JSON.parse(readFileSync(join(env.DOCKER_CONFIG ?? "", "config.json"), "utf8"));
        return Object.fromEntries(
            Object.entries(auths as Record<string, { auth: string }>).map(([host, { auth }]) => [
                host,
                Buffer.from(auth, "base64").toString(),
            ]),
        );
    };
    const loggedIn = (entry: object) =>
        writeFileSync(join(folder, "config.json"), JSON.stringify({ auths: { "registry.room": entry } }));
    const mirrorCredentials = [{ address: "cache.room:5001", username: "c", password: "d" }];

    it("is nothing where Docker's configuration has it all", async () => {
        const { env, caFile, clientCertificate } = await given({}, (access) => access);
        expect({ env, caFile, clientCertificate }).toEqual({
            env: {},
            caFile: undefined,
            clientCertificate: undefined,
        });
    });

    it("has the mirrors' passwords beside the registry's own, given or from Docker's configuration", async () => {
        const own = { username: "a", password: "b" };
        expect(await given({ ...own, mirrorCredentials }, authsOf)).toEqual({
            "registry.room": "a:b",
            "cache.room:5001": "c:d",
        });
        expect(await given({ mirrorCredentials }, authsOf)).toEqual({ "cache.room:5001": "c:d" });
        loggedIn({ auth: Buffer.from("login:word").toString("base64") });
        expect(await given({ mirrorCredentials }, authsOf)).toEqual({
            "registry.room": "login:word",
            "cache.room:5001": "c:d",
        });
    });

    it("leaves Docker's configuration alone where a token in it is no password", async () => {
        loggedIn({ auth: Buffer.from("<token>:").toString("base64"), identitytoken: "refresh" });
        expect(await given({ mirrorCredentials }, ({ env }) => env.DOCKER_CONFIG)).toBeUndefined();
    });

    it("is files for this user alone: the private authority beside the public ones, certificate and key", async () => {
        const authority = await createAuthority({ name: "room", days: 1 });
        const client = await issueCertificate({ authority, commonName: "client", usage: "client", days: 1 });
        const ca = authority.certificate;
        process.env.SSL_CERT_FILE = join(folder, "system.pem");
        writeFileSync(process.env.SSL_CERT_FILE, rootCertificates.slice(0, 2).join("\n"));
        const seen = await given({ ca, clientCertificate: client }, ({ caFile = "", clientCertificate, env }) => ({
            ca: readFileSync(caFile, "utf8"),
            certificate: readFileSync(clientCertificate?.certificate ?? "", "utf8"),
            privateKey: readFileSync(clientCertificate?.privateKey ?? "", "utf8"),
            mode: statSync(clientCertificate?.privateKey ?? "").mode & 0o777,
            env: { ...env, SSL_CERT_FILE: env.SSL_CERT_FILE === caFile },
        }));
        expect(seen).toMatchObject({ certificate: client.certificate, privateKey: client.privateKey, mode: 0o600 });
        expect(seen.ca.match(/-----BEGIN CERTIFICATE-----/g)).toHaveLength(3);
        expect(seen.ca.startsWith(ca.trim())).toBe(true);
        expect(seen.env).toEqual({ SSL_CERT_FILE: true, BUILDKIT_NO_CLIENT_TOKEN: "1" });
    });
});
