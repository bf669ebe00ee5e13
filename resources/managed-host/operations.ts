import { createHash } from "node:crypto";
import type { HostFacts, ManagedHostPlan, ManagedSecrets, ManagedSettings } from "../../core/host";
import { driftOf, hostNames, planManagedHost } from "../../core/host";
import type { SshTarget } from "../../core/ssh-target";
import { progress, whileWorking } from "../../drivers/progress";
import { isUnreached, leaveHost, type SshSession, withSsh } from "../../drivers/ssh";
import { changedInputs, defineOperations, isUnknown } from "../operations";
import { apply, look, uninstall } from "./machine";
import { refuse } from "./refusals";

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

const planOf = ({ settings, tls, registries }: Inputs) => planManagedHost(settings, { tls, registries });
const nameOf = ({ settings, ssh }: Inputs) => `${settings.node} (${ssh.host})`;
const installationOf = (plan: ManagedHostPlan) => createHash("sha256").update(plan.manifest).digest("hex");

/** Where a builder is. Two ports of one address are two machines behind a gateway; another instance is another builder. */
const placeOf = ({ host, ssh, settings }: Inputs) => `${host}:${ssh.port ?? 22} ${settings.instance ?? ""}`;

/** Takes the builder off a machine, once its builds have ended. */
async function remove(known: State, onReached?: () => void): Promise<void> {
    const minutes = Math.ceil(known.settings.drainTimeoutSeconds / 60) + 10;
    const work = (session: SshSession) => {
        onReached?.();
        return uninstall(session, hostNames(known.settings), known.owner, minutes * 60_000);
    };
    await whileWorking(
        () => `removing the builder from ${nameOf(known)}`,
        () => withSsh(known.ssh, work),
    );
}

/** As `remove`, from a machine that is left. */
const leave = (known: State) =>
    leaveHost(`builder host ${nameOf(known)} could not be reached; its builder is left there`, (reached) =>
        remove(known, reached),
    );

/** Sets the machine up as it was found; one that somebody else changes in between is looked at again, and may be refused then. */
async function takeOver(session: SshSession, plan: ManagedHostPlan, inputs: Inputs): Promise<HostFacts> {
    const minutes = Math.ceil(inputs.settings.drainTimeoutSeconds / 60) + 35;
    for (let tries = 1; tries <= 10; tries++) {
        const facts = await look(session, plan);
        refuse(nameOf(inputs), inputs, facts);
        if (await apply(session, plan, inputs.owner, facts.claims, minutes * 60_000)) return facts;
    }
    throw new Error(
        `${nameOf(inputs)} has other builders that were changed each time it was looked at; nothing was changed\nnext: run again, when those changes have ended`,
    );
}

/** Makes the machine what it is to be, whatever it is; a run that was killed left it somewhere between. */
async function install(inputs: Inputs): Promise<State> {
    const plan = planOf(inputs);
    const work = async (session: SshSession) => {
        const { system } = await takeOver(session, plan, inputs);
        const left = driftOf(plan, await look(session, plan));
        if (left.length > 0)
            throw new Error(
                [`${nameOf(inputs)} is not what it was made:`, ...left.map((line) => `  ${line}`)].join("\n"),
            );
        return { ...inputs, system, installation: installationOf(plan) };
    };
    return whileWorking(
        () => `setting up ${nameOf(inputs)}`,
        () => withSsh(inputs.ssh, work),
    );
}

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
        if (placeOf(known) !== placeOf(inputs)) await leave(known);
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
