import { isDeepStrictEqual } from "node:util";
import { place } from "../../core/placement";
import { Platform } from "../../core/platform";
import { type BuildkitEndpoint, BuildkitError, type BuildkitInfo, probe } from "../../drivers/buildkit";
import {
    type ClientCertificate,
    certificateFolder,
    forgetBuilder,
    readBuilder,
    readCertificate,
    registerBuilder,
} from "../../drivers/buildx";
import { changedInputs, defineOperations, isUnknown } from "../operations";

interface Node {
    name: string;
    endpoint: string;
    platforms: string[];
    serverName?: string;
}

export interface Inputs {
    name: string;
    platform: string;
    emulation: "refuse" | "allow";
    placementKey: string;
    nodes: Node[];
    client?: ClientCertificate;
}

interface State extends Inputs {
    nodeName: string;
    endpoint: string;
    emulated: boolean;
    nativePlatform: string;
}

interface Candidate extends Node {
    info?: BuildkitInfo;
    native: boolean;
    problem?: string;
}

const SILENCE_MS = 5_000;
/** Nodes that let a probe wait to its end, and when: the diff, the update after it and the next image wait for them once. */
const silent = new Map<string, { at: number; error: BuildkitError }>();

async function ask(node: BuildkitEndpoint): Promise<BuildkitInfo> {
    const before = silent.get(node.endpoint);
    if (before && Date.now() - before.at < SILENCE_MS) throw before.error;
    try {
        return await probe(node);
    } catch (error) {
        if (error instanceof BuildkitError && error.silent) silent.set(node.endpoint, { at: Date.now(), error });
        throw error;
    }
}

async function examine(node: Node, inputs: Inputs): Promise<Candidate> {
    const platform = Platform.parse(inputs.platform);
    const tls = inputs.client ? { ...inputs.client, serverName: node.serverName } : undefined;
    try {
        const info = await ask({ endpoint: node.endpoint, tls });
        if (!info.platforms.some((claimed) => Platform.parse(claimed).equals(platform)))
            return {
                ...node,
                info,
                native: false,
                problem: `is ${info.nativePlatform} and can't run ${inputs.platform}`,
            };
        // The daemon claims the variant; what is left to tell is its own architecture from an emulated one.
        const { os, architecture } = platform;
        const native = Platform.parse(`${os}/${architecture}`).runsNativelyOn(Platform.parse(info.nativePlatform));
        if (!native && inputs.emulation !== "allow")
            return { ...node, info, native, problem: `is ${info.nativePlatform} and would emulate ${inputs.platform}` };
        return { ...node, info, native };
    } catch (error) {
        return { ...node, native: false, problem: error instanceof Error ? error.message : String(error) };
    }
}

/** Probes every node that declares the platform, side by side, and takes the first by placement; native ones first. */
async function choose(inputs: Inputs): Promise<{ chosen: Candidate | undefined; examined: Candidate[] }> {
    const platform = Platform.parse(inputs.platform);
    const candidates = inputs.nodes.filter((node) =>
        node.platforms.some((declared) => Platform.parse(declared).equals(platform)),
    );
    const examined = await Promise.all(candidates.map((node) => examine(node, inputs)));
    const usable = examined.filter((candidate) => !candidate.problem);
    const native = usable.filter((candidate) => candidate.native);
    const [chosen] = place(inputs.placementKey, native.length > 0 ? native : usable);
    return { chosen, examined };
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

async function register(inputs: Inputs): Promise<State> {
    const { chosen, examined } = await choose(inputs);
    if (!chosen?.info) throw refusal(inputs, examined);
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

/** What the store should say, and does not; every item is something the next update mends. */
function drift(state: State, inputs: Inputs, chosen: Candidate | undefined): string[] {
    if (!chosen) return ["endpoint"];
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
        return drift(state, inputs, (await choose(inputs)).chosen);
    },
    async delete(state) {
        await forgetBuilder(state.name);
    },
});
