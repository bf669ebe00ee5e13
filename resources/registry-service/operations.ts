import { createHash } from "node:crypto";
import { compareSync, hashSync } from "bcryptjs";
import {
    type GarbageCollection,
    placesOf,
    type RegistryServerSettings,
    registryFiles,
    registryScript,
} from "../../core/registry-server/files";
import type { SshTarget } from "../../core/ssh-target";
import { CommandError } from "../../drivers/process";
import { progress } from "../../drivers/progress";
import { type SshSession, withSsh } from "../../drivers/ssh";
import { changedInputs, defineOperations, isUnknown } from "../operations";

export interface Inputs {
    ssh: SshTarget;
    name: string;
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

const NEXT = "the host needs systemd, bash, curl and root's rights (user root, or sudo without a password)";

/** Brings a host to what the settings say; a first part that can fail changes nothing, and a second one takes over. */
async function put(inputs: Inputs, before: Record<string, string>): Promise<State> {
    const state = { ...inputs, hashes: hashesOf(inputs.users, before) };
    const settings = settingsOf(state);
    const redact = secretsOf(state);
    await withSsh(inputs.ssh, async (session) => {
        const prepare = { what: `preparing the registry ${inputs.name}`, next: NEXT };
        await session.run(registryScript("prepare", settings), prepare);
        await session.writeFiles(registryFiles(settings), { what: "writing the registry's files", redact });
        const start = {
            what: `starting the registry ${inputs.name}`,
            next: `see journalctl -u ${placesOf(settings).unit}`,
            redact,
        };
        await session.run(registryScript("activate", settings), start);
    });
    return state;
}

const secretsOf = ({ users, tls }: Inputs) => [...Object.values(users), ...(tls ? [tls.privateKey] : [])];

/** Whether the host is as the state says: files, program, units, and an answer. */
async function isIntact(session: SshSession, state: State): Promise<boolean> {
    const settings = settingsOf(state);
    const { stdout } = await session.run(registryScript("look", settings), {
        what: "looking at the registry",
        next: NEXT,
    });
    const lines = new Set(stdout.split("\n"));
    const { unit, folder } = placesOf(settings);
    const expected = registryFiles(settings).map(({ path, mode, content }) => {
        const group = path.startsWith(`${folder}/`) ? "buildfleet-registry" : "root";
        return `file ${createHash("sha256").update(content).digest("hex")} ${Number(mode)}:${group} ${path}`;
    });
    expected.push("program", `unit ${unit}.service enabled active`);
    if (settings.garbageCollection) expected.push(`unit ${unit}-gc.timer enabled active`);
    const answer = Object.keys(state.users).length > 0 ? "answer 401" : "answer 200";
    return [...expected, answer].every((line) => lines.has(line));
}

async function remove(known: State, removeData: boolean): Promise<void> {
    await withSsh(known.ssh, (session) =>
        session.run(registryScript("remove", settingsOf(known), { removeData }), {
            what: `removing the registry ${known.name}`,
            next: NEXT,
        }),
    );
}

const machineOf = ({ ssh }: Inputs) => `${ssh.host}:${ssh.port ?? 22}`;

/** Removes all but the images; a machine that can't be reached is told, and left as it is: a dead one would hold up its successor for ever. */
async function leave(known: State): Promise<void> {
    try {
        await remove(known, false);
    } catch (error) {
        // OpenSSH's own exit code.
        if (!(error instanceof CommandError) || error.exitCode !== 255) throw error;
        progress(
            `the registry's host ${known.ssh.host} could not be reached; its registry is left there: ${error.message}`,
            true,
        );
    }
}

export const operations = defineOperations<Inputs, State>({
    replaceOn: ["name", "storage"],
    async create(inputs) {
        return { id: `${inputs.ssh.host}/${inputs.name}`, outs: await put(inputs, {}) };
    },
    async changes(known, inputs) {
        // What is no longer said is a change, too.
        const changed = changedInputs(known, { tls: undefined, garbageCollection: undefined, ...inputs });
        if (changed.length > 0 || isUnknown(inputs)) return changed;
        return (await withSsh(inputs.ssh, (session) => isIntact(session, known))) ? [] : ["hashes"];
    },
    async update(known, inputs) {
        // First: one machine may have two names.
        if (machineOf(known) !== machineOf(inputs)) await leave(known);
        return put(inputs, known.hashes);
    },
    async delete(known) {
        await remove(known, known.removeData);
    },
});
