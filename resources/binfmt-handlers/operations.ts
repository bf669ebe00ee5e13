import {
    type EmulatorSource,
    emulatedOf,
    type HandlerPlan,
    parseHostEmulation,
    planHandler,
} from "../../core/emulation/plan";
import { PROBE_EXIT_CODE, probeProgram } from "../../core/emulation/probe";
import { emulationScript } from "../../core/emulation/scripts";
import type { SshTarget } from "../../core/ssh-target";
import { type HostSession, withHost } from "../../drivers/host-session";
import { changedInputs, defineOperations, isUnknown } from "../operations";

export interface Inputs {
    /** Default: the machine that runs Pulumi. */
    ssh?: SshTarget;
    platforms: string[];
    emulators: Record<string, EmulatorSource>;
    /** Who asks, unique on the host: a file's name. */
    owner: string;
}

interface HandlerState {
    handler: string;
    interpreter: string;
    /** Whether it is one of ours, which goes with its last user. */
    ours: boolean;
}

interface State extends Inputs {
    /** By platform. */
    handlers: Record<string, HandlerState>;
}

const NEXT = "the host needs bash and root's rights (user root, or sudo without a password)";

async function plans(session: HostSession, { platforms, emulators, owner }: Inputs) {
    const { stdout } = await session.run(emulationScript("look"), {
        what: "looking at the host's emulators",
        next: NEXT,
    });
    const host = parseHostEmulation(stdout);
    return platforms.map((platform): [string, HandlerPlan] => {
        try {
            return [platform, planHandler(host, platform, owner, emulators[platform])];
        } catch (error) {
            throw new Error(`${session.where}: ${(error as Error).message}`);
        }
    });
}

/** Registers and proves them all; what it has put there goes again when one of them fails. */
async function put(session: HostSession, inputs: Inputs): Promise<State> {
    const planned = await plans(session, inputs);
    const handlers: State["handlers"] = {};
    const fresh: HandlerState[] = [];
    try {
        for (const [platform, plan] of planned) {
            const { handler, interpreter, ours } = plan;
            handlers[platform] = { handler, interpreter, ours };
            if (plan.ours && !plan.inPlace) {
                if (!plan.used) fresh.push({ handler, interpreter, ours });
                await register(session, inputs, platform, plan);
            }
            await prove(session, platform, plan);
        }
    } catch (error) {
        await release(session, inputs.owner, fresh);
        throw error;
    }
    return { ...inputs, handlers };
}

async function register(
    session: HostSession,
    { owner, emulators }: Inputs,
    platform: string,
    { handler, line, interpreter }: HandlerPlan & { ours: true },
): Promise<void> {
    const source = emulators[platform];
    const fetched = source
        ? { URL: source.url, SHA256: source.sha256, EMULATOR: interpreter }
        : { URL: "", SHA256: "", EMULATOR: "" };
    await session.run(emulationScript("put", { HANDLER: handler, LINE: line, OWNER: owner, ...fetched }), {
        what: `registering ${handler}`,
        next: NEXT,
    });
}

/** @throws Error where a program of the platform, alone in its root file system, does not run. */
async function prove(session: HostSession, platform: string, { handler, interpreter }: HandlerPlan): Promise<void> {
    const { stdout, stderr } = await session.run(emulationScript("probe"), {
        input: probeProgram(emulatedOf(platform)),
        what: `running a program of ${platform}`,
        next: NEXT,
    });
    if (stdout.trim() === `exit ${PROBE_EXIT_CODE}`) return;
    throw new Error(
        `${session.where}: a program of ${platform} does not run under ${handler} (${interpreter}): ` +
            `${[stdout, stderr].map((text) => text.trim()).join(", ")}; is the emulator a static program for this host?`,
    );
}

/** Takes the owner's name off the handlers of ours. */
async function release(session: HostSession, owner: string, handlers: HandlerState[]): Promise<void> {
    const names = new Set(handlers.filter(({ ours }) => ours).map(({ handler }) => handler));
    for (const name of names)
        await session.run(emulationScript("remove", { HANDLER: name, OWNER: owner }), {
            what: `removing ${name}`,
            next: NEXT,
        });
}

const idOf = ({ ssh, owner }: Inputs) => `${ssh ? `${ssh.host}/` : ""}${owner}`;

export const operations = defineOperations<Inputs, State>({
    replaceOn: ["owner"],
    async create(inputs) {
        return { id: idOf(inputs), outs: await withHost(inputs.ssh, (session) => put(session, inputs)) };
    },
    async changes(known, inputs) {
        // No host said any more is this machine: a change, too.
        const changed = changedInputs(known, { ssh: undefined, ...inputs });
        if (changed.length > 0 || isUnknown(inputs)) return changed;
        const planned = await withHost(inputs.ssh, (session) => plans(session, inputs));
        const isSame = planned.every(([platform, plan]) => {
            const before = known.handlers[platform];
            return before?.handler === plan.handler && before.ours === plan.ours && (!plan.ours || plan.inPlace);
        });
        return isSame ? [] : ["handlers"];
    },
    async update(known, inputs) {
        const outs = await withHost(inputs.ssh, (session) => put(session, inputs));
        const isOther = known.ssh?.host !== inputs.ssh?.host || known.ssh?.port !== inputs.ssh?.port;
        const used = new Set(
            isOther ? [] : Object.values(outs.handlers).flatMap((one) => (one.ours ? [one.handler] : [])),
        );
        const left = Object.values(known.handlers).filter(({ handler }) => !used.has(handler));
        // With today's key, where it is the same host.
        await withHost(isOther ? known.ssh : inputs.ssh, (session) => release(session, known.owner, left));
        return outs;
    },
    async delete(known) {
        await withHost(known.ssh, (session) => release(session, known.owner, Object.values(known.handlers)));
    },
});
