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
    replaceOn: ["host", "owner"],
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
            if (!(error instanceof CommandError) || error.exitCode !== 255) throw error;
            progress(
                `builder host ${nameOf(inputs)} could not be looked at, and is left as it is: ${error.message}`,
                true,
            );
            return [];
        }
    },
    async update(_known, inputs) {
        return install(inputs);
    },
    async delete(known) {
        const minutes = Math.ceil(known.settings.drainTimeoutSeconds / 60) + 10;
        await whileWorking(
            () => `removing the builder from ${nameOf(known)}`,
            () => withSsh(known.ssh, (session) => uninstall(session, known.owner, minutes * 60_000)),
        );
    },
});
