import { readdirSync } from "node:fs";
import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, afterEach, beforeAll, describe, expect, it } from "vitest";
import { clientTokenProblem, toolTokenProblem } from "../../drivers/token-client";
import { createAuthority, issueCertificate } from "../../drivers/x509";
import { type Inputs, operations } from "../../resources/registry-check/operations";
import { account, type RunningRegistry, startRegistry } from "../support/registry";
import { startTokenService, type TokenService } from "../support/token-service";

const { username, password } = account;

describe("a registry that is asked before anything is built", () => {
    let storage: string;
    let running: RunningRegistry;
    let connection: Inputs["connection"];
    let ca: string;
    beforeAll(async () => {
        storage = await mkdtemp(join(tmpdir(), "registry-check-"));
        const authority = await createAuthority({ name: "room", days: 1 });
        ca = authority.certificate;
        const ipAddresses = ["127.0.0.1"];
        const tls = await issueCertificate({ authority, commonName: "server", usage: "server", ipAddresses, days: 1 });
        running = await startRegistry({ storage, htpasswd: account.htpasswd, tls });
        connection = { ca, username, password };
    });
    afterEach(() => running.setHtpasswd(account.htpasswd));
    afterAll(async () => {
        await running.stop();
        await rm(storage, { recursive: true, force: true });
    });

    const inputs = (more: Partial<Inputs> = {}): Inputs => ({
        repository: `${running.registry}/team/app`,
        connection,
        told: null,
        toldEach: {},
        ...more,
    });
    const filesBelow = (folder: string) =>
        readdirSync(folder, { recursive: true, withFileTypes: true }).filter((entry) => entry.isFile());

    it("is left as it was", async () => {
        const { outs } = await operations.create(inputs());
        expect(outs.checked).toBe(`${running.registry}/team/app`);
        expect(running.log()).toMatch(/"POST \/v2\/team\/app\/blobs\/uploads\/ \S+" 202/);
        expect(running.log()).toMatch(/"DELETE \/v2\/team\/app\/blobs\/uploads\/\S+ \S+" 204/);
        // distribution writes its hash's state once more after it has thrown the upload away (DeleteBlobUpload closes it).
        expect(filesBelow(storage).filter(({ parentPath }) => !parentPath.includes("/hashstates/"))).toEqual([]);
    });

    it("is no change while it answers, and one where the password has become another", async () => {
        const { outs } = await operations.create(inputs());
        expect(await operations.diff("", outs, inputs())).toMatchObject({ changes: false });
        await running.setHtpasswd("alice:$2y$05$abcdefghijklmnopqrstuuAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA\n");
        expect(await operations.diff("", outs, inputs())).toMatchObject({ changes: true });
        await expect(operations.update("", outs, inputs())).rejects.toThrow(
            `next: set username and password of ${running.registry} to ones that it accepts; a token may have expired`,
        );
    });

    it("says which settings are missing where nobody gave a password", async () => {
        await expect(operations.create(inputs({ connection: { ca } }))).rejects.toThrow(
            `next: set username and password of ${running.registry}, or run "docker login ${running.registry}"`,
        );
    });

    it.each([
        [{ ca: true, clientCertificate: false }, "every node of the fleet would speak plain HTTP"],
        [{ http: false, ca: false, clientCertificate: false }, "does not know the private authority"],
    ])("is refused where the nodes were told %j", async (told, reason) => {
        const promise = operations.create(inputs({ told }));
        await expect(promise).rejects.toThrow(reason);
        await expect(promise).rejects.toThrow("next: give the fleet the connection's own settings");
    });

    it("is refused where nodes that were told each by itself would not reach it, all named", async () => {
        const told = { http: false, ca: true, clientCertificate: false };
        const toldEach = { one: told, two: { ...told, ca: false }, three: { ca: true, clientCertificate: false } };
        const refusal = operations.create(inputs({ toldEach })).catch((error: Error) => error.message);
        expect(String(await refusal).split("\n")).toEqual([
            `${running.registry}/team/app can't be released to; nothing was built`,
            `  node two does not know the private authority of ${running.registry}`,
            `  node three would speak plain HTTP to ${running.registry}, and all others HTTPS`,
            "next: give these nodes the connection's own settings: docker: { registries: registry.nodeSettings }",
        ]);
    });

    it("is fine where the nodes were told the same", async () => {
        const told = { http: false, ca: true, clientCertificate: false };
        await expect(operations.create(inputs({ told }))).resolves.toBeDefined();
        await expect(operations.create(inputs({ toldEach: { one: told } }))).resolves.toBeDefined();
    });
});

