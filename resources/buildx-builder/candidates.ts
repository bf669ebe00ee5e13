import { setTimeout as delay } from "node:timers/promises";
import { place } from "../../core/placement";
import { Platform } from "../../core/platform";
import { type BuildkitEndpoint, BuildkitError, type BuildkitInfo, probe } from "../../drivers/buildkit";
import type { ClientCertificate } from "../../drivers/buildx";
import { type DockerNode, isDocker, lookAtDocker, wakeDocker } from "./docker";
import { limitProblem } from "./limit";
import { type Ec2Node, look, type Node, reach, toText, wake } from "./machine";

/** What decides which node builds a platform. */
export interface Wanted {
    platform: string;
    emulation: "refuse" | "allow";
    placementKey: string;
    nodes: Node[];
    client?: ClientCertificate;
}

/** A node that declares the platform, or none, and what was found out about it. */
export interface Candidate extends Node {
    /** What its daemon says; absent where it does not answer. */
    info?: BuildkitInfo;
    /** Whether its own architecture is the platform's. */
    native: boolean;
    /** Its machine is stopped, stopping or starting, or its container has to be made; it can be woken. */
    asleep?: boolean;
    /** Its machine runs for long and does not answer right now: it may drain, or be broken. It is waited for as one that is asleep. */
    doubtful?: boolean;
    /** Why it can't build. */
    problem?: string;
}

const SILENCE_MS = 5_000;
/** An answer that took longer was a wait for nothing: a time-out of ours, or of the ssh that should have got there. */
const LONG_MS = 2_000;
/** Nodes that let a probe wait in vain, and when: the diff, the update after it and the next image wait for them once. */
const silent = new Map<string, { at: number; error: BuildkitError }>();

async function ask(node: BuildkitEndpoint): Promise<BuildkitInfo> {
    const before = silent.get(node.endpoint);
    if (before && Date.now() - before.at < SILENCE_MS) throw before.error;
    const started = Date.now();
    try {
        return await probe(node);
    } catch (error) {
        const inVain = error instanceof BuildkitError && (error.silent || Date.now() - started > LONG_MS);
        if (inVain) silent.set(node.endpoint, { at: Date.now(), error });
        throw error;
    }
}

const isEc2 = (node: Node): node is Ec2Node => node.ec2 !== undefined;

/**
 * Whether a node, whose machine is of the platform `own`, runs the wanted one by itself. What only some processors run it does
 * where its `platforms` name it: that is its owner's word, and neither the daemon nor anything else outside tells.
 */
function runsNatively({ platforms = [] }: Node, wanted: Wanted, own: string): boolean {
    const platform = Platform.parse(wanted.platform);
    const host = Platform.parse(own);
    if (platform.dependsOnProcessorOf(host)) return platforms.some((one) => Platform.parse(one).equals(platform));
    return Platform.parse(`${platform.os}/${platform.architecture}`).runsNativelyOn(host);
}

/** Why a node is not asked to emulate. */
function emulationProblem(wanted: Wanted, own: string): string {
    const problem = `is ${own} and would emulate ${wanted.platform}`;
    if (!Platform.parse(wanted.platform).dependsOnProcessorOf(Platform.parse(own))) return problem;
    return (
        `${problem}, which not every ${own} processor runs; declare ${wanted.platform} in the node's platforms if its ` +
        "processors run AArch32 themselves, or allow emulation"
    );
}

/** Judges a node by what its daemon says. */
function judge(node: Node, info: BuildkitInfo, wanted: Wanted): Candidate {
    const problem = limitProblem(node, info);
    if (problem) return { ...node, info, native: false, problem };
    const platform = Platform.parse(wanted.platform);
    if (!info.platforms.some((claimed) => Platform.parse(claimed).equals(platform)))
        return {
            ...node,
            info,
            native: false,
            problem: `is ${info.nativePlatform} and can't run ${wanted.platform}`,
        };
    // The daemon claims the variant; what is left to tell is its own architecture from an emulated one.
    const native = runsNatively(node, wanted, info.nativePlatform);
    if (!native && wanted.emulation !== "allow")
        return { ...node, info, native, problem: emulationProblem(wanted, info.nativePlatform) };
    return { ...node, info, native };
}

async function knock(node: Node, wanted: Wanted): Promise<Candidate> {
    const tls = wanted.client ? { ...wanted.client, serverName: node.serverName } : undefined;
    try {
        const endpoint = await reach(node);
        return judge({ ...node, endpoint }, await ask({ endpoint, tls }), wanted);
    } catch (error) {
        return { ...node, native: false, problem: toText(error) };
    }
}

