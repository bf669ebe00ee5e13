import { existsSync, readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { containerOf, type DockerBuilderPlan, driverOption, planDockerBuilder } from "../core/docker-host";
import type { DockerHostSettings } from "../core/docker-host-settings";
import type { BuildkitEndpoint } from "./buildkit";
import { forgetBuilder, readNode, storeFolder } from "./buildx";
import { dialContainer } from "./docker-host";
import { writeFileAtomic } from "./files";
import { run } from "./process";
import { whileWorking } from "./progress";
import { inTemporaryFolder } from "./temporary-folder";

/** The node of a builder with the docker-container driver, which makes the container's name of the node's. */
export const readDockerBuilder = (name: string) => readNode(name, "docker-container");

/** The way to the BuildKit of a registered builder; nothing for one of another driver. */
export function dockerBuildkit(name: string): BuildkitEndpoint | undefined {
    const entry = readDockerBuilder(name);
    return entry && { endpoint: entry.endpoint, command: dialContainer(entry.endpoint, containerOf(entry.name)) };
}

/** Names of the builders in this machine's store that are on one container. */
export function dockerBuildersOn(endpoint: string, instance: string): string[] {
    const folder = join(storeFolder(), "instances");
    const names = existsSync(folder) ? readdirSync(folder) : [];
    return names.filter((name) => {
        const entry = readDockerBuilder(name);
        return entry?.endpoint === endpoint && entry.name === instance;
    });
}

function readAuthority(path: string): string {
    try {
        return readFileSync(path, "utf8");
    } catch (error) {
        const next = "name a file of the machine that runs the program, or give its text as caPem";
        throw new Error(`docker.registries: ${path} can't be read (${(error as Error).message}); ${next}`);
    }
}

/** What is to be made of a node's settings; see {@link planDockerBuilder}. */
export function planOf(node: string, settings: DockerHostSettings, folder = "/etc/buildkit"): DockerBuilderPlan {
    return planDockerBuilder(node, settings, folder, readAuthority);
}

export interface DockerRegistration {
    /** Name of the builder. */
    name: string;
    platform: string;
    /** The Docker daemon's: `unix:///var/run/docker.sock`, `ssh://user@host`. */
    endpoint: string;
    /** The fleet's name of the node. */
    node: string;
    settings: DockerHostSettings;
}

/**
 * Registers the builder; what stood under its name is forgotten, its container is not touched. buildx copies the files it is
 * given into its own store (0600), so none of them stays.
 */
export async function registerDockerBuilder(registration: DockerRegistration): Promise<void> {
    const { name, platform, endpoint, node, settings } = registration;
    await inTemporaryFolder(async (folder) => {
        const { instance, options, configuration, files } = planOf(node, settings, folder);
        for (const file of files) writeFileAtomic(join(folder, file.name), file.content, 0o600);
        const path = join(folder, "buildkitd.toml");
        writeFileAtomic(path, configuration, 0o600);
        // A changed node keeps files of the node before (buildx: store.NodeGroup.Update), so it is made anew.
        await forgetBuilder(name);
        await run(
            "docker-buildx",
            [
                ...["create", "--name", name, "--driver", "docker-container", "--node", instance],
                ...["--platform", platform, "--buildkitd-config", path],
                ...Object.entries(options).flatMap(([key, value]) => ["--driver-opt", driverOption(key, value)]),
                endpoint,
            ],
            { timeoutMs: 60_000, where: endpoint },
        );
    });
}

/** What to set where the Docker daemon could not get BuildKit's image; Docker's own words tell which it is. */
export function imageAdvice(said: string, image = "BuildKit's image"): string | undefined {
    const registry = image.split("/")[0];
    if (/server gave HTTP response to HTTPS client/.test(said))
        return `add "${registry}" to insecure-registries in that host's /etc/docker/daemon.json and restart Docker there`;
    if (/certificate signed by unknown authority|failed to verify certificate/.test(said))
        return `put the authority's certificate into /etc/docker/certs.d/${registry}/ca.crt on that host`;
    if (/no basic auth credentials|unauthorized|authentication required|denied/.test(said))
        return `log in to ${registry} where this program runs (docker login): buildx hands the password to the daemon`;
    if (/manifest unknown|not found|manifest for .* not found/.test(said))
        return `push ${image} to the registry first (an ImageMirror does), or correct docker.image`;
    if (/connection refused|no such host|i\/o timeout|deadline exceeded|no route to host/.test(said))
        return `see that the host reaches ${registry}, or load the image there (docker load)`;
    return undefined;
}

/**
 * Makes and starts the container where there is none, starts one that is stopped, and waits until BuildKit in it answers. The
 * image is pulled by the Docker daemon, with this machine's credentials for the registry.
 *
 * @throws CommandError with what buildx printed and what to set.
 */
export async function bootDockerBuilder({ name, endpoint, settings }: DockerRegistration): Promise<void> {
    const lines: string[] = [];
    const said = { state: "starting BuildKit" };
    const onLine = (line: string) => {
        lines.push(line);
        const step = /^#\d+ ((?:pulling|creating|starting) \S+)/.exec(line)?.[1];
        if (step) said.state = step;
    };
    const boot = () =>
        run("docker-buildx", ["inspect", "--bootstrap", name], { timeoutMs: 600_000, where: endpoint, onLine });
    try {
        await whileWorking(() => `builder ${name} on ${endpoint}: ${said.state}`, boot);
    } catch (error) {
        const next = imageAdvice(lines.join("\n"), settings.image);
        throw next && error instanceof Error ? new Error(`${error.message}\nnext: ${next}`, { cause: error }) : error;
    }
}
