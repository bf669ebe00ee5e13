import { emulatedOf, type HandlerPlan, parseHostEmulation, planHandler } from "../../core/emulation/plan";
import { PROBE_EXIT_CODE, probeProgram } from "../../core/emulation/probe";
import { emulationScript } from "../../core/emulation/scripts";
import type { HostSession } from "../../drivers/host-session";
import type { Handlers, Inputs, Place } from "./place";

const NEXT = "the host needs bash and root's rights (user root, or sudo without a password)";

/** A host on which scripts run as root: another one over SSH, or this one. */
export const hostPlace = (session: HostSession): Place => ({
    async identify() {
        const { identity, boot } = await look(session);
        return { ...(identity === undefined ? {} : { machine: identity }), run: boot };
    },
    async isUsedBy(owner, handlers) {
        const { users } = await look(session);
        return handlers.every((handler) => users.get(handler)?.includes(owner));
    },
    put: (inputs) => put(session, inputs),
    async isInPlace(inputs, known) {
        return (await plans(session, inputs)).every(([platform, plan]) => {
            const before = known[platform];
            return before?.handler === plan.handler && before.ours === plan.ours && (!plan.ours || plan.inPlace);
        });
    },
    release: (owner, handlers) => release(session, owner, handlers),
});

async function look(session: HostSession) {
    const { stdout } = await session.run(emulationScript("look"), {
        what: "looking at the host's emulators",
        next: NEXT,
    });
    return parseHostEmulation(stdout);
}

async function plans(session: HostSession, { platforms, emulators, owner }: Inputs) {
    const host = await look(session);
    return platforms.map((platform): [string, HandlerPlan] => {
        try {
            return [platform, planHandler(host, platform, owner, emulators[platform])];
        } catch (error) {
            throw new Error(`${session.where}: ${(error as Error).message}`);
        }
    });
}

async function put(session: HostSession, inputs: Inputs): Promise<Handlers> {
    const planned = await plans(session, inputs);
    const handlers: Handlers = {};
    const fresh: string[] = [];
    try {
        for (const [platform, plan] of planned) {
            const { handler, interpreter, ours } = plan;
            handlers[platform] = { handler, interpreter, ours };
            if (plan.ours && !plan.inPlace) {
                if (!plan.used) fresh.push(handler);
                await register(session, inputs, platform, plan);
            }
            await prove(session, platform, plan);
        }
    } catch (error) {
        await release(session, inputs.owner, fresh);
        throw error;
    }
    return handlers;
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

async function release(session: HostSession, owner: string, handlers: readonly string[]): Promise<void> {
    for (const name of new Set(handlers))
        await session.run(emulationScript("remove", { HANDLER: name, OWNER: owner }), {
            what: `removing ${name}`,
            next: NEXT,
        });
}
