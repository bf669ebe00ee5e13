import { type AddressInfo, createServer } from "node:net";
import { afterAll, afterEach, beforeAll, describe, expect, it } from "vitest";
import { mediaTypes } from "../../core/image-index";
import { type RegistryClient, staticCredentials } from "../../drivers/registry";
import { systemClock } from "../../drivers/registry/retry";
import { answerError, type Fault, type FaultServer, startFaultServer } from "../support/fault-server";
import { account, type RunningRegistry, startRegistry } from "../support/registry";
import { always, failure, fakeClock, first, plainClient, pushImage } from "./support";

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
/** Every reading method, each of which would show a wrong success in its own way. */
const reads: [string, (client: RegistryClient) => Promise<unknown>][] = [
    ["getManifest", (client) => client.getManifest("app", "1.0")],
    ["headManifest", (client) => client.headManifest("app", "1.0")],
    ["getBlob", (client) => client.getBlob("app", image.config.digest)],
    ["headBlob", (client) => client.headBlob("app", image.config.digest)],
    ["tags", (client) => client.tags("app")],
    ["referrers", (client) => client.referrers("app", image.digest)],
];
const writes: [string, (client: RegistryClient) => Promise<unknown>][] = [
    ["putManifest", (client) => client.putManifest("app", "2.0", mediaTypes.ociManifest, image.bytes)],
    ["putBlob", (client) => client.putBlob("app", Buffer.from(`new ${Math.random()}`))],
    ["mountBlob", (client) => client.mountBlob("other", image.config.digest, "app")],
    ["deleteManifest", (client) => client.deleteManifest("app", image.digest)],
];

describe.each([...reads, ...writes])("%s", (_name, call) => {
    it.each([
        [401, "UNAUTHORIZED", "UNAUTHORIZED"],
        [403, "DENIED", "DENIED"],
    ])("fails at once and for good on %i", async (status, registryCode, code) => {
        proxy.setFault(always(status, registryCode));
        const error = await failure(call(through()));
        expect(error).toMatchObject({ code, status });
        expect(error.message).toContain("credentials tried: anonymous access");
        expect(proxy.seen).toHaveLength(1);
    });

    it.each([
        [429, "TOOMANYREQUESTS", "TOO_MANY_REQUESTS"],
        [500, "UNKNOWN", "SERVER_ERROR"],
        [502, "UNKNOWN", "SERVER_ERROR"],
        [503, "UNAVAILABLE", "SERVER_ERROR"],
        [504, "UNKNOWN", "SERVER_ERROR"],
    ])("gives up after four times %i, and says so", async (status, registryCode, code) => {
        proxy.setFault(always(status, registryCode));
        const clock = fakeClock();
        const error = await failure(call(through({ clock })));
        expect(error).toMatchObject({ code, status });
        expect(error.message).toMatch(/gave up after 4 attempts in \d/);
        expect(proxy.seen).toHaveLength(4);
        expect(clock.slept).toEqual([125, 250, 500]);
    });
});

describe.each([...reads, ...writes.slice(0, 3)])("%s", (_name, call) => {
    it("succeeds after 429 with Retry-After, having waited for it", async () => {
        proxy.setFault(first(1, always(429, "TOOMANYREQUESTS", { "retry-after": "7" })));
        const clock = fakeClock();
        const expected = await call(plainClient(real.registry));
        const result = await call(through({ clock }));
        expect(typeof result).toBe(typeof expected);
        expect(clock.slept).toContain(7000);
    });

    it("succeeds after a connection that was cut", async () => {
        proxy.setFault(first(1, (_request, response) => void response.destroy()));
        expect(await call(through())).toBeDefined();
        expect(proxy.seen.length).toBeGreaterThanOrEqual(2);
    });
});

describe("Retry-After", () => {
    it("takes an HTTP date, by the injected clock", async () => {
        const clock = fakeClock();
        const date = new Date(clock.now() + 9000).toUTCString();
        proxy.setFault(first(1, always(503, "UNAVAILABLE", { "retry-after": date })));
        await through({ clock }).tags("app");
        expect(clock.slept).toEqual([9000]);
    });

    it("waits no longer than the longest pause", async () => {
        const clock = fakeClock();
        proxy.setFault(first(1, always(429, "TOOMANYREQUESTS", { "retry-after": "86400" })));
        await through({ clock }).tags("app");
        expect(clock.slept).toEqual([20_000]);
    });

    it("ends at the deadline, whatever attempts are left", async () => {
        const clock = fakeClock();
        proxy.setFault(always(429, "TOOMANYREQUESTS", { "retry-after": "15" }));
        const error = await failure(through({ clock, retry: { attempts: 100, deadlineMs: 40_000 } }).tags("app"));
        expect(error.message).toContain("gave up after 3 attempts in 30.0 s");
    });

    it("does not count what is no time", async () => {
        const clock = fakeClock();
        proxy.setFault(first(1, always(429, "TOOMANYREQUESTS", { "retry-after": "-5 soon" })));
        await through({ clock }).tags("app");
        expect(clock.slept).toEqual([125]);
    });
});

