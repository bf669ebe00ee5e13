import { isDeepStrictEqual } from "node:util";
import { usesTls } from "../../core/endpoint";
import {
    type ClientCertificate,
    certificateFolder,
    forgetBuilder,
    type Registration,
    readBuilder,
    readCertificate,
    registerBuilder,
} from "../../drivers/buildx";
import { progress } from "../../drivers/progress";
import { changedInputs, defineOperations, isUnknown } from "../operations";
import { type Candidate, choose, rouse, type Wanted } from "./candidates";
import { type DockerNode, isDocker, isRegistered, leaveDocker, pointAtDocker } from "./docker";
import { forgetLimit, limitedEndpoint, openLimit } from "./limit";

export interface Inputs extends Wanted {
    name: string;
    client?: ClientCertificate;
}

interface State extends Inputs {
    nodeName: string;
    endpoint: string;
    emulated: boolean;
    nativePlatform: string;
}

function refusal(inputs: Inputs, examined: Candidate[]): Error {
    const emulating =
        inputs.emulation !== "allow" && examined.some(({ problem }) => problem?.includes("would emulate"));
    const next = emulating
        ? `add a node of this architecture, or write emulation: "allow" where slow, emulated builds are wanted`
        : "start one of these nodes or add another, then run again; nothing was built";
    const lines = examined.map(({ name, endpoint, problem = "would emulate it, and was not tried" }) =>
        problem.startsWith(endpoint) ? `  ${name}: ${problem}` : `  ${name} (${endpoint}): ${problem}`,
    );
    const head =
        examined.length > 0
            ? `no node can build ${inputs.platform}; tried:`
            : `no node of the fleet declares ${inputs.platform}; it has ${inputs.nodes.map((node) => `${node.name} (${node.platforms?.join(", ")})`).join(", ")}`;
    return new Error([head, ...lines, `next: ${next}`].join("\n"));
}

/** Whether buildx's docker-container driver is registered; builds on a node with a limit go through its relay instead. */
const usesDriver = (node: Candidate): node is Candidate & DockerNode => isDocker(node) && node.maxBuilds === undefined;

/** What buildx's store is to say of the chosen node. */
function registrationOf(inputs: Inputs, { endpoint, serverName, maxBuilds }: Candidate): Registration {
    const { name, platform, client } = inputs;
    if (maxBuilds !== undefined) return { name, platform, endpoint: limitedEndpoint(name) };
    return { name, platform, endpoint, ...(usesTls(endpoint) ? { serverName, tls: client } : {}) };
}

/**
 * Registers the best node that can be had: one that sleeps is woken, and where that fails the next one is tried. Takes as
 * long as that takes.
 */
async function register(inputs: Inputs): Promise<State> {
    const { ranked, examined } = await choose(inputs);
    const failed = new Map<string, Candidate>();
    for (const candidate of ranked) {
        const chosen = await rouse(candidate, inputs);
        if (!chosen.info || chosen.problem) {
            failed.set(chosen.name, chosen);
            const others = ranked.length - failed.size;
            if (others > 0) progress(`builder node ${chosen.name}: ${chosen.problem}; trying the next`, true);
            continue;
        }
        await openLimit(inputs.name, chosen, inputs.client, true);
        if (usesDriver(chosen)) await pointAtDocker(chosen, inputs.name, inputs.platform);
        else await registerBuilder(registrationOf(inputs, chosen));
        return {
            ...inputs,
            nodeName: chosen.name,
            endpoint: chosen.endpoint,
            emulated: !chosen.native,
            nativePlatform: chosen.info.nativePlatform,
        };
    }
    throw refusal(
        inputs,
        examined.map((candidate) => failed.get(candidate.name) ?? candidate),
    );
}

/** What the store should say, and does not; every item is something the next update mends. */
function drift(state: State, inputs: Inputs, chosen: Candidate | undefined): string[] {
    // One that sleeps is woken by the update; looking at it must not.
    if (!chosen || chosen.asleep) return ["endpoint"];
    if (usesDriver(chosen)) {
        const moved = chosen.endpoint !== state.endpoint || chosen.name !== state.nodeName;
        return moved || !isRegistered(chosen, inputs.name, inputs.platform) ? ["registration"] : [];
    }
    const wanted = registrationOf(inputs, chosen);
    const entry = readBuilder(inputs.name);
    const differs: string[] = [];
    if (chosen.endpoint !== state.endpoint || chosen.name !== state.nodeName) differs.push("endpoint");
    if (entry?.endpoint !== wanted.endpoint || entry.driverOptions.servername !== wanted.serverName)
        differs.push("registration");
    const paths = Object.entries(entry?.driverOptions ?? {}).filter(([key]) => key !== "servername");
    const folder = certificateFolder(inputs.name);
    if (paths.length !== (wanted.tls ? 3 : 0) || paths.some(([, path]) => !path.startsWith(folder)))
        differs.push("client");
    else if (wanted.tls && !isDeepStrictEqual(readCertificate(inputs.name), wanted.tls)) differs.push("client");
    return differs;
}

export const operations = defineOperations<Inputs, State>({
    replaceOn: ["name"],
    async create(inputs) {
        return { id: inputs.name, outs: await register(inputs) };
    },
    async changes(state, inputs) {
        // A node that came or went is a change only when it changes where this platform is built: see `drift`.
        const changed = changedInputs(state, inputs, ["nodes", "client"]);
        if (changed.length > 0 || isUnknown(inputs)) return changed.length > 0 ? changed : ["nodes"];
        const [first] = (await choose(inputs)).ranked;
        const differs = drift(state, inputs, first);
        // What has to change is opened by the update, and by nobody else.
        if (first && differs.length === 0) await openLimit(inputs.name, first, inputs.client, false);
        return differs;
    },
    async delete(state) {
        await forgetLimit(state.name);
        await forgetBuilder(state.name);
        const node = state.nodes.find(({ name }) => name === state.nodeName);
        if (node && isDocker(node)) await leaveDocker(node);
    },
});
