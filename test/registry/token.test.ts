import { afterAll, beforeAll, beforeEach, describe, expect, it } from "vitest";
import { sha256 } from "../../core/digest";
import { mediaTypes } from "../../core/image-index";
import { type Credential, staticCredentials } from "../../drivers/registry";
import { answerError, type FaultServer, type SeenRequest, startFaultServer } from "../support/fault-server";
import { account, type RunningRegistry, startRegistry } from "../support/registry";
import { failure, fakeClock, plainClient, pushImage } from "./support";

/**
 * A registry that takes only tokens of a token service: distribution behind a guard. The service knows one account and
 * one identity token; its tokens say for which scopes, and until when, they are good.
 */
const basic = `Basic ${Buffer.from(`${account.username}:${account.password}`).toString("base64")}`;
const identityToken = "identity-canary";
let clock: ReturnType<typeof fakeClock>;
let lifetime: number | undefined;
let anonymousMayPull: boolean;
let names: { token: string; challenge: (scope: string) => string };
let issued: Map<string, { scopes: string[]; until: number }>;
let real: RunningRegistry;
let service: FaultServer;
let guard: FaultServer;

function requestedScopes({ method, url, body }: SeenRequest): string[] {
    const query = method === "POST" ? new URLSearchParams(body) : new URL(url, "http://x").searchParams;
    return query.getAll("scope").flatMap((scope) => scope.split(" "));
}

function neededScope({ method, url }: SeenRequest): string {
    const repository = /^\/v2\/(.+?)\/(manifests|blobs|tags|referrers)\//.exec(url)?.[1];
    const actions = method === "DELETE" ? "delete" : method === "GET" || method === "HEAD" ? "pull" : "pull,push";
    return `repository:${repository}:${actions}`;
}

function covers(granted: string[], needed: string): boolean {
    const [, repository, actions = ""] = /^repository:(.+):(.*)$/.exec(needed) ?? [];
    return granted.some((scope) => {
        const [, name, given = ""] = /^repository:(.+):(.*)$/.exec(scope) ?? [];
        return name === repository && actions.split(",").every((action) => given.split(",").includes(action));
    });
}

beforeAll(async () => {
    real = await startRegistry();
    service = await startFaultServer();
    guard = await startFaultServer({ upstream: real.registry });
});
afterAll(async () => {
    await guard.stop();
    await service.stop();
    await real.stop();
});
beforeEach(() => {
    clock = fakeClock();
    lifetime = 300;
    anonymousMayPull = false;
    issued = new Map();
    names = {
        token: "token",
        challenge: (scope) =>
            `Bearer realm="http://${service.address}/token",service="registry, \\"quoted\\"",scope="${scope}"`,
    };
    service.setFault((request, response) => {
        const scopes = requestedScopes(request);
        const form = new URLSearchParams(request.body);
        const known =
            request.method === "POST"
                ? form.get("refresh_token") === identityToken && form.get("grant_type") === "refresh_token"
                : request.headers.authorization === basic;
        const open =
            anonymousMayPull && !request.headers.authorization && scopes.every((scope) => /:pull$/.test(scope));
        if (!known && !open) return answerError(response, 401, "UNAUTHORIZED");
        const token = `token-canary-${issued.size + 1}`;
        issued.set(token, { scopes, until: clock.now() + (lifetime ?? 60) * 1000 });
        response.end(JSON.stringify({ [names.token]: token, expires_in: lifetime }));
        return undefined;
    });
    guard.setFault((request, response) => {
        const token = issued.get(request.headers.authorization?.replace("Bearer ", "") ?? "");
        if (token && clock.now() < token.until && covers(token.scopes, neededScope(request))) return "pass";
        return answerError(response, 401, "UNAUTHORIZED", {
            "www-authenticate": names.challenge(neededScope(request)),
        });
    });
});

const client = (credential: Credential = account) =>
    plainClient(guard.address, { clock, credentials: staticCredentials(credential) });

