import { randomBytes } from "node:crypto";
import { chmod, mkdir, readFile, rename, rm, writeFile } from "node:fs/promises";
import { homedir } from "node:os";
import { join } from "node:path";
import { z } from "zod";
import { CommandError, run } from "../process";
import { ToolMissingError } from "../tools";
import type { Credential, CredentialSource } from "./credentials";
import { RegistryError } from "./errors";

/** Under which Docker keeps Docker Hub's credentials. */
const DOCKER_HUB = "https://index.docker.io/v1/";
/** How a helper says that it has an identity token: in place of a user name. */
const TOKEN_USER = "<token>";

const authEntry = z.object({
    auth: z.string().optional(),
    username: z.string().optional(),
    password: z.string().optional(),
    identitytoken: z.string().optional(),
    registrytoken: z.string().optional(),
});
const dockerConfig = z.object({
    auths: z.record(z.string(), authEntry).optional(),
    credHelpers: z.record(z.string(), z.string()).optional(),
    credsStore: z.string().optional(),
});
/** Docker's own `config.json`: `$DOCKER_CONFIG`, else `~/.docker`. */
export const dockerConfigFile = (dir?: string) =>
    join(dir ?? (process.env.DOCKER_CONFIG || join(homedir(), ".docker")), "config.json");

/** Under which Docker keeps a registry's credentials. */
export const keyOf = (registry: string) => (registry === "docker.io" ? DOCKER_HUB : registry);

/** The helper that keeps a registry's credentials, without `docker-credential-`; undefined: they stand in the file. */
export async function helperFor(registry: string): Promise<string | undefined> {
    const config = await readConfig(dockerConfigFile());
    return lookUp(config.credHelpers, keyOf(registry)) ?? config.credsStore;
}

const helperAnswer = z.object({ Username: z.string(), Secret: z.string() });

/**
 * Credentials as Docker keeps them: `config.json` with `auths`, `credHelpers` and `credsStore`. As in Docker, a helper
 * that is configured for a registry is asked alone. Nothing is kept: each call reads and asks again.
 *
 * @param dir folder of `config.json`; default `$DOCKER_CONFIG`, else `~/.docker`, looked up at each call.
 */
export function dockerConfigCredentials(dir?: string): CredentialSource {
    return {
        get description() {
            return `Docker config ${dockerConfigFile(dir)}`;
        },
        async get(registry) {
            const path = dockerConfigFile(dir);
            const config = await readConfig(path);
            const key = keyOf(registry);
            const helper = lookUp(config.credHelpers, key) ?? config.credsStore;
            if (helper) return askHelper(helper, key, path);
            const entry = lookUp(config.auths, key);
            return entry && fromEntry(entry, key, path);
        },
    };
}

/**
 * Writes a private `config.json` (folder 0700, file 0600) for a child process that gets the folder as `DOCKER_CONFIG`:
 * passwords reach cosign, syft and buildx in no other way. A `config.json` that is there is replaced. Name
 * `BUILDX_CONFIG` too where buildx is meant: its store moves with `DOCKER_CONFIG`.
 *
 * @returns the folder.
 */
export async function writeDockerConfig(
    dir: string,
    credentials: Record<string, { username: string; password: string }>,
): Promise<string> {
    await mkdir(dir, { recursive: true, mode: 0o700 });
    await chmod(dir, 0o700); // mkdir leaves the mode of a folder that is there
    const auths = Object.fromEntries(
        Object.entries(credentials).map(([registry, { username, password }]) => [
            keyOf(registry),
            { auth: Buffer.from(`${username}:${password}`).toString("base64") },
        ]),
    );
    const temporary = join(dir, `.config.${randomBytes(6).toString("hex")}.json`);
    try {
        await writeFile(temporary, JSON.stringify({ auths }, null, 2), { mode: 0o600, flag: "wx" });
        await rename(temporary, join(dir, "config.json"));
    } finally {
        await rm(temporary, { force: true });
    }
    return dir;
}

export function unreadable(path: string, reason: string, next: string): RegistryError {
    return new RegistryError({ code: "CREDENTIALS", reason: `${path}: ${reason}`, next });
}

