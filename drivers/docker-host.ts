import { dockerPlatform } from "../core/docker-host";
import { CommandError, type RunOptions, run } from "./process";

/** A container as Docker has it, as far as it matters here. */
export interface DockerContainer {
    /** `created`, `running`, `exited`, `restarting`, `paused`, `dead`. */
    status: string;
    /** `NAME=value` */
    env: string[];
    memory: number;
    cpuQuota: number;
    networkMode: string;
}

/** Docker's ssh asks for no password and for no unknown host key: nobody would answer. */
const SILENT_SSH = { SSH_ASKPASS_REQUIRE: "force", SSH_ASKPASS: "/bin/false" };

const ASK_MS = 15_000;

/** Runs Docker's CLI against a daemon; the endpoint goes before every setting and context of the user's. */
export function docker(endpoint: string, args: string[], options: RunOptions = {}) {
    const unset = { DOCKER_CONTEXT: undefined, DOCKER_API_VERSION: undefined, DOCKER_DEFAULT_PLATFORM: undefined };
    const env = { ...SILENT_SSH, ...unset, ...options.env };
    return run("docker", ["--host", endpoint, ...args], { timeoutMs: ASK_MS, where: endpoint, ...options, env });
}

/**
 * The daemon's own platform: `linux/amd64`.
 *
 * @throws CommandError where it does not answer or lets nobody in.
 */
export async function dockerHostPlatform(endpoint: string): Promise<string> {
    const next =
        "start Docker there, and see that this user may use it: unix:// needs the group docker (or root), " +
        "ssh:// a key that lets in without a question and a known host key";
    const { stdout } = await docker(endpoint, ["info", "--format", "{{.OSType}} {{.Architecture}}"], { next });
    const [os = "", architecture = ""] = stdout.trim().split(" ");
    // An old CLI prints what it knows of itself, and ends well, where the daemon did not answer.
    if (!os || !architecture) throw new Error(`${endpoint}: the Docker daemon does not say what it is; ${next}`);
    return dockerPlatform(os, architecture);
}

/** A container by its name; nothing where there is none. */
export async function findContainer(endpoint: string, name: string): Promise<DockerContainer | undefined> {
    // `inspect` tells a missing container and a dead daemon with the same exit code; a list does not.
    const listed = await docker(endpoint, [
        "ps",
        "--all",
        "--filter",
        `name=^/${name.replaceAll(".", "\\.")}$`,
        "--format",
        "{{.ID}}",
    ]);
    const id = listed.stdout.trim();
    if (!id) return undefined;
    const { stdout } = await docker(endpoint, ["container", "inspect", "--format", "{{json .}}", id]);
    const { State, Config, HostConfig } = JSON.parse(stdout);
    return {
        status: State.Status,
        env: Config.Env ?? [],
        memory: HostConfig.Memory ?? 0,
        cpuQuota: HostConfig.CpuQuota ?? 0,
        networkMode: HostConfig.NetworkMode ?? "",
    };
}

/** Removes a container, running or not; its named volume stays. One that is gone is no error. */
export async function removeContainer(endpoint: string, name: string): Promise<void> {
    try {
        await docker(endpoint, ["rm", "--force", name], { timeoutMs: 60_000 });
    } catch (error) {
        if (!isMissing(error, "container")) throw error;
    }
}

/** Removes a volume. One that is gone is no error. */
export async function removeVolume(endpoint: string, name: string): Promise<void> {
    try {
        await docker(endpoint, ["volume", "rm", name], { timeoutMs: 60_000 });
    } catch (error) {
        if (!isMissing(error, "volume")) throw error;
    }
}

/** Whether Docker said that there is no such thing: `container`, `volume`, `image`. */
export const isMissing = (error: unknown, what: string) =>
    error instanceof CommandError && error.lastLines.some((line) => line.toLowerCase().includes(`no such ${what}`));

/** What a container printed last, for an error. */
export async function lastLog(endpoint: string, name: string): Promise<string[]> {
    const { stdout, stderr } = await docker(endpoint, ["logs", "--tail", "10", name]);
    return `${stdout}${stderr}`.split("\n").filter((line) => line.trim());
}

/** The command whose standard input and output are a connection to the BuildKit in a container (buildx's driver does the same). */
export const dialContainer = (endpoint: string, container: string): string[] => [
    ...["docker", "--host", endpoint, "exec", "-i", container, "buildctl", "dial-stdio"],
];
