import { mkdirSync, symlinkSync, writeFileSync } from "node:fs";
import { basename, dirname, join } from "node:path";
import type { EmulatedArchitecture } from "../core/emulation/binfmt";
import { type InstallerPlan, type InstallerStatus, parseInstallerStatus } from "../core/emulation/installer";
import { probeProgram } from "../core/emulation/probe";
import { imageAdvice } from "./docker-builder";
import { docker, isMissing, removeContainer } from "./docker-host";
import { CommandError, type RunOptions, run } from "./process";
import { inTemporaryFolder } from "./temporary-folder";

const HANDLER_LABEL = "buildfleet.emulation";
const OWNER_LABEL = "buildfleet.emulation.owner";
const PULL_MS = 600_000;
const RUN_MS = 60_000;

/** A user of a handler: a container that was made to put it there, and stays for its name. */
export interface HandlerUser {
    handler: string;
    owner: string;
}

/** The installer's image on a Docker daemon. */
export interface Installer {
    /** The daemon's: `unix:///var/run/docker.sock`, `ssh://user@host`. */
    endpoint: string;
    /** With a digest. */
    image: string;
}

const containerOf = ({ handler, owner }: HandlerUser) => `buildfleet-emulation.${handler}.${owner}`;
/** All rights, for binfmt_misc is the kernel's; and no network, for nothing is fetched. */
const RIGHTS = ["--privileged", "--network", "none"];

/** The daemon's own id, which it keeps under whatever name it is reached. @throws Error where it does not answer. */
export async function dockerIdentity(endpoint: string): Promise<string> {
    const { stdout } = await docker(endpoint, ["info", "--format", "{{.ID}}"]);
    // An old CLI ends well where the daemon did not answer.
    if (!stdout.trim()) throw new Error(`${endpoint}: the Docker daemon does not answer`);
    return stdout.trim();
}

/** The environment that the image sets, `NAME=value`; nothing where it is not there and would have to be pulled. */
export async function imageEnvironment({ endpoint, image }: Installer): Promise<string[] | undefined> {
    try {
        const { stdout } = await docker(endpoint, ["image", "inspect", "--format", "{{json .Config.Env}}", image]);
        return JSON.parse(stdout) ?? [];
    } catch (error) {
        if (isMissing(error, "image")) return undefined;
        throw error;
    }
}

/** Has the daemon pull the image where it is not there, with this machine's credentials for the registry. */
export async function pullInstaller(installer: Installer): Promise<void> {
    if (await imageEnvironment(installer)) return;
    const { endpoint, image } = installer;
    try {
        await docker(endpoint, ["pull", "--quiet", image], { timeoutMs: PULL_MS });
    } catch (error) {
        const next = error instanceof CommandError ? imageAdvice(error.lastLines.join("\n"), image) : undefined;
        throw next ? new Error(`${(error as Error).message}\nnext: ${next}`, { cause: error }) : error;
    }
}

/** Who emulates what on the host, as the installer sees it; nothing is changed, and nothing is pulled. */
export const installerStatus = (installer: Installer) => runInstaller(installer, []);

/** Takes a handler away. @throws Error where it is still there. */
export async function uninstall(installer: Installer, handler: string): Promise<void> {
    const { emulators } = await runInstaller(installer, ["--uninstall", handler]);
    if (emulators.includes(handler)) throw new Error(`${installer.endpoint}: ${handler} can't be taken away`);
}

async function runInstaller({ endpoint, image }: Installer, args: string[]): Promise<InstallerStatus> {
    const command = ["run", "--rm", "--pull", "never", ...RIGHTS, image, ...args];
    return statusOf(endpoint, image, await docker(endpoint, command, { timeoutMs: RUN_MS }));
}

function statusOf(endpoint: string, image: string, { stdout, stderr }: { stdout: string; stderr: string }) {
    try {
        return parseInstallerStatus(stdout);
    } catch (error) {
        const said = stderr.split("\n").filter((line) => line.trim());
        const next =
            "docker.image is to be tonistiigi/binfmt's, or one whose program takes the same --install and --uninstall";
        const lines = said.slice(-10).map((line) => `  | ${line}`);
        throw new Error([`${image} on ${endpoint}: ${(error as Error).message}`, ...lines, `next: ${next}`].join("\n"));
    }
}

