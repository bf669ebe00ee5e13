/** Runs `docker-buildx build` so that neither a cancelled nor a killed engine leaves it behind. */
import { spawn } from "node:child_process";
import { once } from "node:events";
import { accessSync, constants } from "node:fs";
import { mkdtemp, readdir, readFile, rm, symlink, writeFile } from "node:fs/promises";
import { homedir, hostname, tmpdir } from "node:os";
import { delimiter, join, resolve } from "node:path";
import { createInterface } from "node:readline";
import { buildCommand } from "./flags";
import type { Image } from "./shape";

const TAIL_LINES = 20;
/** How long buildx may take to end the build on its node before it is killed. */
const GRACE_MS = 5_000;

function dockerFolder(): string {
    return resolve(process.env.DOCKER_CONFIG || join(homedir(), ".docker"));
}

function find(tool: string, ...folders: string[]): string | undefined {
    const candidates = [...(process.env.PATH ?? "").split(delimiter).filter(Boolean), ...folders].map((folder) =>
        join(folder, tool),
    );
    return candidates.find((path) => {
        try {
            accessSync(path, constants.X_OK);
            return true;
        } catch {
            return false;
        }
    });
}

function findBuildx(): string {
    const cache =
        process.env.BUILDFLEET_CACHE || join(process.env.XDG_CACHE_HOME || join(homedir(), ".cache"), "buildfleet");
    const plugins = join(dockerFolder(), "cli-plugins");
    const found = find("docker-buildx", join(cache, "bin"), plugins);
    if (!found)
        throw new Error(
            `docker-buildx was not found on PATH, in ${join(cache, "bin")} or in ${plugins}; install it there`,
        );
    return found;
}

export interface BuildRun {
    directory: string;
    signal: AbortSignal;
    /** Every line of buildx's output, secrets replaced by `[secret]`. */
    onLine(line: string): void;
}

/** A build that failed: the message is the plugin's, `tail` the last lines of the output. */
export class BuildError extends Error {
    constructor(
        message: string,
        readonly tail: string[],
    ) {
        super(message);
        this.name = "BuildError";
    }
}

/** Builds, and returns the digest of what was exported; "" where an export has none. */
export async function build(image: Image, { directory, signal, onLine }: BuildRun): Promise<string> {
    const buildx = findBuildx();
    const folder = await privateFolder();
    try {
        const metadataFile = join(folder, "metadata.json");
        const { args, env, input } = buildCommand(image, metadataFile);
        const config = image.registries.length > 0 ? await dockerConfig(folder, image.registries) : {};
        const hide = redactor([...Object.values(image.secrets), ...image.registries.map(({ password }) => password)]);
        const tail: string[] = [];
        let failure = "";
        const code = await run(buildx, args, { directory, signal, env: { ...env, ...config }, input }, (text) => {
            const line = hide(text);
            if (line.startsWith("ERROR: ")) failure = line.replace(/^ERROR: (failed to build: )?/, "");
            else if (line) tail.push(line);
            tail.splice(0, tail.length - TAIL_LINES);
            onLine(line);
        });
        signal.throwIfAborted();
        if (code !== 0) {
            const message = failure.startsWith("no builder ") ? `new builder: ${failure}` : failure;
            throw new BuildError(message || `docker-buildx ended with ${code}`, tail);
        }
        const metadata = JSON.parse(await readFile(metadataFile, "utf8")) as Record<string, unknown>;
        return String(metadata["containerimage.digest"] ?? "");
    } finally {
        await rm(folder, { recursive: true, force: true });
    }
}

interface Child {
    directory: string;
    env: Record<string, string>;
    input: string | undefined;
    signal: AbortSignal;
}

