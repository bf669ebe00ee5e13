import { isDeepStrictEqual } from "node:util";
import { withHost } from "../../drivers/host-session";
import { isUnreached, leaveHost } from "../../drivers/ssh";
import { changedInputs, defineOperations, isUnknown } from "../operations";
import { dockerPlace } from "./docker";
import { hostPlace } from "./host";
import type { Handlers, Inputs, Place } from "./place";

export type { Inputs } from "./place";

interface State extends Inputs {
    handlers: Handlers;
    /** What the host was known by; nothing where it has no such thing, or the state is an older one. */
    machine?: string;
}

type Address = Pick<Inputs, "ssh" | "docker">;

const withPlace = <T>({ ssh, docker }: Address, use: (place: Place) => Promise<T>): Promise<T> =>
    docker ? use(dockerPlace(docker)) : withHost(ssh, (session) => use(hostPlace(session)));

const addressOf = ({ ssh, docker }: Address) => docker?.endpoint ?? (ssh ? [ssh.host, ssh.port ?? 22] : "here");
const nameOf = ({ ssh, docker }: Address) => docker?.endpoint ?? ssh?.host ?? "this machine";
const oursOf = (handlers: Handlers) => Object.values(handlers).flatMap(({ handler, ours }) => (ours ? [handler] : []));
const idOf = ({ owner, ...address }: Inputs) => `${address.ssh || address.docker ? `${nameOf(address)}/` : ""}${owner}`;

/** Whether a first question failed because nobody is there: OpenSSH's own exit code; Docker has none for it. */
const isAway = ({ docker }: Address, error: unknown): error is Error =>
    docker ? error instanceof Error : isUnreached(error);

async function put(place: Place, inputs: Inputs): Promise<State> {
    const handlers = await place.put(inputs);
    const { machine } = await place.identify();
    return { ...inputs, handlers, ...(machine === undefined ? {} : { machine }) };
}

/**
 * Whether the host that the state tells of is the one that is reached now, under another name or port perhaps. A copy of its disk
 * may say the same of itself, so our name has to be on its handlers, too.
 */
async function isSameHost(known: State, inputs: Inputs, place: Place): Promise<boolean> {
    if (isDeepStrictEqual(addressOf(known), addressOf(inputs))) return true;
    if (!known.docker !== !inputs.docker) return false;
    const here = await place.identify();
    if (here.machine !== undefined && known.machine === here.machine)
        return place.isUsedBy(known.owner, oursOf(known.handlers));
    // An older state says nothing, and a changed board says something else: the old address may still lead to it.
    try {
        return isDeepStrictEqual(await withPlace(known, (old) => old.identify()), here);
    } catch (error) {
        if (isAway(known, error)) return false;
        throw error;
    }
}

/** Takes our name off the handlers of a host that is left. */
const leave = (known: State) =>
    leaveHost(
        `${nameOf(known)} could not be reached; its emulators are left there`,
        (reached) =>
            withPlace(known, async (place) => {
                if (known.docker) await place.identify();
                reached();
                await place.release(known.owner, oursOf(known.handlers));
            }),
        (error) => isAway(known, error),
    );

export const operations = defineOperations<Inputs, State>({
    replaceOn: ["owner"],
    async create(inputs) {
        return { id: idOf(inputs), outs: await withPlace(inputs, (place) => put(place, inputs)) };
    },
    async changes(known, inputs) {
        // No host said any more is this machine: a change, too.
        const changed = changedInputs(known, { ssh: undefined, docker: undefined, ...inputs });
        if (changed.length > 0 || isUnknown(inputs)) return changed;
        const isInPlace = await withPlace(inputs, (place) => place.isInPlace(inputs, known.handlers));
        return isInPlace ? [] : ["handlers"];
    },
    async update(known, inputs) {
        return withPlace(inputs, async (place) => {
            const isSame = await isSameHost(known, inputs, place);
            const outs = await put(place, inputs);
            if (isSame) {
                const used = oursOf(outs.handlers);
                const left = oursOf(known.handlers).filter((handler) => !used.includes(handler));
                // By today's way in.
                await place.release(known.owner, left);
            } else await leave(known);
            return outs;
        });
    },
    async delete(known) {
        await withPlace(known, (place) => place.release(known.owner, oursOf(known.handlers)));
    },
});