describe("a body that is not whole", () => {
    const cut =
        (headers: Record<string, string>): Fault =>
        (request, response) => {
            if (!request.url.includes("/blobs/sha256")) return "pass";
            response.writeHead(200, headers);
            response.write('{"tex', () => response.destroy());
            return undefined;
        };

    it.each([
        ["with a length", { "content-length": "14" }],
        ["in chunks", {}],
    ])("is fetched again when cut mid-blob, %s", async (_name, headers) => {
        proxy.setFault(first(2, cut(headers as Record<string, string>)));
        expect((await through().getBlob("app", image.config.digest)).toString()).toBe('{"text":"app"}');
        expect(proxy.seen).toHaveLength(3);
        proxy.setFault(cut(headers as Record<string, string>));
        expect(await failure(through().getBlob("app", image.config.digest))).toMatchObject({ code: "CONNECTION_LOST" });
    });

    it("is refused by its digest when a server without lengths just ends it", async () => {
        const raw = createServer((socket) => {
            socket.once("data", () => socket.end('HTTP/1.0 200 OK\r\nconnection: close\r\n\r\n{"tex'));
        });
        await new Promise<void>((resolve) => raw.listen(0, "127.0.0.1", resolve));
        try {
            const client = plainClient(`127.0.0.1:${(raw.address() as AddressInfo).port}`);
            expect(await failure(client.getBlob("app", image.config.digest))).toMatchObject({
                code: "DIGEST_MISMATCH",
            });
            expect(await failure(client.getManifest("app", image.digest))).toMatchObject({ code: "DIGEST_MISMATCH" });
            expect(await failure(client.getManifest("app", "1.0"))).toMatchObject({ code: "BAD_CONTENT" });
            expect(await failure(client.tags("app"))).toMatchObject({ code: "BAD_CONTENT" });
        } finally {
            raw.close();
        }
    });
});

describe("time", () => {
    it("gives up on a server that does not answer, after every attempt", async () => {
        proxy.setFault(() => undefined);
        const error = await failure(through({ timeoutMs: 100, retry: { attempts: 2 } }).getManifest("app", "1.0"));
        expect(error).toMatchObject({ code: "TIMEOUT" });
        expect(error.message).toContain("within 0.1 s (gave up after 2 attempts");
    });

    it("gives up on a server that drips without end", async () => {
        proxy.setFault((_request, response) => {
            response.writeHead(200, { "content-type": mediaTypes.ociManifest });
            const drip = setInterval(() => response.write(" "), 20);
            response.once("close", () => clearInterval(drip));
            return undefined;
        });
        const error = await failure(through({ timeoutMs: 200, retry: { attempts: 1 } }).getManifest("app", "1.0"));
        expect(error).toMatchObject({ code: "TIMEOUT" });
    });

    it("succeeds when only the first answer was too slow", async () => {
        proxy.setFault(first(1, () => undefined));
        expect(await through({ timeoutMs: 2_000 }).tags("app")).toContain("1.0");
    });

    it("stops at once when the caller does, in a request and in a pause", async () => {
        const reason = new Error("enough");
        const inRequest = new AbortController();
        proxy.setFault(() => {
            inRequest.abort(reason);
            return undefined;
        });
        await expect(through().getManifest("app", "1.0", { signal: inRequest.signal })).rejects.toBe(reason);
        const inPause = new AbortController();
        proxy.setFault(always(503, "UNAVAILABLE", { "retry-after": "15" }));
        const clock = {
            ...systemClock,
            sleep: (ms: number, signal?: AbortSignal) => {
                queueMicrotask(() => inPause.abort(reason));
                return systemClock.sleep(ms, signal);
            },
        };
        await expect(through({ clock }).tags("app", { signal: inPause.signal })).rejects.toBe(reason);
        expect(proxy.seen).toHaveLength(1);
    });
});

it("shows no secret that a server repeats", async () => {
    proxy.setFault(({ headers }, response) => {
        const challenge = { "www-authenticate": 'Basic realm="r"' };
        if (!headers.authorization) return answerError(response, 401, "UNAUTHORIZED", challenge);
        response.writeHead(403, { "content-type": "text/plain" });
        response.end(`no: ${headers.authorization} ${account.password}`);
        return undefined;
    });
    const error = await failure(through({ credentials: staticCredentials(account) }).getManifest("app", "1.0"));
    const shown = `${error.stack} ${JSON.stringify(error)}`;
    expect(shown).toContain("[redacted]");
    expect(shown).not.toContain(account.password);
    expect(shown).not.toContain(Buffer.from(`${account.username}:${account.password}`).toString("base64"));
});