async function run(
    buildx: string,
    args: string[],
    { directory, env, input, signal }: Child,
    onLine: (line: string) => void,
) {
    signal.throwIfAborted();
    // The kernel kills buildx with us, even when we are killed (Linux); elsewhere it ends with its terminal.
    const setpriv = process.platform === "linux" ? find("setpriv") : undefined;
    const command = [...(setpriv ? [setpriv, "--pdeathsig", "KILL"] : []), buildx, ...args];
    const inherited = Object.entries(process.env).filter(([name]) => !name.startsWith("PULUMI_"));
    const child = spawn(command[0] ?? buildx, command.slice(1), {
        cwd: directory,
        env: { ...Object.fromEntries(inherited), ...env, BUILDX_NO_DEFAULT_ATTESTATIONS: "1" },
        stdio: "pipe",
    });
    let timer: NodeJS.Timeout | undefined;
    const stop = () => {
        child.kill("SIGTERM");
        timer = setTimeout(() => child.kill("SIGKILL"), GRACE_MS);
    };
    signal.addEventListener("abort", stop, { once: true });
    for (const stream of [child.stdout, child.stderr]) createInterface({ input: stream }).on("line", onLine);
    // buildx may end without reading its input: that is not the error to report.
    child.stdin.on("error", () => undefined).end(input ?? "");
    try {
        const [code, killedBy] = await once(child, "close");
        return (code ?? killedBy) as number | string;
    } finally {
        clearTimeout(timer);
        signal.removeEventListener("abort", stop);
    }
}

/** A folder for this user only (mkdtemp makes it 0700). Those that a killed engine left on this host are removed. */
async function privateFolder(): Promise<string> {
    const prefix = `docker-build-${hostname()}-`;
    for (const name of await readdir(tmpdir())) {
        const pid = name.startsWith(prefix) ? Number.parseInt(name.slice(prefix.length), 10) : Number.NaN;
        if (pid > 0 && !isAlive(pid)) await rm(join(tmpdir(), name), { recursive: true, force: true });
    }
    return mkdtemp(join(tmpdir(), `${prefix}${process.pid}-`));
}

function isAlive(pid: number): boolean {
    try {
        process.kill(pid, 0);
        return true;
    } catch (error) {
        return (error as NodeJS.ErrnoException).code !== "ESRCH";
    }
}

/** Docker configuration of the user plus these credentials; the builders stay those of the user's own store. */
async function dockerConfig(folder: string, registries: Image["registries"]): Promise<Record<string, string>> {
    const original = dockerFolder();
    const text = await readFile(join(original, "config.json"), "utf8").catch((error: NodeJS.ErrnoException) => {
        if (error.code === "ENOENT") return "{}";
        throw error;
    });
    const config = JSON.parse(text) as { auths?: Record<string, unknown>; credHelpers?: Record<string, string> };
    for (const { address, username, password } of registries) {
        const host = address.replace(/^https?:\/\//, "").split("/")[0] ?? "";
        const key = /^((index|registry-1)\.)?docker\.io$/.test(host) ? "https://index.docker.io/v1/" : host;
        config.auths = { ...config.auths, [key]: { auth: Buffer.from(`${username}:${password}`).toString("base64") } };
        // An empty helper makes Docker's configuration read this host from the file, whatever the user's store is.
        config.credHelpers = { ...config.credHelpers, [key]: "" };
    }
    await writeFile(join(folder, "config.json"), JSON.stringify(config), { mode: 0o600 });
    await symlink(join(original, "contexts"), join(folder, "contexts"));
    return { DOCKER_CONFIG: folder, BUILDX_CONFIG: resolve(process.env.BUILDX_CONFIG || join(original, "buildx")) };
}

/** Replaces values and their lines; shorter ones than three characters would blacken everything. */
function redactor(values: string[]): (line: string) => string {
    const hidden = [...new Set(values.flatMap((value) => [value, ...value.split("\n")]).map((value) => value.trim()))]
        .filter((value) => value.length > 2)
        .sort((a, b) => b.length - a.length);
    return (line) => hidden.reduce((text, value) => text.replaceAll(value, "[secret]"), line);
}