describe("a registry that takes tokens only", () => {
    const robot = { username: "robot$room+ci", password: "robot-canary" };
    let service: TokenService;
    let running: RunningRegistry;
    beforeAll(async () => {
        const authority = await createAuthority({ name: "room", days: 1 });
        const dnsNames = ["localhost"];
        const signer = await issueCertificate({ authority, commonName: "signer", usage: "server", dnsNames, days: 1 });
        service = await startTokenService({ [robot.username]: { ...robot, projects: ["room"] } }, signer);
        const { realm, issuer, service: audience } = service;
        running = await startRegistry({
            token: { realm, issuer, service: audience, authority: authority.certificate },
        });
    });
    afterAll(async () => {
        await running.stop();
        await service.stop();
    });
    const create = (path: string, account = robot) =>
        operations.create({
            repository: `${running.registry}/${path}`,
            connection: { plainHttp: true, ...account },
            told: null,
            toldEach: {},
        });

    it("lets a robot push to its project, and says that the right is missing elsewhere", async () => {
        await expect(create("room/app")).resolves.toBeDefined();
        expect(service.seen).toContain(`GET ${robot.username} repository:room/app:pull,push`);
        // What distribution wants for the upload's end, and no robot has.
        expect(running.log()).toMatch(/"DELETE \S+ \S+" 401/);
        await expect(create("another/app")).rejects.toThrow(`next: give ${robot.username} the right to push there`);
    });

    it("does not take a wrong password for a missing right", async () => {
        await expect(create("room/app", { ...robot, password: "other-canary" })).rejects.toThrow(
            "next: set username and password",
        );
        await expect(create("room/app", { ...robot, password: "other-canary" })).rejects.not.toThrow(/canary/);
    });
});

describe("a token service that builds can't ask", () => {
    let service: TokenService;
    let ca: string;
    beforeAll(async () => {
        const authority = await createAuthority({ name: "room", days: 1 });
        ca = authority.certificate;
        const names = { dnsNames: ["localhost"], ipAddresses: ["127.0.0.1"] };
        const tls = await issueCertificate({ authority, commonName: "server", usage: "server", ...names, days: 1 });
        service = await startTokenService({}, tls, tls);
    });
    afterAll(() => service.stop());
    const before = { ...process.env };
    afterEach(() => {
        process.env = { ...before };
    });

    it("is named when its authority is a private one, until the nodes ask or the system knows it", async () => {
        const realm = new URL(service.realm);
        const ask = () => clientTokenProblem("registry:5000", realm, { ca });
        expect(await ask()).toMatchObject({
            reason: expect.stringContaining(`builds ask ${realm.host} for a token`),
            next: expect.stringContaining("BUILDKIT_NO_CLIENT_TOKEN=1"),
        });
        process.env.BUILDKIT_NO_CLIENT_TOKEN = "1";
        expect(await ask()).toBeUndefined();
        delete process.env.BUILDKIT_NO_CLIENT_TOKEN;
        const folder = await mkdtemp(join(tmpdir(), "registry-check-"));
        try {
            await writeFile(join(folder, "ca.pem"), ca);
            process.env.SSL_CERT_FILE = join(folder, "ca.pem");
            expect(await ask()).toBeUndefined();
        } finally {
            await rm(folder, { recursive: true, force: true });
        }
    });

    it("is named when it is the registry itself and wants a client certificate", async () => {
        const clientCertificate = { certificate: "", privateKey: "" };
        const ask = (realm: string) => clientTokenProblem("registry:5000", new URL(realm), { clientCertificate });
        expect((await ask("https://registry:5000/token"))?.reason).toContain("without the client certificate");
        expect(await ask("http://registry:5000/token")).toBeUndefined();
    });

    it.each([
        ["https://10.1.2.3/token", true],
        ["https://192.168.1.5:8443/token", true],
        ["https://[fd00::1]/token", true],
        ["https://8.8.8.8/token", false],
        ["https://tokens.room/token", false],
        ["https://10.0.0.1:5000/token", false],
    ])("%s is at a private address that is not the registry's: %s", (realm, expected) => {
        expect(toolTokenProblem("10.0.0.1:5000", new URL(realm)) !== undefined).toBe(expected);
    });
});
