import { isDeepStrictEqual } from "node:util";
import { type DockerBuilderPlan, SETTINGS_VARIABLE } from "../../core/docker-host";
import type { DockerHostSettings } from "../../core/docker-host-settings";
import { Platform } from "../../core/platform";
import { type BuildkitInfo, countActiveBuilds, probe } from "../../drivers/buildkit";
import { forgetBuilder } from "../../drivers/buildx";
import {
    bootDockerBuilder,
    type DockerRegistration,
    dockerBuildersOn,
    planOf,
    readDockerBuilder,
    registerDockerBuilder,
} from "../../drivers/docker-builder";
import {
    type DockerContainer,
    dialContainer,
    dockerHostPlatform,
    findContainer,
    lastLog,
    removeContainer,
    removeVolume,
} from "../../drivers/docker-host";
import { withLocks } from "../../drivers/lock";
import { drained } from "./drain";
import type { Node } from "./machine";

/** A node whose BuildKit is a container that buildx's docker-container driver makes on a Docker daemon. */
export type DockerNode = Node & { docker: DockerHostSettings };

export const isDocker = (node: Node): node is DockerNode => node.docker !== undefined;

/** What a Docker daemon shows of a node. */
export interface DockerLook {
    /** The host's own platform: `linux/arm64`. */
    platform: string;
    /** What BuildKit says; absent where its container has to be made, made anew or started first. */
    info?: BuildkitInfo;
}

/** Why a container is not what the settings describe, in words; nothing where it is. */
function mismatch(container: DockerContainer, { options, fingerprint }: DockerBuilderPlan): string | undefined {
    if (!container.env.includes(`${SETTINGS_VARIABLE}=${fingerprint}`)) return "it was made with other settings";
    // One that was never started may lack its configuration: whoever made it was killed before it was copied.
    if (["created", "dead", "removing"].includes(container.status)) return `it is ${container.status}`;
    return limitsOf(container, options);
}

/** Docker drops a limit that its kernel does not know, with a warning that buildx does not show; and `docker update` changes them. */
function limitsOf({ memory, cpuQuota, networkMode }: DockerContainer, options: Record<string, string>) {
    if (Number(options.memory ?? 0) !== memory) return `its memory limit is ${memory} bytes`;
    if (Number(options["cpu-quota"] ?? 0) !== cpuQuota) return `its CPU quota is ${cpuQuota} µs`;
    return options.network !== undefined && options.network !== networkMode
        ? `its network is ${networkMode}`
        : undefined;
}

function refuseForeign({ endpoint }: DockerNode, container: DockerContainer, plan: DockerBuilderPlan): void {
    if (container.env.some((variable) => variable.startsWith(`${SETTINGS_VARIABLE}=`))) return;
    throw new Error(
        `${endpoint}: the container ${plan.container} there was made by somebody else; ` +
            `set docker.instance to a name of your own, or remove it (docker rm --force ${plan.container})`,
    );
}

const inContainer = ({ endpoint }: DockerNode, { container }: DockerBuilderPlan) => ({
    endpoint,
    command: dialContainer(endpoint, container),
});

/** The command that reaches the BuildKit of a node. */
export const dialDocker = (node: DockerNode): string[] => inContainer(node, planOf(node.name, node.docker)).command;

async function ask(node: DockerNode, plan: DockerBuilderPlan): Promise<BuildkitInfo> {
    try {
        return await probe(inContainer(node, plan));
    } catch (error) {
        const log = await lastLog(node.endpoint, plan.container);
        const lines = [`BuildKit in ${plan.container} does not answer: ${(error as Error).message}`, ...log];
        throw new Error(lines.join("\n  | "), { cause: error });
    }
}

/**
 * Looks at the Docker daemon and at the container; changes nothing.
 *
 * @throws Error where the daemon does not answer, the container is somebody else's, or BuildKit in it does not answer.
 */
export async function lookAtDocker(node: DockerNode): Promise<DockerLook> {
    const plan = planOf(node.name, node.docker);
    const [platform, container] = await Promise.all([
        dockerHostPlatform(node.endpoint),
        findContainer(node.endpoint, plan.container),
    ]);
    if (!container) return { platform };
    refuseForeign(node, container, plan);
    if (container.status !== "running" || mismatch(container, plan)) return { platform };
    return { platform, info: await ask(node, plan) };
}

