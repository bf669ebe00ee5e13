import { isDeepStrictEqual } from "node:util";
import {
    type ClientCertificate,
    certificateFolder,
    forgetBuilder,
    readBuilder,
    readCertificate,
    registerBuilder,
} from "../../drivers/buildx";
import { progress } from "../../drivers/progress";
import { changedInputs, defineOperations, isUnknown } from "../operations";
import { type Candidate, choose, rouse, type Wanted } from "./candidates";

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
    const emulating = examined.some((candidate) => candidate.problem?.includes("would emulate"));
    const next = emulating
        ? `add a node of this architecture, or write emulation: "allow" where slow, emulated builds are wanted`
        : "start one of these nodes or add another, then run again; nothing was built";
    const lines = examined.map(({ name, endpoint, problem }) =>
        problem?.startsWith(endpoint) ? `  ${name}: ${problem}` : `  ${name} (${endpoint}): ${problem}`,
    );
    const head =
        examined.length > 0
            ? `no node can build ${inputs.platform}; tried:`
            : `no node of the fleet declares ${inputs.platform}; it has ${inputs.nodes.map((node) => `${node.name} (${node.platforms.join(", ")})`).join(", ")}`;
    return new Error([head, ...lines, `next: ${next}`].join("\n"));
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
        await registerBuilder({
            name: inputs.name,
            platform: inputs.platform,
            endpoint: chosen.endpoint,
            serverName: chosen.serverName,
            tls: inputs.client,
        });
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
    const entry = readBuilder(inputs.name);
    const differs: string[] = [];
    if (chosen.endpoint !== state.endpoint || chosen.name !== state.nodeName) differs.push("endpoint");
    if (entry?.endpoint !== chosen.endpoint || entry.driverOptions.servername !== chosen.serverName)
        differs.push("registration");
    if (inputs.client) {
        const folder = certificateFolder(inputs.name);
        const paths = Object.entries(entry?.driverOptions ?? {}).filter(([key]) => key !== "servername");
        if (!isDeepStrictEqual(readCertificate(inputs.name), inputs.client)) differs.push("client");
        else if (paths.length !== 3 || paths.some(([, path]) => !path.startsWith(folder))) differs.push("client");
    }
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
        const { ranked } = await choose(inputs);
        return drift(state, inputs, ranked[0]);
    },
    async delete(state) {
        await forgetBuilder(state.name);
    },
});