/** All users of handlers that this library has put on the host, of all programs. */
export async function handlerUsers(endpoint: string): Promise<HandlerUser[]> {
    const format = `{{.Label "${HANDLER_LABEL}"}} {{.Label "${OWNER_LABEL}"}}`;
    const args = ["ps", "--all", "--filter", `label=${HANDLER_LABEL}`, "--format", format];
    const { stdout } = await docker(endpoint, args);
    return stdout
        .split("\n")
        .filter((line) => line !== "")
        .map((line) => {
            const [handler = "", owner = ""] = line.split(" ");
            return { handler, owner };
        });
}

/**
 * Registers an architecture's handler in the name of a user that has none yet. The container is there before the handler is, so a
 * run that is killed in between leaves a name, which the next one knows as its own.
 *
 * @throws Error with the installer's words where the handler is not there afterwards.
 */
export async function install(
    installer: Installer,
    architecture: EmulatedArchitecture,
    plan: InstallerPlan,
    owner: string,
): Promise<void> {
    const { endpoint, image } = installer;
    const container = containerOf({ handler: plan.handler, owner });
    const labels = { [HANDLER_LABEL]: plan.handler, [OWNER_LABEL]: owner };
    const create = [
        ...["create", "--pull", "never", "--name", container, ...RIGHTS],
        ...Object.entries(labels).flatMap(([name, value]) => ["--label", `${name}=${value}`]),
        ...Object.entries(plan.environment).flatMap(([name, value]) => ["--env", `${name}=${value}`]),
    ];
    await docker(endpoint, [...create, image, "--install", architecture], { timeoutMs: RUN_MS });
    await inTemporaryFolder(async (folder) => {
        symlinkSync(plan.interpreter, join(folder, basename(plan.link)));
        const target = `${container}:${dirname(plan.link)}/`;
        await docker(endpoint, ["cp", join(folder, basename(plan.link)), target], { timeoutMs: RUN_MS });
    });
    const start = () => docker(endpoint, ["start", "--attach", container], { timeoutMs: RUN_MS });
    let said = await start();
    if (!statusOf(endpoint, image, said).emulators.includes(plan.handler)) {
        // One that somebody has switched off is in the way of its own name.
        await uninstall(installer, plan.handler);
        said = await start();
    }
    if (statusOf(endpoint, image, said).emulators.includes(plan.handler)) return;
    const lines = said.stderr.split("\n").filter((line) => line.trim());
    throw new Error(
        [`${endpoint}: ${image} did not register ${plan.handler}`, ...lines.map((line) => `  | ${line}`)].join("\n"),
    );
}

/** Takes a user's name off a handler, which stays. One that is gone is no error. */
export const forgetUser = (endpoint: string, user: HandlerUser) => removeContainer(endpoint, containerOf(user));

/**
 * Runs a program of an architecture in a container that has nothing else: only a handler that containers can use (flag F) will do.
 *
 * @param tag of the image that is made for it and removed; unique among those who ask at the same time
 * @returns its exit code, and what Docker said
 */
export async function runProbe(endpoint: string, architecture: EmulatedArchitecture, tag: string) {
    const image = `buildfleet-probe:${tag}`;
    return inTemporaryFolder(async (folder) => {
        const root = join(folder, "root");
        mkdirSync(root);
        writeFileSync(join(root, "probe"), probeProgram(architecture), { mode: 0o755 });
        const archive = join(folder, "probe.tar");
        await run("tar", ["--create", "--file", archive, "--directory", root, "probe"], { where: folder });
        await docker(endpoint, ["import", archive, image], { timeoutMs: RUN_MS });
        try {
            const options: RunOptions = { timeoutMs: RUN_MS, okExitCodes: Array.from({ length: 256 }, (_, i) => i) };
            const args = ["run", "--rm", "--pull", "never", "--network", "none", image, "/probe"];
            const { exitCode, stderr } = await docker(endpoint, args, options);
            return { exitCode, said: stderr.trim() };
        } finally {
            await docker(endpoint, ["image", "rm", "--force", image], { timeoutMs: RUN_MS });
        }
    });
}
