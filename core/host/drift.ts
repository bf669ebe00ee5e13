import type { ManagedHostPlan } from "./managed";

/** What files/look.sh tells of a machine. */
export interface HostFacts {
    /** As the kernel says: `x86_64`. */
    machine: string;
    /** `Debian GNU/Linux 12 (bookworm)` */
    system: string;
    /** Commands that the scripts need and the machine has not. */
    missing: string[];
    /** Who manages it; undefined when nobody does. */
    owner: string | undefined;
    /** The lines about owner and neighbours as they are: whoever changes the machine compares them anew. */
    claims: string;
    /** What belongs to another BuildKit, where nobody manages it; a port on which somebody else listens. */
    foreign: string[];
    /** Why it can't have a rootless builder, and what to do about it. */
    unfit: string[];
    /** Control groups that limit something, by cgroup v2: `memory`, `cpu`. */
    controllers: string[];
    /** Other builders on it. `network` is undefined for a rootless one, whose network nobody else sees. */
    neighbours: { folder: string; port: number; network: string | undefined; owner: string }[];
    /** SHA-256 and permissions by path. */
    files: Map<string, { sha256: string; mode: string }>;
    /** By unit. */
    units: Map<string, { active: string; enabled: string }>;
    /** Name to target. */
    links: Map<string, string>;
    /** Reasons for which new builds are refused now. */
    refusing: string[];
    /** Of what BuildKit was started with. */
    started: string | undefined;
}

/** @throws Error for a line that look.sh does not write. */
export function readFacts(output: string): HostFacts {
    const facts: HostFacts = {
        ...{ machine: "", system: "", missing: [], owner: undefined, claims: "", foreign: [], refusing: [] },
        ...{ unfit: [], controllers: [], neighbours: [] },
        ...{ files: new Map(), units: new Map(), links: new Map(), started: undefined },
    };
    for (const line of output.split("\n").filter((text) => text !== "")) {
        const [kind = "", ...words] = line.split(" ");
        const rest = words.join(" ");
        const [first = "", second = ""] = words;
        if (kind === "owner" || kind === "neighbour") facts.claims += `${line}\n`;
        if (kind === "machine" || kind === "system" || kind === "owner") facts[kind] = rest;
        else if (kind === "started") facts[kind] = rest;
        else if (kind === "missing" || kind === "foreign" || kind === "refusing" || kind === "unfit")
            facts[kind].push(rest);
        else if (kind === "controllers") facts.controllers = words.filter((word) => word !== "");
        else if (kind === "neighbour") facts.neighbours.push(neighbour(words));
        else if (kind === "link") facts.links.set(first, second);
        else if (kind === "unit") facts.units.set(first, { active: second, enabled: words[2] ?? "" });
        else if (kind === "file")
            facts.files.set(words.slice(2).join(" "), { sha256: second, mode: first.padStart(4, "0") });
        else throw new Error(`the machine said ${JSON.stringify(line)}, which is not understood`);
    }
    return facts;
}

function neighbour([folder = "", port = "", network = "", ...owner]: string[]): HostFacts["neighbours"][number] {
    return { folder, port: Number(port), network: network === "-" ? undefined : network, owner: owner.join(" ") };
}

/** How a machine differs from its plan, one thing each, for people; nothing where it is as it should be. */
export function driftOf(plan: ManagedHostPlan, facts: HostFacts): string[] {
    const differs: string[] = [];
    const wanted = plan.manifest
        .split("\n")
        .filter((line) => line !== "")
        .map((line) => line.split(" ") as [sha256: string, mode: string, path: string]);
    for (const [sha256, mode, path] of wanted) {
        const found = facts.files.get(path);
        if (!found) differs.push(`${path} is missing`);
        else if (found.sha256 !== sha256) differs.push(`${path} has another content`);
        else if (found.mode !== mode) differs.push(`${path} has the permissions ${found.mode}, not ${mode}`);
    }
    const paths = new Set(wanted.map(([, , path]) => path));
    for (const path of facts.files.keys()) if (!paths.has(path)) differs.push(`${path} is not ours`);
    for (const unit of plan.active) {
        const { active = "missing", enabled = "" } = facts.units.get(unit) ?? {};
        // One that is on its way has been asked to start.
        if (active !== "active" && active !== "activating") differs.push(`${unit} is ${active}`);
        else if (plan.enabled.includes(unit) && enabled !== "enabled") differs.push(`${unit} is not started at boot`);
    }
    if (facts.links.get("tls") !== plan.tlsVersion) differs.push("another certificate is current");
    if (facts.links.get("buildkit") !== plan.artifact) differs.push("another BuildKit is current");
    if (facts.refusing.includes("update")) differs.push("new builds are refused by an update that was cut off");
    if (differs.length === 0 && facts.started !== plan.startDigest)
        differs.push("BuildKit runs with other settings than those that are written");
    return differs;
}
