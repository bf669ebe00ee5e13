import { afterAll, afterEach, beforeAll, describe, expect, it } from "vitest";
import { sha256 } from "../../core/digest";
import { mediaTypes } from "../../core/image-index";
import { RegistryClient, staticCredentials } from "../../drivers/registry";
import { createAuthority, issueCertificate } from "../../drivers/x509";
import { answerError, type Fault, type FaultServer, startFaultServer } from "../support/fault-server";
import { account, type RunningRegistry, startRegistry } from "../support/registry";
import { always, failure, fakeClock, plainClient, pushImage } from "./support";

let real: RunningRegistry;
let proxy: FaultServer;
let image: Awaited<ReturnType<typeof pushImage>>;
beforeAll(async () => {
    real = await startRegistry();
    proxy = await startFaultServer({ upstream: real.registry });
    image = await pushImage(plainClient(real.registry), "app", "1.0", "app");
});
afterAll(async () => {
    await proxy.stop();
    await real.stop();
});
afterEach(() => proxy.setFault(() => "pass"));

const through = (options: object = {}) => plainClient(proxy.address, options);

describe("uploads", () => {
    it("start again when the registry lost the session", async () => {
        proxy.setFault(({ method, url }, response) => {
            const lost = method === "PUT" && proxy.seen.filter((request) => request.method === "PUT").length === 1;
            return lost && url.includes("/uploads/") ? answerError(response, 404, "BLOB_UPLOAD_UNKNOWN") : "pass";
        });
        const { digest } = await through().putBlob("app", Buffer.from("lost once"));
        expect((await plainClient(real.registry).getBlob("app", digest)).toString()).toBe("lost once");
        expect(proxy.seen.filter(({ method }) => method === "POST")).toHaveLength(2);
    });

    it("keep what stands in the location, and add the digest to it", async () => {
        proxy.setFault(({ method }, response) => {
            if (method === "HEAD") return answerError(response, 404, "BLOB_UNKNOWN");
            const location = "/elsewhere?_state=a%2Fb+c%20d&sig=%3d";
            response.writeHead(method === "POST" ? 202 : 201, { location }).end();
            return undefined;
        });
        await through().putBlob("app", Buffer.from("new"));
        const digest = encodeURIComponent(sha256("new"));
        expect(proxy.seen.at(-1)?.url).toBe(`/elsewhere?_state=a%2Fb+c%20d&sig=%3d&digest=${digest}`);
    });

    it("are an error when the registry names no location", async () => {
        proxy.setFault(({ method }, response) => {
            if (method === "HEAD") return answerError(response, 404, "BLOB_UNKNOWN");
            response.writeHead(202).end();
            return undefined;
        });
        expect(await failure(through().putBlob("app", Buffer.from("new")))).toMatchObject({ code: "BAD_REDIRECT" });
    });
});