/** Waits until nobody builds in a container that is to be made anew. */
const drain = (node: DockerNode, plan: DockerBuilderPlan, reason: string) =>
    drained({
        subject: `builder node ${node.name}`,
        purpose: `${plan.container} is made anew (${reason})`,
        count: () => countActiveBuilds(inContainer(node, plan)),
        runs: async () => (await findContainer(node.endpoint, plan.container))?.status === "running",
    });

/** One at a time on this machine: every image of a fleet asks for the same container. */
const exclusively = <T>({ endpoint }: DockerNode, { container }: DockerBuilderPlan, work: () => Promise<T>) =>
    withLocks([`container ${container} on ${endpoint}`], work);

const dockerRegistration = (node: DockerNode, name: string, platform: string): DockerRegistration => ({
    ...{ name, platform, endpoint: node.endpoint },
    ...{ node: node.name, settings: node.docker },
});

/**
 * Registers a builder under `name` and sees to it that its container runs, made of these very settings. The cache is in a volume
 * that outlives the container.
 *
 * @throws Error where the container can't be made or does not start; neither it nor the registration stays then.
 */
export async function wakeDocker(node: DockerNode, name: string, platform: string): Promise<BuildkitInfo> {
    const { endpoint } = node;
    const registration = dockerRegistration(node, name, platform);
    const plan = planOf(node.name, node.docker);
    await exclusively(node, plan, async () => {
        const before = await findContainer(endpoint, plan.container);
        const reason = before && mismatch(before, plan);
        if (before && reason) {
            refuseForeign(node, before, plan);
            if (before.status === "running") await drain(node, plan, reason);
            await removeContainer(endpoint, plan.container);
        }
        try {
            await registerDockerBuilder(registration);
            await bootDockerBuilder(registration);
            await verify(node, plan);
        } catch (error) {
            await forgetBuilder(name);
            if (!before || reason) await removeContainer(endpoint, plan.container);
            throw error;
        }
    });
    return ask(node, plan);
}

async function verify({ endpoint }: DockerNode, plan: DockerBuilderPlan): Promise<void> {
    const container = await findContainer(endpoint, plan.container);
    const reason = container ? limitsOf(container, plan.options) : "it is gone again";
    if (reason)
        throw new Error(
            `${endpoint}: ${plan.container} is not what was asked for: ${reason}; ` +
                "see the warnings of `docker info` there: its kernel has to know the limit, or leave it out",
        );
}

/** Registers a builder on a node whose container is as it should be. */
export async function pointAtDocker(node: DockerNode, name: string, platform: string): Promise<void> {
    if (isRegistered(node, name, platform)) return;
    await registerDockerBuilder(dockerRegistration(node, name, platform));
}

/** Whether buildx's store has the builder as it should be. */
export function isRegistered(node: DockerNode, name: string, platform: string): boolean {
    const { instance, options, files } = planOf(node.name, node.docker);
    const entry = readDockerBuilder(name);
    return (
        entry?.name === instance &&
        entry.endpoint === node.endpoint &&
        entry.platforms.length === 1 &&
        entry.platforms.every((one) => Platform.parse(one).equals(Platform.parse(platform))) &&
        isDeepStrictEqual(entry.driverOptions, options) &&
        // Names of the files, under a folder for each registry (buildx: util/confutil/container.go).
        ["buildkitd.toml", ...files.map(({ name: file }) => file)].every((file) =>
            entry.files.some((path) => path === file || path.endsWith(`/${file}`)),
        )
    );
}

/** Removes container and cache where the settings say so, once no builder of this machine's store is on them. */
export async function leaveDocker(node: DockerNode): Promise<void> {
    if (!node.docker.remove) return;
    const { instance, container, volume } = planOf(node.name, node.docker);
    await exclusively(node, planOf(node.name, node.docker), async () => {
        if (dockerBuildersOn(node.endpoint, instance).length > 0) return;
        await removeContainer(node.endpoint, container);
        await removeVolume(node.endpoint, volume);
    });
}
