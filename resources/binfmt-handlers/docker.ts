import { sha256 } from "../../core/digest";
import { type EmulatedArchitecture, factsOf } from "../../core/emulation/binfmt";
import { handlerOf, type InstallerStatus, isOurs, planInstaller } from "../../core/emulation/installer";
import { emulatedOf, refuseNative } from "../../core/emulation/plan";
import { PROBE_EXIT_CODE } from "../../core/emulation/probe";
import {
    dockerIdentity,
    forgetUser,
    handlerUsers,
    type Installer,
    imageEnvironment,
    install,
    installerStatus,
    pullInstaller,
    runProbe,
    uninstall,
} from "../../drivers/docker-emulation";
import { dockerHostPlatform } from "../../drivers/docker-host";
import type { HandlerState, Handlers, Inputs, Place } from "./place";

/** A host whose Docker daemon runs the installer in a privileged container. */
export const dockerPlace = (installer: Installer): Place => ({
    async identify() {
        const machine = await dockerIdentity(installer.endpoint);
        return { machine, run: machine };
    },
    async isUsedBy(owner, handlers) {
        const users = await handlerUsers(installer.endpoint);
        return handlers.every((handler) => users.some((one) => one.owner === owner && one.handler === handler));
    },
    put: (inputs) => put(installer, inputs),
    isInPlace: (inputs, known) => isInPlace(installer, inputs, known),
    release: (owner, handlers) => release(installer, owner, handlers),
});

async function put(installer: Installer, inputs: Inputs): Promise<Handlers> {
    const { endpoint } = installer;
    const itself = await dockerHostPlatform(endpoint);
    for (const platform of inputs.platforms) refused(endpoint, () => refuseNative(platform, itself));
    await pullInstaller(installer);
    const status = await installerStatus(installer);
    const users = await handlerUsers(endpoint);
    const handlers: Handlers = {};
    const fresh: string[] = [];
    try {
        for (const platform of inputs.platforms) {
            const architecture = emulatedOf(platform);
            const theirs = await otherHandler(installer, architecture, status, inputs.owner);
            if (theirs) {
                handlers[platform] = theirs;
                continue;
            }
            const plan = planInstaller(installer.image, architecture, (await imageEnvironment(installer)) ?? []);
            const { handler, interpreter } = plan;
            const isUsed = users.some((one) => one.owner === inputs.owner && one.handler === handler);
            if (!isUsed) fresh.push(handler);
            if (!isUsed || !status.emulators.includes(handler)) {
                // What a run that was killed has left may be half a container.
                if (isUsed) await forgetUser(endpoint, { handler, owner: inputs.owner });
                await install(installer, architecture, plan, inputs.owner);
            }
            await prove(installer, platform, handler, inputs.owner);
            handlers[platform] = { handler, interpreter, ours: true };
        }
    } catch (error) {
        await release(installer, inputs.owner, fresh);
        throw error;
    }
    return handlers;
}

function refused(endpoint: string, check: () => void): void {
    try {
        check();
    } catch (error) {
        throw new Error(`${endpoint}: ${(error as Error).message}`);
    }
}

/** Somebody else's handler, where the host has one that containers can use; the installer tells no more of it than its name. */
async function otherHandler(
    { endpoint }: Installer,
    architecture: EmulatedArchitecture,
    status: InstallerStatus,
    owner: string,
): Promise<HandlerState | undefined> {
    // With one of ours, who runs the program can't be told from here.
    if (status.emulators.some((name) => isOurs(name, architecture)) || !isRun(status, architecture)) return undefined;
    const { exitCode } = await runProbe(endpoint, architecture, tagOf(owner, architecture));
    if (exitCode !== PROBE_EXIT_CODE) return undefined;
    return { handler: nameOf(status, architecture), interpreter: "", ours: false };
}

const isRun = ({ supported }: InstallerStatus, architecture: EmulatedArchitecture) =>
    supported.some((platform) => platform.split("/")[1] === architecture);

/** What a handler is called by everybody who registers one: `qemu-aarch64`. */
const nameOf = ({ emulators }: InstallerStatus, architecture: EmulatedArchitecture) =>
    emulators.find((name) => name.endsWith(`-${factsOf(architecture).machine}`)) ?? "another one";

/** Nobody else's at the same time. */
const tagOf = (owner: string, architecture: EmulatedArchitecture) =>
    `${sha256(Buffer.from(owner)).slice("sha256:".length, "sha256:".length + 16)}-${architecture}`;

/** @throws Error where a program of the platform, alone in its container, does not run. */
async function prove({ endpoint, image }: Installer, platform: string, handler: string, owner: string): Promise<void> {
    const architecture = emulatedOf(platform);
    const { exitCode, said } = await runProbe(endpoint, architecture, tagOf(owner, architecture));
    if (exitCode === PROBE_EXIT_CODE) return;
    throw new Error(
        `${endpoint}: a program of ${platform} does not run under ${handler}: it ended with ${exitCode}, ${said}\n` +
            `next: see that ${image} has a static emulator for this host, and that the host itself has binfmt_misc mounted`,
    );
}

async function isInPlace(installer: Installer, inputs: Inputs, known: Handlers): Promise<boolean> {
    // Without the image nothing can be seen, and a preview pulls none.
    if (!(await imageEnvironment(installer))) return false;
    const status = await installerStatus(installer);
    const users = await handlerUsers(installer.endpoint);
    return inputs.platforms.every((platform) => {
        const before = known[platform];
        const architecture = emulatedOf(platform);
        if (!before?.ours) return before !== undefined && isRun(status, architecture);
        const { handler } = before;
        return (
            handler === handlerOf(installer.image, architecture) &&
            status.emulators.includes(handler) &&
            users.some((one) => one.handler === handler && one.owner === inputs.owner)
        );
    });
}

async function release(installer: Installer, owner: string, handlers: readonly string[]): Promise<void> {
    for (const handler of new Set(handlers)) {
        const users = await handlerUsers(installer.endpoint);
        if (!users.some((one) => one.handler === handler && one.owner !== owner)) {
            await pullInstaller(installer);
            await uninstall(installer, handler);
        }
        await forgetUser(installer.endpoint, { handler, owner });
    }
}
