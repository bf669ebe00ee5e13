/** Runs `docker-buildx build`: secrets in its environment only, credentials in a configuration that lives as long as the build. */
import { accessSync, constants } from "node:fs";
import { mkdtemp, readdir, readFile, rm, symlink, writeFile } from "node:fs/promises";
import { homedir, hostname, tmpdir, userInfo } from "node:os";
import { delimiter, join, resolve } from "node:path";
import { spawnGuarded } from "../processes";
import { authOf, type Credentials, dockerFolder, keyOf, readDockerConfig } from "./credentials";
import { buildCommand } from "./flags";
import type { Image } from "./shape";

/** Lines of output that a failed build leaves in the log. */
const TAIL = 20;

function findBuildx(): string {
    const cache =
        process.env.BUILDFLEET_CACHE || join(process.env.XDG_CACHE_HOME || join(homedir(), ".cache"), "buildfleet");
    const folders = [
        ...(process.env.PATH ?? "").split(delimiter),
        join(cache, "bin"),
        join(dockerFolder(), "cli-plugins"),
    ];
    for (const path of folders.filter(Boolean).map((folder) => join(folder, "docker-buildx"))) {
        try {
            accessSync(path, constants.X_OK);
            return path;
        } catch {
            // Not here: the next folder.
        }
    }
    throw new Error(`docker-buildx was not found on PATH nor in ${folders.slice(-2).join(" or ")}; install it there`);
}

export interface BuildRun {
    directory: string;
    /** What Docker's configuration opened when the provider was configured; what it opens by now doesn't count. */
    credentials: Credentials;
    signal: AbortSignal;
    /** Gets every line of the output, and after a failure the last ones together; secrets are replaced by `[secret]`. */
    log(text: string, ephemeral: boolean): void;
}

/** Builds, and returns the digest of what was exported; "" where an export has none. Throws what the plugin would say. */
export async function build(image: Image, { directory, credentials, signal, log }: BuildRun): Promise<string> {
    const buildx = findBuildx();
    signal.throwIfAborted();
    const folder = await privateFolder();
    try {
        const { args, env } = buildCommand(image, folder);
        if (image.dockerfile?.inline) await writeFile(join(folder, "Dockerfile"), image.dockerfile.inline);
        Object.assign(env, await dockerConfig(folder, credentials, image.registries));
        const hide = redactor([...Object.values(image.secrets), ...image.registries.map(({ password }) => password)]);
        const tail: string[] = [];
        let failure = "";
        const onLine = (text: string) => {
            const line = hide(text);
            log(line, true);
            if (line.startsWith("ERROR: ")) failure = line.replace(/^ERROR: (failed to build: )?/, "");
            else if (line && tail.push(line) > TAIL) tail.shift();
        };
        const inherited = Object.entries(process.env).filter(([name]) => !name.startsWith("PULUMI_"));
        const child = spawnGuarded(buildx, args, {
            cwd: directory,
            env: { ...Object.fromEntries(inherited), ...env },
            onLine,
        });
        // A node ends the build when its client is gone.
        const stop = () => child.kill("SIGKILL");
        signal.addEventListener("abort", stop, { once: true });
        if (signal.aborted) stop();
        const code = await child.exited.finally(() => signal.removeEventListener("abort", stop));
        signal.throwIfAborted();
        if (code !== 0) {
            log(tail.join("\n"), false);
            if (failure.startsWith("no builder ")) throw new Error(`new builder: ${failure}`);
            throw new Error(failure || `docker-buildx ended with exit code ${code}: ${tail.at(-1)}`);
        }
        const metadata: Record<string, unknown> = JSON.parse(await readFile(join(folder, "metadata.json"), "utf8"));
        return String(metadata["containerimage.digest"] ?? "");
    } finally {
        await rm(folder, { recursive: true, force: true });
    }
}

/** A folder for this user only (mkdtemp makes it 0700). Those that a killed engine left on this host are removed. */
async function privateFolder(): Promise<string> {
    const prefix = `docker-build-${hostname()}-${userInfo().uid}-`;
    for (const name of await readdir(tmpdir())) {
        const pid = name.startsWith(prefix) ? Number.parseInt(name.slice(prefix.length), 10) : 0;
        if (pid > 0 && !isAlive(pid)) await rm(join(tmpdir(), name), { recursive: true, force: true });
    }
    return mkdtemp(join(tmpdir(), `${prefix}${process.pid}-`));
}

function isAlive(pid: number): boolean {
    try {
        return process.kill(pid, 0);
    } catch (error) {
        return (error as NodeJS.ErrnoException).code !== "ESRCH";
    }
}

/** Docker's configuration as the user has it, with these credentials and no helper; the builders stay those of the user's own store. */
async function dockerConfig(
    folder: string,
    credentials: Credentials,
    registries: Image["registries"],
): Promise<Record<string, string>> {
    const original = dockerFolder();
    const { credHelpers, credsStore, ...config } = await readDockerConfig();
    config.auths = { ...credentials };
    for (const { address, username, password } of registries) config.auths[keyOf(address)] = authOf(username, password);
    await writeFile(join(folder, "config.json"), JSON.stringify(config), { mode: 0o600 });
    await symlink(join(original, "contexts"), join(folder, "contexts"));
    return { DOCKER_CONFIG: folder, BUILDX_CONFIG: resolve(process.env.BUILDX_CONFIG || join(original, "buildx")) };
}

/** Replaces values and their lines; those under three characters would blacken everything. */
function redactor(values: string[]): (line: string) => string {
    const hidden = values.flatMap((value) => [value, ...value.split("\n")]).map((value) => value.trim());
    const longestFirst = hidden.filter((value) => value.length > 2).sort((a, b) => b.length - a.length);
    return (line) => longestFirst.reduce((text, value) => text.replaceAll(value, "[secret]"), line);
}
