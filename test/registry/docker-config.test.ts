import { chmod, mkdir, mkdtemp, readdir, readFile, rm, stat, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { delimiter, join } from "node:path";
import { afterEach, beforeEach, describe, expect, it, vi } from "vitest";
import { dockerConfigCredentials, writeDockerConfig } from "../../drivers/registry";
import { account, startRegistry } from "../support/registry";
import { failure, plainClient, pushImage } from "./support";

let folder: string;
const registry = "registry.example.com:5000";
const encode = (text: string) => Buffer.from(text).toString("base64");
const write = (config: unknown) =>
    writeFile(join(folder, "config.json"), typeof config === "string" ? config : JSON.stringify(config));
const get = (name = registry) => dockerConfigCredentials(folder).get(name);

beforeEach(async () => {
    folder = await mkdtemp(join(tmpdir(), "docker-config-test-"));
});
afterEach(async () => {
    vi.unstubAllEnvs();
    await rm(folder, { recursive: true, force: true });
});

describe("Docker's config.json", () => {
    it("gives what it has, in every form it takes", async () => {
        const cases: [object, unknown][] = [
            [{ auth: encode("alice:pass:word") }, { username: "alice", password: "pass:word" }],
            [{ auth: encode("alice:secret\0\0") }, { username: "alice", password: "secret" }],
            [
                { username: "alice", password: "secret" },
                { username: "alice", password: "secret" },
            ],
            [{ auth: encode("00000000:"), identitytoken: "idt" }, { identityToken: "idt" }],
            [{ registrytoken: "rt" }, { registryToken: "rt" }],
            [{}, undefined],
        ];
        for (const [entry, expected] of cases) {
            await write({ auths: { [registry]: entry } });
            expect(await get()).toEqual(expected);
        }
    });

    it("is looked up by host and port, as older clients wrote URLs, and never by host alone", async () => {
        const entry = { auth: encode("alice:secret") };
        for (const key of [registry, `https://${registry}`, `https://${registry}/v1/`, `${registry}/v2/`]) {
            await write({ auths: { [key]: entry } });
            expect(await get(), key).toEqual({ username: "alice", password: "secret" });
        }
        for (const key of ["registry.example.com", "example.com:5000", "other.registry.example.com:5000"]) {
            await write({ auths: { [key]: entry } });
            expect(await get(), key).toBeUndefined();
        }
        await write({ auths: { "https://index.docker.io/v1/": entry } });
        expect(await get("docker.io")).toEqual({ username: "alice", password: "secret" });
    });

    it("is none where there is no file, and follows DOCKER_CONFIG", async () => {
        expect(await get()).toBeUndefined();
        await write({ auths: { [registry]: { auth: encode("alice:secret") } } });
        const source = dockerConfigCredentials();
        vi.stubEnv("DOCKER_CONFIG", join(folder, "elsewhere"));
        expect(await source.get(registry)).toBeUndefined();
        vi.stubEnv("DOCKER_CONFIG", folder);
        expect(await source.get(registry)).toEqual({ username: "alice", password: "secret" });
        expect(source.description).toBe(`Docker config ${join(folder, "config.json")}`);
    });

    it("that is broken is an error with its path and none of its content", async () => {
        for (const config of [
            `{"auths": {"${registry}": {"auth": "canary`,
            { auths: { [registry]: { auth: encode("canary without colon") } } },
            { auths: { [registry]: { auth: 5, password: "canary" } } },
            { auths: "canary" },
            { credsStore: "../canary" },
        ]) {
            await write(config);
            const error = await failure(get());
            expect(error).toMatchObject({ code: "CREDENTIALS" });
            expect(error.message).toContain(join(folder, "config.json"));
            expect(error.message).not.toMatch(new RegExp(`canary|${encode("canary without colon")}`));
        }
    });
});

describe("a credential helper", () => {
    /** A real executable that notes its arguments and stdin, then does as told. */
    async function helper(name: string, script: string) {
        const bin = join(folder, "bin");
        await mkdir(bin, { recursive: true });
        const file = join(bin, `docker-credential-${name}`);
        await writeFile(file, `#!/bin/sh\necho "$@" > ${folder}/argv\ncat > ${folder}/stdin\n${script}\n`);
        await chmod(file, 0o755);
        vi.stubEnv("PATH", `${bin}${delimiter}${process.env.PATH}`);
    }
    const answer = (user: string, secret: string) =>
        `echo '${JSON.stringify({ ServerURL: "x", Username: user, Secret: secret })}'`;
    const noted = async (name: string) => (await readFile(join(folder, name), "utf8")).trim();

    it("gets the registry on stdin and nothing in argv but the verb", async () => {
        await helper("test", answer("alice", "secret-canary"));
        await write({ credHelpers: { [registry]: "test" }, auths: { [registry]: { auth: encode("not:asked") } } });
        expect(await get()).toEqual({ username: "alice", password: "secret-canary" });
        expect(await noted("argv")).toBe("get");
        expect(await noted("stdin")).toBe(registry);
        expect(await get("other.example.com")).toBeUndefined();
    });

    it("serves every registry as credsStore, Docker Hub by its old name, and identity tokens", async () => {
        await helper("store", answer("<token>", "identity"));
        await write({ credsStore: "store" });
        expect(await get("docker.io")).toEqual({ identityToken: "identity" });
        expect(await noted("stdin")).toBe("https://index.docker.io/v1/");
    });

    it("that has nothing is no error", async () => {
        await helper("test", "echo 'credentials not found in native keychain'; exit 1");
        await write({ credsStore: "test" });
        expect(await get()).toBeUndefined();
    });

    it.each([
        ["fails", "echo secret-canary; exit 1", "could not get the credentials"],
        ["crashes", "echo secret-canary; echo secret-canary >&2; exit 3", "ended with 3"],
        ["answers with something else", "echo secret-canary", "something else than credentials"],
        ["answers with half", `echo '{"Username": "secret-canary"}'`, "something else than credentials"],
    ])("that %s is an error that shows nothing it printed", async (_name, script, text) => {
        await helper("test", script);
        await write({ credHelpers: { [registry]: "test" } });
        const error = await failure(get());
        expect(error).toMatchObject({ code: "CREDENTIALS" });
        expect(error.message).toContain(text);
        expect(`${error.stack}${JSON.stringify(error)}`).not.toContain("secret-canary");
    });

    it("that is not installed is named", async () => {
        await write({ credHelpers: { [registry]: "nowhere-to-be-found" } });
        expect((await failure(get())).message).toContain("docker-credential-nowhere-to-be-found, which is not on PATH");
    });
});

describe("writeDockerConfig", () => {
    const mode = async (path: string) => ((await stat(path)).mode & 0o777).toString(8);

    it("writes what it reads back, for nobody else to read", async () => {
        const dir = join(folder, "private");
        await mkdir(dir, { mode: 0o755 });
        await writeFile(join(dir, "config.json"), "{}", { mode: 0o644 });
        await writeDockerConfig(dir, { [registry]: { username: "alice", password: "p:w" }, "docker.io": account });
        expect([await mode(dir), await mode(join(dir, "config.json"))]).toEqual(["700", "600"]);
        expect(await readdir(dir)).toEqual(["config.json"]);
        expect(await dockerConfigCredentials(dir).get(registry)).toEqual({ username: "alice", password: "p:w" });
        expect(await dockerConfigCredentials(dir).get("docker.io")).toMatchObject({ username: account.username });
        expect(Object.keys(JSON.parse(await readFile(join(dir, "config.json"), "utf8")).auths)).toContain(
            "https://index.docker.io/v1/",
        );
    });

    it("opens a real registry", async () => {
        const running = await startRegistry({ htpasswd: account.htpasswd });
        try {
            const dir = await writeDockerConfig(join(folder, "a", "b"), { [running.registry]: account });
            const client = plainClient(running.registry, { credentials: dockerConfigCredentials(dir) });
            await pushImage(client, "app", "1.0", "app");
            const other = plainClient(running.registry, { credentials: dockerConfigCredentials(folder) });
            const error = await failure(other.tags("app"));
            expect(error.message).toContain(
                `Docker config ${join(folder, "config.json")} (nothing for ${running.registry})`,
            );
        } finally {
            await running.stop();
        }
    });
});
