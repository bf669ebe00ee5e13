import { createHash } from "node:crypto";
import { basename } from "node:path";
import { compareSync, hashSync } from "bcryptjs";
import {
    type GarbageCollection,
    generationOf,
    placesOf,
    type RegistryServerSettings,
    registryFiles,
    registryScript,
} from "../../core/registry-server/files";
import type { SshTarget } from "../../core/ssh-target";
import { leaveHost, type SshSession, withSsh } from "../../drivers/ssh";
import { packFiles } from "../../drivers/ssh-files";
import { changedInputs, defineOperations, isUnknown } from "../operations";

export interface Inputs {
    ssh: SshTarget;
    name: string;
    /** Who manages it: nobody else's is touched. Not in the state of earlier versions. */
    owner?: string;
    port: number;
    artifact: { url: string; sha256: string };
    storage: string;
    tls?: { certificate: string; privateKey: string };
    /** Passwords by user; a secret. */
    users: Record<string, string>;
    garbageCollection?: GarbageCollection;
    removeData: boolean;
}

interface State extends Inputs {
    /** By user, as in the host's htpasswd file: the same password keeps its hash. */
    hashes: Record<string, string>;
}

/** Of the kind that the registry takes, and the default of its own htpasswd tools: a login takes a twentieth of a second. */
const BCRYPT_COST = 10;

/** Hashes that still fit, and new ones for passwords that changed. */
function hashesOf(users: Record<string, string>, before: Record<string, string>): Record<string, string> {
    return Object.fromEntries(
        Object.entries(users).map(([user, password]) => {
            const known = before[user];
            return [user, known && compareSync(password, known) ? known : hashSync(password, BCRYPT_COST)];
        }),
    );
}

const settingsOf = ({ ssh: _ssh, users: _users, removeData: _, ...settings }: State): RegistryServerSettings =>
    settings;

const MINUTE_MS = 60_000;
const NEXT = "the host needs systemd, bash, curl and root's rights (user root, or sudo without a password)";

/** Exit code of a script that found somebody else's registry. */
const NOT_OURS = 3;
/** What scripts call the owner of a registry that has none: of an earlier version, or one whose file somebody deleted. */
const NOBODY = "nobody";

/** Brings a host to what the settings say; a first part that can fail changes nothing, and a second one takes over in one step. */
async function put(inputs: Inputs, before?: State): Promise<State> {
    const state = { ...inputs, hashes: hashesOf(inputs.users, before?.hashes ?? {}) };
    const settings = settingsOf(state);
    const redact = secretsOf(state);
    const takes = [inputs.owner, ...(before ? [before.owner, NOBODY] : [])].filter((owner) => owner !== undefined);
    const okExitCodes = [0, NOT_OURS];
    await withSsh(inputs.ssh, async (session) => {
        const prepare = { what: `preparing the registry ${inputs.name}`, next: NEXT, timeoutMs: 20 * MINUTE_MS };
        refuse(inputs, await session.run(registryScript("prepare", settings, { takes }), { ...prepare, okExitCodes }));
        const start = {
            what: `starting the registry ${inputs.name}`,
            next: `see journalctl -u ${placesOf(settings).unit}`,
            timeoutMs: 20 * MINUTE_MS,
            input: packFiles(registryFiles(settings)),
            redact,
        };
        refuse(inputs, await session.run(registryScript("activate", settings, { takes }), { ...start, okExitCodes }));
    });
    return state;
}

/** @throws Error where a script found the registry to be somebody else's. */
function refuse(inputs: Inputs, { exitCode, stdout }: { exitCode: number; stdout: string }): void {
    if (exitCode !== NOT_OURS) return;
    const owner = /^owner (.*)$/m.exec(stdout)?.[1] ?? NOBODY;
    const { folder } = placesOf(inputs);
    const use = "use it as it is (a RegistryConnection), or give this one another name and port";
    const found =
        owner === NOBODY
            ? "is there already, and nobody's name is on it"
            : `is managed by ${owner}, and this is ${inputs.owner}`;
    const next =
        owner === NOBODY
            ? `${use}; where it is nobody's: rm -r ${folder} on the host, its images stay`
            : `${use}, or delete it there first; where that stack is gone: rm -r ${folder} on the host, its images stay`;
    throw new Error(`the registry ${inputs.name} on ${inputs.ssh.host} ${found}; nothing was changed\nnext: ${next}`);
}

const secretsOf = ({ users, tls }: Inputs) => [...Object.values(users), ...(tls ? [tls.privateKey] : [])];

/** Whether the host is as the state says: files, program, what runs, units, and an answer. */
async function isIntact(session: SshSession, state: State): Promise<boolean> {
    const settings = settingsOf(state);
    const { stdout } = await session.run(registryScript("look", settings), {
        what: "looking at the registry",
        next: NEXT,
    });
    const lines = new Set(stdout.split("\n"));
    const { unit, binary } = placesOf(settings);
    const expected = registryFiles(settings).map(({ path, mode, group, content }) => {
        return `file ${createHash("sha256").update(content).digest("hex")} ${Number(mode)}:${group} ${path}`;
    });
    const generation = basename(generationOf(settings).path);
    expected.push("program", `current ${generation} ${binary}`, `unit ${unit}.service enabled active`);
    if (settings.garbageCollection) expected.push(`unit ${unit}-gc.timer enabled active`);
    const answer = Object.keys(state.users).length > 0 ? "answer 401" : "answer 200";
    return !lines.has("unfinished") && [...expected, answer].every((line) => lines.has(line));
}

/** Takes the registry off its host; one that is somebody else's by now is left alone. */
async function remove(known: State, removeData: boolean, reached?: () => void): Promise<void> {
    const takes = [...(known.owner === undefined ? [] : [known.owner]), NOBODY];
    await withSsh(known.ssh, async (session) => {
        reached?.();
        await session.run(registryScript("remove", settingsOf(known), { takes, removeData }), {
            what: `removing the registry ${known.name}`,
            next: NEXT,
            timeoutMs: 20 * MINUTE_MS,
            okExitCodes: [0, NOT_OURS],
        });
    });
}

const machineOf = ({ ssh }: Inputs) => `${ssh.host}:${ssh.port ?? 22}`;

/** Removes all but the images from a host that is left. */
const leave = (known: State) =>
    leaveHost(`the registry's host ${known.ssh.host} could not be reached; its registry is left there`, (reached) =>
        remove(known, false, reached),
    );

export const operations = defineOperations<Inputs, State>({
    replaceOn: ["name", "storage"],
    async create(inputs) {
        return { id: `${inputs.ssh.host}/${inputs.name}`, outs: await put(inputs) };
    },
    async changes(known, inputs) {
        // What is no longer said is a change, too.
        const owner = known.owner === undefined ? undefined : inputs.owner;
        const changed = changedInputs(known, { tls: undefined, garbageCollection: undefined, ...inputs, owner });
        if (changed.length > 0 || isUnknown(inputs)) return changed;
        return (await withSsh(inputs.ssh, (session) => isIntact(session, known))) ? [] : ["hashes"];
    },
    async update(known, inputs) {
        // First: one machine may have two names.
        if (machineOf(known) !== machineOf(inputs)) await leave(known);
        return put(inputs, known);
    },
    async delete(known) {
        await remove(known, known.removeData);
    },
});
