/** The registries' passwords as the plugin has them: read once, when the provider is configured (provider/internal/host.go, newHost). */
import { execFile } from "node:child_process";
import { readFile } from "node:fs/promises";
import { homedir } from "node:os";
import { join, resolve } from "node:path";

/** Docker's configuration, what is read of it. */
export interface DockerConfig {
    auths?: Record<string, { auth?: string; username?: string; password?: string }>;
    credHelpers?: Record<string, string>;
    credsStore?: string;
}

/** `auth` of each registry, as `config.json` has it. */
export type Credentials = Record<string, { auth: string }>;

const DOCKER_HUB = "https://index.docker.io/v1/";

export const dockerFolder = () => resolve(process.env.DOCKER_CONFIG || join(homedir(), ".docker"));

/** The user's configuration; none is an empty one. */
export async function readDockerConfig(): Promise<DockerConfig> {
    const text = await readFile(join(dockerFolder(), "config.json"), "utf8").catch((error: NodeJS.ErrnoException) => {
        if (error.code === "ENOENT") return "{}";
        throw error;
    });
    return JSON.parse(text);
}

/** The key that `config.json` has for a registry; the plugin drops scheme and path of all others. */
export function keyOf(address: string): string {
    const host = address.replace(/^https?:\/\//, "").split("/")[0] ?? "";
    return /^((index|registry-1)\.)?docker\.io$/.test(host) ? DOCKER_HUB : host;
}

export const authOf = (username: string, password: string) => ({
    auth: Buffer.from(`${username}:${password}`).toString("base64"),
});

/** Everything that Docker's configuration opens now; what is stored as an identity token the plugin loses. */
export async function allCredentials(): Promise<Credentials> {
    const { auths = {}, credHelpers = {}, credsStore } = await readDockerConfig();
    const found: Credentials = {};
    if (!credsStore) {
        for (const [address, { auth, username, password }] of Object.entries(auths)) {
            if (auth) found[keyOf(address)] = { auth };
            else if (username && password) found[keyOf(address)] = authOf(username, password);
        }
    } else {
        const listed: Record<string, string> = JSON.parse(await helper(credsStore, "list", ""));
        for (const address of Object.keys(listed)) Object.assign(found, await ask(credsStore, address));
    }
    // As in Docker's own client, a registry's helper that fails leaves the others alone.
    for (const [address, name] of Object.entries(credHelpers))
        Object.assign(found, await ask(name, address).catch(() => ({})));
    return found;
}

async function ask(name: string, address: string): Promise<Credentials> {
    const { Username, Secret }: Record<string, string> = JSON.parse(await helper(name, "get", address));
    return Username && Secret && Username !== "<token>" ? { [keyOf(address)]: authOf(Username, Secret) } : {};
}

/** https://github.com/docker/docker-credential-helpers; what it printed may hold a secret, so no error repeats it. */
function helper(name: string, action: "get" | "list", input: string): Promise<string> {
    return new Promise((done, fail) => {
        const child = execFile(`docker-credential-${name}`, [action], { timeout: 30_000 }, (error, stdout) => {
            if (error) fail(new Error(`getting host: docker-credential-${name} ${action} ended with ${error.code}`));
            else done(stdout);
        });
        child.stdin?.end(input);
    });
}
