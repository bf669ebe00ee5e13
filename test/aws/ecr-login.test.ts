import { execFile } from "node:child_process";
import {
    chmodSync,
    existsSync,
    mkdirSync,
    mkdtempSync,
    readFileSync,
    realpathSync,
    rmSync,
    statSync,
    symlinkSync,
    writeFileSync,
} from "node:fs";
import { tmpdir } from "node:os";
import { delimiter, join, resolve } from "node:path";
import { promisify } from "node:util";
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it, vi } from "vitest";
import { operations } from "../../resources/registry-login/operations";
import { ECR_TOKEN, NEXT_TOKEN, serveTokens, type TokenService } from "../support/ecr";
import { type AwsProxy, type Moto, startAwsProxy, startMoto, useEnvironment } from "../support/moto";

const REGISTRY = "123456789012.dkr.ecr.eu-central-1.amazonaws.com";
const HOUR_MS = 3_600_000;
const inputs = { registry: REGISTRY, ecr: { region: "eu-central-1" } };
const entry = (token = ECR_TOKEN) => ({ auth: Buffer.from(`AWS:${token}`).toString("base64") });
const other = { auth: Buffer.from("alice:her own").toString("base64") };

let moto: Moto;
let proxy: AwsProxy;
let tokens: TokenService;
let folder: string;
let restore: () => void;
let count = 0;

beforeAll(async () => {
    moto = await startMoto();
    proxy = await startAwsProxy(moto);
});
afterAll(async () => {
    await proxy?.stop();
    await moto?.close();
});
beforeEach(() => {
    folder = mkdtempSync(join(tmpdir(), "buildfleet-login-"));
    mkdirSync(join(folder, "bin"));
    restore = useEnvironment({
        ...proxy.env,
        AWS_ACCESS_KEY_ID: `AKIATESTING${count++}`,
        DOCKER_CONFIG: join(folder, "docker"),
        BUILDFLEET_CACHE: join(folder, "cache"),
        PATH: [join(folder, "bin"), process.env.PATH].join(delimiter),
        STORE: join(folder, "store.json"),
    });
    tokens = serveTokens(proxy);
});
afterEach(() => {
    vi.useRealTimers();
    restore();
    rmSync(folder, { recursive: true, force: true });
});

const file = () => join(folder, "docker", "config.json");
const config = () => JSON.parse(readFileSync(file(), "utf8"));
function writeConfig(content: object) {
    mkdirSync(join(folder, "docker"), { recursive: true });
    writeFileSync(file(), JSON.stringify(content));
}
const create = async () => (await operations.create(inputs)).outs;
/** The state as another process of this machine sees it. */
const changes = (state: Awaited<ReturnType<typeof create>>) => operations.changes?.(state, inputs);

/** A credential helper that keeps what it is given in a file, as `docker-credential-<name>`. */
function installHelper(name: string) {
    const path = join(folder, "bin", `docker-credential-${name}`);
    writeFileSync(
        path,
        `#!${process.execPath}
const { existsSync, readFileSync, writeFileSync } = require("node:fs");
const stored = existsSync(process.env.STORE) ? JSON.parse(readFileSync(process.env.STORE, "utf8")) : {};
const input = readFileSync(0, "utf8").trim();
const [, , action] = process.argv;
if (action === "store") { const { ServerURL, ...rest } = JSON.parse(input); stored[ServerURL] = rest; }
if (action === "erase") delete stored[input];
if (action !== "get") writeFileSync(process.env.STORE, JSON.stringify(stored));
else if (stored[input]) console.log(JSON.stringify({ ServerURL: input, ...stored[input] }));
else { console.log("credentials not found in native keychain"); process.exitCode = 1; }
`,
    );
    chmodSync(path, 0o755);
}
const inStore = () => JSON.parse(readFileSync(join(folder, "store.json"), "utf8"));