/** EC2 is asked when the node has not answered by then: asking loads the SDK and needs credentials, and most nodes are up. */
const BEFORE_ASKING_EC2_MS = 500;

async function examineMachine(node: Ec2Node, wanted: Wanted): Promise<Candidate> {
    // A tunnel leads only to a machine that runs.
    const knocked = node.ec2.tunnel ? undefined : knock(node, wanted);
    const early = await Promise.race([knocked, delay(knocked ? BEFORE_ASKING_EC2_MS : 0)]);
    if (early?.info) return early;
    const looked = look(node).then(
        async (found): Promise<Candidate> => {
            const { machine } = found;
            if (machine.state === "running") {
                const answer = await (knocked ?? knock(node, wanted));
                if (answer.info) return answer;
            }
            if (!found.asleep) return { ...node, native: false, problem: found.problem };
            const own = `linux/${machine.architecture}`;
            const native = runsNatively(node, wanted, own);
            if (!native && wanted.emulation !== "allow")
                return { ...node, native, problem: emulationProblem(wanted, own) };
            return { ...node, native, asleep: true, doubtful: found.doubtful };
        },
        async (error): Promise<Candidate> => {
            const answer = await knocked;
            if (answer?.info) return answer;
            return { ...node, native: false, problem: [answer?.problem, toText(error)].filter(Boolean).join("; ") };
        },
    );
    if (!knocked) return looked;
    return Promise.race([looked, knocked.then((answer) => (answer.info ? answer : looked))]);
}

async function examineDocker(node: DockerNode, wanted: Wanted): Promise<Candidate> {
    try {
        const { platform: own, info } = await lookAtDocker(node);
        if (info) return judge(node, info, wanted);
        const native = runsNatively(node, wanted, own);
        if (!native && wanted.emulation !== "allow") return { ...node, native, problem: emulationProblem(wanted, own) };
        return { ...node, native, asleep: true };
    } catch (error) {
        return { ...node, native: false, problem: toText(error) };
    }
}

function examine(node: Node, wanted: Wanted): Promise<Candidate> {
    if (isDocker(node)) return examineDocker(node, wanted);
    return isEc2(node) ? examineMachine(node, wanted) : knock(node, wanted);
}

/** Everything that was found out, and who may build, best first. */
export interface Choice {
    ranked: Candidate[];
    examined: Candidate[];
}

/**
 * Examines every node that declares the platform, or declares none, side by side; wakes none. Ranked by placement are those that answer and those
 * that can be woken alike: a node that sleeps keeps its cache, and with it the images that are placed on it. Native
 * ones come first; of those and of the others alike, the doubtful ones last.
 */
export async function choose(wanted: Wanted): Promise<Choice> {
    const platform = Platform.parse(wanted.platform);
    const declared = wanted.nodes.filter(
        (node) => !node.platforms || node.platforms.some((one) => Platform.parse(one).equals(platform)),
    );
    const examined = await Promise.all(declared.map((node) => examine(node, wanted)));
    const usable = examined.filter((candidate) => !candidate.problem);
    const placed = (native: boolean, doubtful: boolean) =>
        place(
            wanted.placementKey,
            usable.filter((one) => one.native === native && (one.doubtful ?? false) === doubtful),
        );
    const native = placed(true, false);
    // Emulation is a substitute for native nodes that may be dead, not for one that is only asleep.
    const emulating = native.length > 0 ? [] : [...placed(false, false), ...placed(false, true)];
    return { ranked: [...native, ...placed(true, true), ...emulating], examined };
}

/** The candidate, awake; with a problem where it can't be woken or is not what it seemed to be. */
export async function rouse(candidate: Candidate, wanted: Wanted & { name: string }): Promise<Candidate> {
    if (!candidate.asleep) return candidate;
    const { asleep: _, doubtful: __, ...node } = candidate;
    try {
        if (isDocker(node)) return judge(node, await wakeDocker(node, wanted.name, wanted.platform), wanted);
        if (!isEc2(node)) return candidate;
        const { endpoint, info } = await wake(node, wanted.client);
        silent.delete(endpoint);
        return judge({ ...node, endpoint }, info, wanted);
    } catch (error) {
        return { ...node, problem: toText(error) };
    }
}
