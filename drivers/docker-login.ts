import { createHash } from "node:crypto";
import { readFileSync, realpathSync, rmSync } from "node:fs";
import { join } from "node:path";
import { z } from "zod";
import { writeFileAtomic } from "./files";
import { withLocks } from "./lock";
import { type Credential, dockerConfigCredentials } from "./registry";
import { dockerConfigFile, helperFor, keyOf, runHelper, unreadable } from "./registry/docker-config";
import { cacheRoot } from "./tools";

/** A password for a registry, and its time: milliseconds since the epoch. */
export interface TimedLogin {
    username: string;
    /** A secret. */
    password: string;
    madeAt: number;
    expiresAt: number;
}

/** What is known on this machine of an entry that {@link login} made: never the password. */
const note = z.object({ madeAt: z.number(), expiresAt: z.number(), fingerprint: z.string() });
type Note = z.infer<typeof note>;

/** amazon-ecr-credential-helper makes tokens itself, and stores none. */
const MAKES_ITS_OWN = "ecr-login";

const fingerprintOf = ({ username, password }: { username: string; password: string }) =>
    createHash("sha256").update(`${username}:${password}`).digest("hex");

/** The file itself, where `config.json` is a link: it stays one. */
function configFile(): string {
    const path = dockerConfigFile();
    try {
        return realpathSync(path);
    } catch (error) {
        if ((error as NodeJS.ErrnoException).code === "ENOENT") return path;
        throw error;
    }
}

const exclusively = <T>(work: () => Promise<T>) => withLocks([`Docker configuration ${configFile()}`], work);

const noteFile = (registry: string) =>
    join(
        cacheRoot(),
        "logins",
        `${createHash("sha256")
            .update(JSON.stringify([configFile(), registry]))
            .digest("hex")
            .slice(0, 32)}.json`,
    );

function readNote(registry: string): Note | undefined {
    try {
        return note.parse(JSON.parse(readFileSync(noteFile(registry), "utf8")));
    } catch {
        return undefined; // no note, or one that a killed process has left half written: the entry counts as another's
    }
}

const isEntryOf = (found: Note | undefined, entry: Credential | undefined): found is Note =>
    found !== undefined && entry !== undefined && "password" in entry && fingerprintOf(entry) === found.fingerprint;

/** Changes the `auths` of Docker's configuration and nothing else in it. */
function changeAuths(change: (auths: Record<string, unknown>) => void): void {
    const path = configFile();
    let config: { auths?: Record<string, unknown> } = {};
    try {
        config = JSON.parse(readFileSync(path, "utf8"));
    } catch (error) {
        if (error instanceof SyntaxError) throw unreadable(path, "is not valid JSON", "mend it, then run again");
        if ((error as NodeJS.ErrnoException).code !== "ENOENT") throw error;
    }
    config.auths ??= {};
    change(config.auths);
    writeFileAtomic(path, JSON.stringify(config, null, "\t"), 0o600);
}

/**
 * Whether Docker's configuration on this machine opens a registry with an entry that {@link login} made, and until when;
 * `managed` where a credential helper makes the tokens itself. Reads only.
 */
export async function loginStatus(
    registry: string,
): Promise<"managed" | "absent" | Pick<Note, "madeAt" | "expiresAt">> {
    if ((await helperFor(registry)) === MAKES_ITS_OWN) return "managed";
    const found = readNote(registry);
    return isEntryOf(found, await dockerConfigCredentials().get(registry)) ? found : "absent";
}

/**
 * Logs in to a registry as `docker login` does: into `config.json` (0600, its other entries untouched), or into the
 * credential store that it names. For tools that read Docker's configuration and can't be given another one.
 */
export async function login(registry: string, made: TimedLogin): Promise<void> {
    await exclusively(async () => {
        const helper = await helperFor(registry);
        if (helper === MAKES_ITS_OWN) return;
        const { username, password, madeAt, expiresAt } = made;
        const key = keyOf(registry);
        if (helper) {
            const secret = JSON.stringify({ ServerURL: key, Username: username, Secret: password });
            await store(helper, "store", secret);
        }
        // An empty entry beside a store tells Docker that the store has one (docker/cli: config/credentials/native_store.go).
        const entry = helper ? {} : { auth: Buffer.from(`${username}:${password}`).toString("base64") };
        changeAuths((auths) => {
            auths[key] = entry;
        });
        const written: Note = { madeAt, expiresAt, fingerprint: fingerprintOf(made) };
        writeFileAtomic(noteFile(registry), JSON.stringify(written), 0o600);
    });
}

/** Takes out the entry that {@link login} made; one that somebody else has put in its place stays. */
export async function logout(registry: string): Promise<void> {
    await exclusively(async () => {
        const found = readNote(registry);
        const helper = await helperFor(registry);
        if (!found || helper === MAKES_ITS_OWN) return;
        const isOurs = isEntryOf(found, await dockerConfigCredentials().get(registry));
        rmSync(noteFile(registry), { force: true });
        if (!isOurs) return;
        if (helper) await store(helper, "erase", keyOf(registry));
        changeAuths((auths) => {
            delete auths[keyOf(registry)];
        });
    });
}

async function store(helper: string, action: "store" | "erase", input: string): Promise<void> {
    const next = `see that docker-credential-${helper} works, or take it out of credsStore and credHelpers`;
    const { exitCode } = await runHelper(helper, action, input, next);
    // What it printed may repeat the secret.
    if (exitCode !== 0)
        throw unreadable(dockerConfigFile(), `docker-credential-${helper} ${action} ended with ${exitCode}`, next);
}
