import { readFileSync, statSync } from "node:fs";
import { join } from "node:path";
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it, vi } from "vitest";
import { ecrLogin, isHalfUsed } from "../../drivers/aws/ecr";
import { RegistryError } from "../../drivers/registry";
import { withRegistry } from "../../drivers/registry-access";
import { ECR_HTPASSWD, ECR_TOKEN, NEXT_HTPASSWD, NEXT_TOKEN, serveTokens, type TokenService } from "../support/ecr";
import { type AwsProxy, jsonError, type Moto, startAwsProxy, startMoto, useEnvironment } from "../support/moto";
import { type RunningRegistry, startRegistry } from "../support/registry";

const HOUR_MS = 3_600_000;

let moto: Moto;
let proxy: AwsProxy;
let registry: RunningRegistry;
let tokens: TokenService;
let restore: () => void;
let count = 0;

beforeAll(async () => {
    [moto, registry] = await Promise.all([startMoto(), startRegistry({ htpasswd: ECR_HTPASSWD })]);
    proxy = await startAwsProxy(moto);
});
afterAll(async () => {
    await proxy?.stop();
    await Promise.all([moto?.close(), registry?.stop()]);
});
beforeEach(async () => {
    proxy.reset();
    tokens = serveTokens(proxy);
    await registry.setHtpasswd(ECR_HTPASSWD);
    // Another identity each time: tokens are kept for as long as the process lives.
    restore = useEnvironment({ ...proxy.env, AWS_ACCESS_KEY_ID: `AKIATESTING${count++}` });
});
afterEach(() => {
    vi.useRealTimers();
    restore();
});

const connection = () => ({ plainHttp: true, ecr: { region: "eu-central-1" } });
const use = <T>(work: Parameters<typeof withRegistry<T>>[2]) =>
    withRegistry<T>(`${registry.registry}/team/app`, connection(), work);
const put = (text: string) => use(({ client, path }) => client.putBlob(path, Buffer.from(text)));

describe("ECR's token", () => {
    it("opens a registry for our client and for tools, and is asked for once", async () => {
        const { digest } = await put("first");
        const folder = await use(async ({ client, path, env }) => {
            expect((await client.getBlob(path, digest)).toString()).toBe("first");
            const file = join(env.DOCKER_CONFIG ?? "", "config.json");
            expect(statSync(file).mode & 0o777).toBe(0o600);
            const { auths } = JSON.parse(readFileSync(file, "utf8"));
            const expected = Buffer.from(`AWS:${ECR_TOKEN}`).toString("base64");
            expect(auths).toEqual({ [registry.registry]: { auth: expected } });
            return env.DOCKER_CONFIG ?? "";
        });
        expect(() => statSync(folder)).toThrow("ENOENT");
        await Promise.all(["a", "b", "c"].map(put));
        expect(tokens.asked).toBe(1);
    });

    it("is asked for once by many at the same time, and once for each region", async () => {
        const logins = await Promise.all(Array.from({ length: 20 }, () => ecrLogin({ region: "eu-central-1" })));
        expect(new Set(logins.map(({ password }) => password))).toEqual(new Set([ECR_TOKEN]));
        expect(tokens.asked).toBe(1);
        await ecrLogin({ region: "eu-west-1" });
        expect(tokens.asked).toBe(2);
    });

    it("is renewed when half of its time is over, not before", async () => {
        vi.useFakeTimers({ toFake: ["Date"] });
        await put("at the start");
        vi.setSystemTime(Date.now() + 6 * HOUR_MS - 60_000);
        await put("a minute before");
        expect(tokens.asked).toBe(1);
        tokens.answer({ token: NEXT_TOKEN });
        await registry.setHtpasswd(NEXT_HTPASSWD);
        vi.setSystemTime(Date.now() + 61_000);
        await put("after it");
        expect(tokens.asked).toBe(2);
    });

    it("is renewed once, within the request, where the registry refuses it", async () => {
        await put("with the first");
        tokens.answer({ token: NEXT_TOKEN });
        await registry.setHtpasswd(NEXT_HTPASSWD);
        await use(({ client, path }) =>
            Promise.all(["a", "b", "c", "d"].map((text) => client.putBlob(path, Buffer.from(`refused ${text}`)))),
        );
        await put("and kept");
        expect(tokens.asked).toBe(2);
    });

    it("is renewed within a client that has shown it before", async () => {
        await use(async ({ client, path }) => {
            await client.putBlob(path, Buffer.from("shown"));
            tokens.answer({ token: NEXT_TOKEN });
            await registry.setHtpasswd(NEXT_HTPASSWD);
            await client.putBlob(path, Buffer.from("shown again"));
        });
        expect(tokens.asked).toBe(2);
    });

    it("that is refused for good is an error that names where it came from, without it", async () => {
        tokens.answer({ token: NEXT_TOKEN });
        const error = await put("never").then(
            () => undefined,
            (caught) => caught,
        );
        expect(error).toBeInstanceOf(RegistryError);
        expect(error).toMatchObject({ code: "UNAUTHORIZED" });
        expect(error.message).toContain("the authorization token of ECR in eu-central-1");
        expect(error.message).not.toContain(NEXT_TOKEN);
        expect(tokens.asked).toBeLessThanOrEqual(2);
    });

    it.each([
        ["ExpiredTokenException", "EXPIRED_CREDENTIALS"],
        ["AccessDeniedException", "DENIED"],
    ])("that can't be had (%s) is told as %s, and asked for again the next time", async (awsCode, code) => {
        proxy.on("GetAuthorizationToken", () => jsonError(awsCode));
        const error = await put("never").catch((caught) => caught);
        expect(error).toMatchObject({ name: "AwsError", code, action: "ecr:GetAuthorizationToken" });
        tokens = serveTokens(proxy);
        await put("now it can");
        expect(tokens.asked).toBe(1);
    });

    it("is half used from the middle of its time on; one that came expired is at once", () => {
        const madeAt = Date.UTC(2026, 10, 22);
        const expiresAt = madeAt + 12 * HOUR_MS;
        expect(isHalfUsed({ madeAt, expiresAt }, madeAt)).toBe(false);
        expect(isHalfUsed({ madeAt, expiresAt }, madeAt + 6 * HOUR_MS - 1)).toBe(false);
        expect(isHalfUsed({ madeAt, expiresAt }, madeAt + 6 * HOUR_MS)).toBe(true);
        expect(isHalfUsed({ madeAt, expiresAt: madeAt - 1 }, madeAt)).toBe(true);
    });
});