describe("redirects", () => {
    const credentials = staticCredentials(account);
    let storage: FaultServer;
    beforeAll(async () => {
        storage = await startFaultServer();
    });
    afterAll(() => storage.stop());
    /** Asks for a password, then redirects to `location`. */
    const guarded =
        (location: string): Fault =>
        ({ headers }, response) => {
            if (!headers.authorization)
                return answerError(response, 401, "UNAUTHORIZED", { "www-authenticate": 'Basic realm="r"' });
            response.writeHead(307, { location }).end();
            return undefined;
        };

    it("are followed to storage without credentials", async () => {
        storage.setFault((_request, response) => void response.end('{"text":"app"}'));
        proxy.setFault(guarded(`http://${storage.address}/bucket?X-Signature=canary-signature`));
        const client = through({ credentials });
        expect((await client.getBlob("app", image.config.digest)).toString()).toBe('{"text":"app"}');
        expect(await client.headBlob("app", image.config.digest)).toBeDefined();
        expect(storage.seen).toHaveLength(2);
        for (const { headers } of storage.seen) expect(headers.authorization).toBeUndefined();
        expect(proxy.seen.at(-1)?.headers.authorization).toMatch(/^Basic /);
    });

    it("do not bring a challenge from elsewhere to our credentials", async () => {
        storage.setFault(always(401, "UNAUTHORIZED", { "www-authenticate": 'Basic realm="phishing"' }));
        proxy.setFault(guarded(`http://${storage.address}/bucket?X-Signature=canary-signature`));
        const error = await failure(through({ credentials }).getBlob("app", image.config.digest));
        expect(error).toMatchObject({ code: "UNAUTHORIZED", url: `http://${storage.address}/bucket` });
        expect(error.message).not.toContain("canary-signature");
        expect(storage.seen).toHaveLength(1);
        expect(storage.seen[0]?.headers.authorization).toBeUndefined();
    });

    it("do not bring a token service from elsewhere to our credentials", async () => {
        const challenge = { "www-authenticate": `Bearer realm="http://${storage.address}/token"` };
        storage.setFault(always(401, "UNAUTHORIZED", challenge));
        proxy.setFault((_request, response) => {
            response.writeHead(307, { location: `http://${storage.address}/bucket` }).end();
            return undefined;
        });
        const error = await failure(through({ credentials }).getBlob("app", image.config.digest));
        expect(error.url).toBe(`http://${storage.address}/bucket`);
        expect(error.message).toContain(`from ${storage.address}, where the registry sent us`);
        expect(storage.seen.map(({ url }) => url)).toEqual(["/bucket"]);
    });

    it("of an upload to storage leave them behind too", async () => {
        storage.setFault((_request, response) => void response.writeHead(201).end());
        proxy.setFault(({ method, headers }, response) => {
            const challenge = { "www-authenticate": 'Basic realm="r"' };
            if (!headers.authorization) return answerError(response, 401, "UNAUTHORIZED", challenge);
            if (method === "HEAD") return answerError(response, 404, "BLOB_UNKNOWN");
            response.writeHead(202, { location: `http://${storage.address}/bucket?X-Signature=s` }).end();
            return undefined;
        });
        await through({ credentials }).putBlob("app", Buffer.from("new"));
        expect(storage.seen.map(({ method, body }) => [method, body])).toEqual([["PUT", "new"]]);
        expect(storage.seen[0]?.headers.authorization).toBeUndefined();
    });

    it("that come back from elsewhere do not bring the credentials back", async () => {
        storage.setFault((_request, response) => {
            response.writeHead(302, { location: `http://${proxy.address}/back` }).end();
            return undefined;
        });
        const guard = guarded(`http://${storage.address}/away`);
        proxy.setFault((request, response, count) =>
            request.url === "/back" ? void response.end('{"text":"app"}') : guard(request, response, count),
        );
        await through({ credentials }).getBlob("app", image.config.digest);
        expect(proxy.seen.at(-1)).toMatchObject({ url: "/back" });
        expect(proxy.seen.at(-1)?.headers.authorization).toBeUndefined();
    });

    it("within the registry keep them", async () => {
        const guard = guarded("/moved");
        proxy.setFault((request, response, count) =>
            request.url === "/moved" ? void response.end('{"text":"app"}') : guard(request, response, count),
        );
        await through({ credentials }).getBlob("app", image.config.digest);
        expect(proxy.seen.at(-1)).toMatchObject({ url: "/moved", headers: { authorization: /^Basic / } });
    });

    it("end after five, and lead nowhere for anything that writes", async () => {
        proxy.setFault(({ url }, response) => void response.writeHead(302, { location: `${url}x` }).end());
        expect(await failure(through().getManifest("app", "1.0"))).toMatchObject({ code: "BAD_REDIRECT" });
        expect(proxy.seen).toHaveLength(6);
        const put = through().putManifest("app", "2.0", mediaTypes.ociManifest, image.bytes);
        expect(await failure(put)).toMatchObject({ code: "UNEXPECTED_STATUS", status: 302 });
    });

    it("never lead from TLS to plain HTTP, for reads, uploads and tokens", async () => {
        const authority = await createAuthority({ name: "redirect test", days: 1 });
        const settings = { authority, commonName: "r", usage: "server" as const, ipAddresses: ["127.0.0.1"], days: 1 };
        const tls = await startFaultServer({ tls: await issueCertificate(settings) });
        try {
            storage.setFault((_request, response) => void response.end("{}"));
            const client = () => {
                const ca = authority.certificate;
                return new RegistryClient({ registry: tls.address, ca, credentials, clock: fakeClock() });
            };
            tls.setFault(
                (_request, response) => void response.writeHead(307, { location: `http://${storage.address}/x` }).end(),
            );
            expect(await failure(client().getBlob("app", image.config.digest))).toMatchObject({ code: "BAD_REDIRECT" });
            tls.setFault(({ method }, response) => {
                if (method === "HEAD") return answerError(response, 404, "BLOB_UNKNOWN");
                response.writeHead(202, { location: `http://${tls.address}/upload` }).end();
                return undefined;
            });
            expect(await failure(client().putBlob("app", Buffer.from("x")))).toMatchObject({ code: "BAD_REDIRECT" });
            const challenge = { "www-authenticate": `Bearer realm="http://${storage.address}/token",service="s"` };
            tls.setFault(always(401, "UNAUTHORIZED", challenge));
            const error = await failure(client().getManifest("app", "1.0"));
            expect(error).toMatchObject({ code: "CREDENTIALS" });
            expect(error.message).toContain("speaks plain HTTP; credentials are not sent there");
            expect(storage.seen).toHaveLength(0);
        } finally {
            await tls.stop();
        }
    });
});