describe("a registry login", () => {
    it("is an entry like docker login's, for this user only, on a machine that has no configuration", async () => {
        const state = await create();
        expect(config()).toEqual({ auths: { [REGISTRY]: entry() } });
        expect(statSync(file()).mode & 0o777).toBe(0o600);
        expect(Object.keys(state).sort()).toEqual(["ecr", "madeAt", "registry"]);
        expect(JSON.stringify(state)).not.toContain(ECR_TOKEN);
        expect(Date.parse(state.madeAt)).toBeGreaterThan(Date.now() - 60_000);
        expect(await changes(state)).toEqual([]);
    });

    it("leaves everything else in the configuration as it is, on its way in and out", async () => {
        const before = { proxies: { default: { httpProxy: "http://proxy:3128" } }, auths: { "ghcr.io": other } };
        writeConfig(before);
        chmodSync(file(), 0o644);
        const state = await create();
        expect(config()).toEqual({ ...before, auths: { "ghcr.io": other, [REGISTRY]: entry() } });
        expect(statSync(file()).mode & 0o777).toBe(0o600);
        await operations.delete("", state);
        expect(config()).toEqual(before);
    });

    it("is a change when the entry is gone, and when half of its time is over", async () => {
        const state = await create();
        vi.useFakeTimers({ toFake: ["Date"] });
        vi.setSystemTime(Date.now() + 5.9 * HOUR_MS);
        expect(await changes(state)).toEqual([]);
        vi.setSystemTime(Date.now() + 0.2 * HOUR_MS);
        expect(await changes(state)).toEqual(["madeAt"]);
        tokens.answer({ token: NEXT_TOKEN });
        const next = (await operations.update("", state, inputs)).outs;
        expect(config().auths[REGISTRY]).toEqual(entry(NEXT_TOKEN));
        expect(await changes(next)).toEqual([]);
        rmSync(file());
        expect(await changes(next)).toEqual(["madeAt"]);
    });

    it("is no change where another stack of this machine has renewed it", async () => {
        const state = await create();
        vi.useFakeTimers({ toFake: ["Date"] });
        vi.setSystemTime(Date.now() + 7 * HOUR_MS);
        await create();
        expect(await changes(state)).toEqual([]);
    });

    it("is a change where somebody else's login took its place, which a delete then leaves", async () => {
        const state = await create();
        writeConfig({ auths: { [REGISTRY]: other } });
        expect(await changes(state)).toEqual(["madeAt"]);
        await operations.delete("", state);
        expect(config()).toEqual({ auths: { [REGISTRY]: other } });
    });

    it("goes into the credential store that the configuration names, and out of it again", async () => {
        installHelper("safe");
        writeConfig({ credsStore: "safe", auths: { "ghcr.io": {} } });
        const state = await create();
        expect(inStore()).toEqual({ [REGISTRY]: { Username: "AWS", Secret: ECR_TOKEN } });
        expect(config()).toEqual({ credsStore: "safe", auths: { "ghcr.io": {}, [REGISTRY]: {} } });
        expect(await changes(state)).toEqual([]);
        await operations.delete("", state);
        expect(inStore()).toEqual({});
        expect(config()).toEqual({ credsStore: "safe", auths: { "ghcr.io": {} } });
    });

    it("is left to a helper that makes ECR's tokens itself", async () => {
        writeConfig({ credHelpers: { [REGISTRY]: "ecr-login" } });
        const state = await create();
        expect(config()).toEqual({ credHelpers: { [REGISTRY]: "ecr-login" } });
        expect(await changes(state)).toEqual([]);
        await operations.delete("", state);
        expect(config()).toEqual({ credHelpers: { [REGISTRY]: "ecr-login" } });
    });

    it("says that a store does not work, without the token", async () => {
        const path = join(folder, "bin", "docker-credential-broken");
        writeFileSync(path, '#!/bin/sh\ncat; echo " can not be stored"; exit 1\n');
        chmodSync(path, 0o755);
        writeConfig({ credsStore: "broken" });
        const error: Error = await create().then(
            () => new Error("it logged in"),
            (caught) => caught,
        );
        expect(error.message).toContain("docker-credential-broken store ended with 1");
        expect(error.message).not.toContain(ECR_TOKEN);
        expect(existsSync(join(folder, "cache", "logins"))).toBe(false);
    });

    it("keeps a configuration that is a link one, and refuses one that is no JSON", async () => {
        mkdirSync(join(folder, "docker"));
        writeFileSync(join(folder, "real.json"), "{}");
        symlinkSync(join(folder, "real.json"), file());
        await create();
        expect(realpathSync(file())).toBe(realpathSync(join(folder, "real.json")));
        expect(config().auths[REGISTRY]).toEqual(entry());
        writeFileSync(join(folder, "real.json"), "{ not json");
        await expect(create()).rejects.toThrow("is not valid JSON");
        expect(readFileSync(file(), "utf8")).toBe("{ not json");
    });

    it("of several images at the same time loses none of their entries", async () => {
        const registries = Array.from({ length: 8 }, (_, i) => `${i}${REGISTRY.slice(1)}`);
        await Promise.all(registries.map((registry) => operations.create({ ...inputs, registry })));
        expect(Object.keys(config().auths).sort()).toEqual(registries);
        expect(tokens.asked).toBe(1);
    });

    it("of several stacks at the same time loses none of theirs", async () => {
        const child = `
            const { login } = require(process.argv[1]);
            const made = { username: "AWS", password: "token", madeAt: 0, expiresAt: 1 };
            (async () => {
                for (let i = 0; i < 15; i++) await login("r" + process.argv[2] + i + ".example.com", made);
            })();`;
        const driver = resolve(__dirname, "../../dist/drivers/docker-login.js");
        const run = promisify(execFile);
        await Promise.all([1, 2, 3, 4].map((n) => run(process.execPath, ["-e", child, driver, `${n}-`])));
        expect(Object.keys(config().auths)).toHaveLength(60);
    }, 300_000);
});
