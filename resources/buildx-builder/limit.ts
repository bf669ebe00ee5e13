import { rmSync } from "node:fs";
import type { LimitedNode } from "../../drivers/admission/connection";
import { AdmissionRelay } from "../../drivers/admission/relay";
import { placesUnsupported } from "../../drivers/admission/slots";
import { listenAt, type Place, relayPath } from "../../drivers/admission/socket";
import type { BuildkitInfo } from "../../drivers/buildkit";
import type { ClientCertificate } from "../../drivers/buildx";
import { dialDocker, isDocker } from "./docker";
import type { Node } from "./machine";

const MOST_BUILDS = 1_000;

/** Why a node can't have the limit that it was given, or nothing where it can or has none. */
export function limitProblem({ maxBuilds }: Node, { version }: BuildkitInfo): string | undefined {
    if (maxBuilds === undefined) return undefined;
    if (!Number.isInteger(maxBuilds) || maxBuilds < 1 || maxBuilds > MOST_BUILDS)
        return `its maxBuilds is ${maxBuilds}; write a whole number from 1 to ${MOST_BUILDS}, or leave it out for no limit`;
    return placesUnsupported(version);
}

/** Where buildx goes for a builder on a node with a limit. */
export const limitedEndpoint = (builder: string) => `unix://${relayPath(builder)}`;

interface Open {
    relay: AdmissionRelay;
    place: Place;
}

/** One relay for each builder, as long as this process lives: it runs dynamic resources, and so lives as long as the update. */
const relays = new Map<string, Promise<Open>>();

async function open(builder: string, node: LimitedNode, replace: boolean): Promise<Open> {
    const relay = new AdmissionRelay(builder, node);
    return { relay, place: await listenAt(relay.server, relayPath(builder), replace) };
}

/**
 * Opens the relay of a builder on a node with a limit, or turns it to another node: builds that run go on, the next goes there.
 * Does nothing for a node without.
 *
 * @param replace takes the builder's socket from another process, which was to serve another registration; otherwise it is
 *   taken over when that one ends.
 */
export async function openLimit(
    builder: string,
    chosen: Node,
    client: ClientCertificate | undefined,
    replace: boolean,
): Promise<void> {
    const { name, endpoint, serverName, maxBuilds } = chosen;
    if (maxBuilds === undefined) return closeLimit(builder);
    const command = isDocker(chosen) ? dialDocker(chosen) : undefined;
    const node = { name, endpoint, command, maxBuilds, ...(client ? { tls: { ...client, serverName } } : {}) };
    let opening = relays.get(builder);
    if (!opening) {
        opening = open(builder, node, replace);
        relays.set(builder, opening);
        opening.catch(() => relays.delete(builder));
    }
    (await opening).relay.node = node;
}

/** Closes the relay of a builder that has one. */
async function closeLimit(builder: string): Promise<void> {
    const opening = relays.get(builder);
    if (!opening) return;
    relays.delete(builder);
    const { relay, place } = await opening;
    place.leave();
    await relay.close();
}

/** Takes away what is left of a builder's relay, in this process and on disk. */
export async function forgetLimit(builder: string): Promise<void> {
    await closeLimit(builder);
    rmSync(relayPath(builder), { force: true });
}