describe("a token service", () => {
    it("is asked with Basic, once for each scope, and the token used until it ends", async () => {
        const { digest } = await pushImage(client(), "app", "1.0", "app");
        const reader = client();
        guard.seen.length = 0;
        service.seen.length = 0;
        for (let n = 0; n < 3; n++) expect((await reader.getManifest("app", "1.0")).digest).toBe(digest);
        expect(service.seen).toHaveLength(1);
        const asked = new URL(service.seen[0]?.url ?? "", "http://x").searchParams;
        expect(asked.get("service")).toBe('registry, "quoted"');
        expect(asked.getAll("scope")).toEqual(["repository:app:pull"]);
        expect(service.seen[0]?.headers.authorization).toBe(basic);
        expect(guard.seen.map(({ headers }) => headers.authorization)).toEqual([
            undefined,
            ...Array(3).fill(`Bearer ${[...issued.keys()].at(-1)}`),
        ]);
        // The registry itself never sees the password.
        expect(guard.seen.some(({ headers }) => headers.authorization === basic)).toBe(false);
    });

    it("gets the scopes of a push, a mount and a deletion", async () => {
        const { config, digest } = await pushImage(client(), "from", "1.0", "scopes");
        service.seen.length = 0;
        const writer = client();
        expect(await writer.mountBlob("to", config.digest, "from")).toBe(true);
        expect(requestedScopes(service.seen[0] as SeenRequest)).toEqual([
            "repository:from:pull",
            "repository:to:pull,push",
        ]);
        expect(await writer.deleteManifest("from", digest)).toBe(true);
        expect(requestedScopes(service.seen[1] as SeenRequest)).toEqual(["repository:from:delete,pull"]);
    });

    it("is asked anew before a token ends, without a refusal in between", async () => {
        lifetime = 100;
        const reader = client();
        await pushImage(client(), "app", "1.0", "app");
        guard.seen.length = 0;
        service.seen.length = 0;
        await reader.getManifest("app", "1.0");
        clock.advance(85_000);
        await reader.getManifest("app", "1.0");
        expect(service.seen).toHaveLength(1);
        clock.advance(10_000);
        await reader.getManifest("app", "1.0");
        expect(service.seen).toHaveLength(2);
        expect(guard.seen).toHaveLength(4);
    });

    it("is asked anew once when the registry refuses a token before its time", async () => {
        await pushImage(client(), "app", "1.0", "app");
        const reader = client();
        await reader.getManifest("app", "1.0");
        issued.clear();
        expect((await reader.getManifest("app", "1.0")).mediaType).toBe(mediaTypes.ociManifest);
        // Now none of its tokens is ever good: one more try, then the error.
        guard.setFault((_request, response) =>
            answerError(response, 401, "UNAUTHORIZED", { "www-authenticate": names.challenge("repository:app:pull") }),
        );
        const error = await failure(reader.getManifest("app", "1.0"));
        expect(error).toMatchObject({ code: "UNAUTHORIZED", status: 401 });
        expect(guard.seen).toHaveLength(2);
        expect(error.message).not.toContain("canary");
    });

    it("is asked once by many requests side by side", async () => {
        const { digest } = await pushImage(client(), "app", "1.0", "app");
        const reader = client();
        await reader.getManifest("app", "1.0");
        clock.advance(1_000_000);
        service.seen.length = 0;
        const all = await Promise.all(Array.from({ length: 10 }, () => reader.getManifest("app", "1.0")));
        expect(all.every((manifest) => manifest.digest === digest)).toBe(true);
        expect(service.seen).toHaveLength(1);
    });

    it("gets an identity token by POST, and may say access_token", async () => {
        names.token = "access_token";
        await pushImage(client({ identityToken }), "app", "1.0", "app");
        expect(service.seen.every(({ method }) => method === "POST")).toBe(true);
        const form = new URLSearchParams(service.seen[0]?.body);
        expect(Object.fromEntries(form)).toEqual({
            grant_type: "refresh_token",
            refresh_token: identityToken,
            client_id: "buildfleet",
            service: 'registry, "quoted"',
            scope: "repository:app:pull",
        });
        expect(service.seen.some(({ url }) => url.includes("canary"))).toBe(false);
    });

    it("lets everybody pull where it says so, and nobody push", async () => {
        anonymousMayPull = true;
        const { digest } = await pushImage(client(), "open", "1.0", "open");
        const reader = plainClient(guard.address, { clock });
        expect((await reader.getManifest("open", "1.0")).digest).toBe(digest);
        expect(await failure(reader.putBlob("open", Buffer.from("no")))).toMatchObject({ status: 401 });
    });

    it("that refuses is named, with the credentials tried", async () => {
        const wrong = plainClient(guard.address, {
            clock,
            credentials: staticCredentials({ username: "alice", password: "wrong-canary" }),
        });
        const error = await failure(wrong.getManifest("app", "1.0"));
        expect(error).toMatchObject({ code: "UNAUTHORIZED", url: `http://${service.address}/token` });
        expect(error.message).toContain("the given credentials (entry found)");
        expect(error.message).not.toContain("canary");
        expect(service.seen).toHaveLength(1);
    });

    it("that refuses a password which was renewed meanwhile gets the new one", async () => {
        const passwords = ["old", account.password];
        const credentials = {
            description: "a helper",
            get: async () => ({ username: account.username, password: passwords.shift() ?? "too often" }),
        };
        await pushImage(client(), "app", "1.0", "app");
        expect(await plainClient(guard.address, { clock, credentials }).tags("app")).toContain("1.0");
        expect(passwords).toEqual([]);
    });

    it("that is overloaded is asked again; one without a token is an error", async () => {
        await pushImage(client(), "app", "1.0", "app");
        const answer = { status: 503, body: "" };
        const reader = client();
        service.setFault((_request, response, count) => {
            if (count > 1 && answer.status === 503) {
                issued.set("t", { scopes: ["repository:app:pull"], until: Number.POSITIVE_INFINITY });
                response.end('{"token":"t"}');
            } else response.writeHead(answer.status, { "retry-after": "3" }).end(answer.body);
            return undefined;
        });
        expect(await reader.tags("app")).toContain("1.0");
        expect(clock.slept).toEqual([3000]);
        answer.status = 200;
        for (const body of ["", "{}", '{"token":""}', '{"token":"two\\nlines"}', "canary is no JSON"]) {
            answer.body = body;
            const error = await failure(client().tags("app"));
            expect(error).toMatchObject({ code: "BAD_CONTENT", url: `http://${service.address}/token` });
            expect(error.message).not.toContain("canary");
        }
    });

    it("that is no address is an error", async () => {
        for (const realm of ["nowhere", "ftp://example.com/token", "http://user:pass@127.0.0.1/token"]) {
            names.challenge = () => `Bearer realm="${realm}"`;
            expect(await failure(client().tags("app"))).toMatchObject({ code: "BAD_CONTENT" });
        }
    });

    it("is not asked with a registry token, which is sent as it is", async () => {
        await pushImage(client(), "app", "1.0", "app");
        issued.set("registry-token", { scopes: ["repository:app:pull"], until: Number.POSITIVE_INFINITY });
        service.seen.length = 0;
        expect(await client({ registryToken: "registry-token" }).headManifest("app", "1.0")).toBeDefined();
        expect(service.seen).toHaveLength(0);
        expect(await failure(client({ registryToken: "bad-canary" }).headManifest("app", sha256("x")))).toMatchObject({
            status: 401,
        });
    });
});