async function readConfig(path: string): Promise<z.infer<typeof dockerConfig>> {
    let text: string;
    try {
        text = await readFile(path, "utf8");
    } catch (error) {
        const code = (error as NodeJS.ErrnoException).code;
        if (code === "ENOENT") return {};
        throw unreadable(path, `cannot be read (${code})`, "mend the file's permissions, or set DOCKER_CONFIG");
    }
    let value: unknown;
    try {
        value = JSON.parse(text);
    } catch {
        // The parser's own message would quote the file.
        throw unreadable(path, "is not valid JSON", `mend it, or log in again with "docker login"`);
    }
    const parsed = dockerConfig.safeParse(value);
    if (parsed.success) return parsed.data;
    const where = parsed.error.issues[0]?.path.slice(0, 2).join(".");
    throw unreadable(
        path,
        `${where || "it"} is not as Docker writes it`,
        `mend it, or log in again with "docker login"`,
    );
}

/** By the exact key; else by host and port, since older clients wrote URLs (`https://host/v1/`). */
function lookUp<T>(entries: Record<string, T> | undefined, key: string): T | undefined {
    const host = (text: string) => text.replace(/^https?:\/\//, "").split("/")[0];
    if (!entries) return undefined;
    if (Object.hasOwn(entries, key)) return entries[key];
    return Object.entries(entries).find(([name]) => host(name) === host(key))?.[1];
}

function fromEntry(entry: z.infer<typeof authEntry>, key: string, path: string): Credential | undefined {
    if (entry.identitytoken) return { identityToken: entry.identitytoken };
    if (entry.registrytoken) return { registryToken: entry.registrytoken };
    if (entry.username && entry.password) return { username: entry.username, password: entry.password };
    if (!entry.auth) return undefined;
    // Docker itself drops NULs that some of its versions wrote at the end.
    const text = Buffer.from(entry.auth, "base64").toString("utf8").replace(/\0+$/, "");
    const colon = text.indexOf(":");
    if (colon > 0) return { username: text.slice(0, colon), password: text.slice(colon + 1) };
    throw unreadable(path, `auths["${key}"].auth is not base64 of "user:password"`, `run "docker login ${key}" again`);
}

/**
 * Runs a credential helper (https://github.com/docker/docker-credential-helpers): what it needs on stdin, its answer on
 * stdout, exit code 1 for errors, which stand on stdout, too.
 */
export async function runHelper(
    name: string,
    action: "get" | "store" | "erase",
    input: string,
    next: string,
    path = dockerConfigFile(),
) {
    if (!/^[A-Za-z0-9][\w.-]*$/.test(name)) {
        throw unreadable(path, "a credential helper's name is not a plain name", "correct credHelpers and credsStore");
    }
    const tool = `docker-credential-${name}`;
    return run(tool, [action], { input, okExitCodes: [0, 1], timeoutMs: 30_000 }).catch((error) => {
        if (error instanceof ToolMissingError) {
            throw unreadable(
                path,
                `names ${tool}, which is not on PATH`,
                "install it, or correct credHelpers and credsStore",
            );
        }
        if (!(error instanceof CommandError)) throw error;
        // Its own message may hold lines of stdout, where the secret is.
        const ended = error.timedOut ? "gave no result within 30 s" : `ended with ${error.exitCode ?? error.signal}`;
        throw unreadable(path, `${tool} ${ended}`, next);
    });
}

async function askHelper(name: string, key: string, path: string): Promise<Credential | undefined> {
    const tool = `docker-credential-${name}`;
    const next = `run "echo ${key} | ${tool} get" yourself to see why`;
    const answer = await runHelper(name, "get", key, next, path);
    if (answer.exitCode === 1) {
        if (/credentials not found/i.test(answer.stdout)) return undefined;
        throw unreadable(path, `${tool} could not get the credentials of ${key}`, next);
    }
    try {
        const { Username, Secret } = helperAnswer.parse(JSON.parse(answer.stdout));
        if (Username === TOKEN_USER) return { identityToken: Secret };
        return Secret ? { username: Username, password: Secret } : undefined;
    } catch {
        throw unreadable(path, `${tool} answered with something else than credentials`, next);
    }
}
