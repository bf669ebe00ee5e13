import { createHash } from "node:crypto";
import type { ManagedHostPlan, ManagedSecrets, ManagedSettings } from "../../core/host";
import { driftOf, planManagedHost } from "../../core/host";
import type { SshTarget } from "../../core/ssh-target";
import { CommandError } from "../../drivers/process";
import { progress, whileWorking } from "../../drivers/progress";
import { type SshSession, withSsh } from "../../drivers/ssh";
import { changedInputs, defineOperations, isUnknown } from "../operations";
import { apply, look, uninstall } from "./machine";

export interface Inputs extends ManagedSecrets {
    ssh: SshTarget;
    /** Of `ssh`: another host is another machine. */
    host: string;
    /** Who manages the machine: nobody else's is touched. */
    owner: string;
    settings: ManagedSettings;
}

interface State extends Inputs {
    /** `Debian GNU/Linux 12 (bookworm)` */
    system: string;
    /** Of all that is on the machine: another one is another installation. */
    installation: string;
}

const MACHINES = { amd64: "x86_64", arm64: "aarch64" } as const;

const planOf = ({ settings, tls, registries }: Inputs) => planManagedHost(settings, { tls, registries });
const nameOf = ({ settings, ssh }: Inputs) => `${settings.node} (${ssh.host})`;
const installationOf = (plan: ManagedHostPlan) => createHash("sha256").update(plan.manifest).digest("hex");

/** Two ports of one address are two machines behind a gateway. */
const machineOf = ({ host, ssh }: Inputs) => `${host}:${ssh.port ?? 22}`;

/** Takes the builder off a machine, once its builds have ended. */
async function remove(known: State, onReached?: () => void): Promise<void> {
    const minutes = Math.ceil(known.settings.drainTimeoutSeconds / 60) + 10;
    const work = (session: SshSession) => {
        onReached?.();
        return uninstall(session, known.owner, minutes * 60_000);
    };
    await whileWorking(
        () => `removing the builder from ${nameOf(known)}`,
        () => withSsh(known.ssh, work),
    );
}

/** As `remove`; a machine that can't be reached is told, and left as it is: a dead one would hold up its successor for ever. */
async function leave(known: State): Promise<void> {
    let reached = false;
    try {
        await remove(known, () => {
            reached = true;
        });
    } catch (error) {
        // A connection that broke later is tried again by the next update.
        if (reached || !isUnreached(error)) throw error;
        progress(
            `builder host ${nameOf(known)} could not be reached; its builder is left there: ${error.message}`,
            true,
        );
    }
}

/** OpenSSH's own exit code. */
const isUnreached = (error: unknown): error is CommandError => error instanceof CommandError && error.exitCode === 255;

/** Makes the machine what it is to be, whatever it is; a run that was killed left it somewhere between. */
async function install(inputs: Inputs): Promise<State> {
    const plan = planOf(inputs);
    const work = async (session: SshSession) => {
        const facts = await look(session, plan);
        refuse(inputs, facts);
        const minutes = Math.ceil(inputs.settings.drainTimeoutSeconds / 60) + 35;
        await apply(session, plan, inputs.owner, minutes * 60_000);
        const left = driftOf(plan, await look(session, plan));
        if (left.length > 0)
            throw new Error(
                [`${nameOf(inputs)} is not what it was made:`, ...left.map((line) => `  ${line}`)].join("\n"),
            );
        return { ...inputs, system: facts.system, installation: installationOf(plan) };
    };
    return whileWorking(
        () => `setting up ${nameOf(inputs)}`,
        () => withSsh(inputs.ssh, work),
    );
}

/** @throws Error for a machine that must not, or can't, be made a builder of this fleet; nothing has been changed then. */
function refuse(inputs: Inputs, { machine, owner, foreign, missing, system }: Awaited<ReturnType<typeof look>>): void {
    const { architecture } = inputs.settings;
    const problem = (text: string, next: string) => new Error(`${nameOf(inputs)} ${text}\nnext: ${next}`);
    if (machine !== MACHINES[architecture]) {
        throw problem(
            `is ${machine}, and is declared as ${architecture}`,
            "correct architecture, or the host's address",
        );
    }
    if (missing.length > 0) {
        const packages = [...new Set(missing.map((command) => PACKAGES[command] ?? command))].join(" ");
        const [manager] = /debian|ubuntu/i.test(system) ? ["apt-get install"] : ["dnf install"];
        throw problem(`has no ${missing.join(", ")}; nothing was changed`, `on the host: ${manager} ${packages}`);
    }
    if (owner !== undefined && owner !== inputs.owner) {
        throw problem(
            `is managed by ${owner}; nothing was changed`,
            "delete it there first; two that manage one machine undo each other's work",
        );
    }
    if (owner === undefined && foreign.length > 0) {
        throw problem(
            `has a BuildKit of somebody else's: ${foreign.join(", ")}; nothing was changed`,
            "remove that one, or use the host as it is in an ExternalFleet",
        );
    }
}

/** Where commands come from, when the package has another name; the same on Debian and on Red Hat's but for a few. */
const PACKAGES: Record<string, string> = {
    ss: "iproute2",
    flock: "util-linux",
    awk: "gawk",
    cmp: "diffutils",
    sha256sum: "coreutils",
    "systemd-run": "systemd",
    systemctl: "systemd",
};

export const operations = defineOperations<Inputs, State>({
    // Another host is no reason: `delete` does not know whether there is a successor, and never gives a machine up by itself.
    replaceOn: ["owner"],
    async create(inputs) {
        return { id: `${inputs.owner}`, outs: await install(inputs) };
    },
    async changes(known, inputs) {
        const changed = changedInputs(known, inputs);
        if (changed.length > 0 || isUnknown(inputs)) return changed;
        const plan = planOf(inputs);
        // Another version of this library has other files for the same settings.
        if (installationOf(plan) !== known.installation) return ["settings"];
        try {
            const drift = driftOf(plan, await withSsh(inputs.ssh, (session) => look(session, plan)));
            for (const line of drift) progress(`builder host ${nameOf(inputs)}: ${line}`, true);
            return drift.length > 0 ? ["installation"] : [];
        } catch (error) {
            // Others build while this one is away: whether it answers is asked again before each build.
            if (!isUnreached(error)) throw error;
            progress(
                `builder host ${nameOf(inputs)} could not be looked at, and is left as it is: ${error.message}`,
                true,
            );
            return [];
        }
    },
    async update(known, inputs) {
        // First: one machine may have two names.
        if (machineOf(known) !== machineOf(inputs)) await leave(known);
        return install(inputs);
    },
    async delete(known) {
        try {
            await remove(known);
        } catch (error) {
            if (!isUnreached(error)) throw error;
            const next = "where the machine is gone for good: pulumi state delete, with this resource's URN";
            throw new Error(`${error.message}\nnext: ${next}`);
        }
    },
});
