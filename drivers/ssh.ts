import { writeFileSync } from "node:fs";
import { join } from "node:path";
import type { SshTarget } from "../core/ssh-target";
import { CommandError, type RunOptions, run } from "./process";
import { progress } from "./progress";
import { packFiles, type RemoteFile, unpackScript, word } from "./ssh-files";
import { inTemporaryFolder } from "./temporary-folder";

export interface ScriptOptions {
    /** Its standard input; the place for secrets. */
    input?: string | Buffer;
    /** Milliseconds; default 10 minutes. A script that takes longer costs the connection, and so what else runs on it. */
    timeoutMs?: number;
    /** Strings that no error may repeat. */
    redact?: string[];
    /** Exit codes that are no error; default `[0]`. */
    okExitCodes?: number[];
    /** What it does, for the error; default `a script`. */
    what?: string;
    /** What the user should do next, for the error. */
    next?: string;
    /** Gets each line of its output as it comes. */
    onLine?: (line: string) => void;
    signal?: AbortSignal;
}

/** An open connection. */
export interface SshSession {
    /** `user@host` */
    readonly where: string;
    /**
     * Runs a script in bash, as root where the target has `sudo`. It travels on standard input, so it may hold what must not be
     * seen in a list of processes. When this process dies, the script is not ended: let it hold a lock where two would harm.
     *
     * @throws CommandError when it exits with a code that is not in `okExitCodes`, or the connection is lost.
     */
    run(script: string, options?: ScriptOptions): Promise<{ stdout: string; stderr: string; exitCode: number }>;
    /**
     * Writes files, all in one go; a reader sees a file as it was or as it is to be. Folders are made as needed (0755).
     *
     * @throws CommandError when one can't be written.
     */
    writeFiles(files: readonly RemoteFile[], options?: Pick<ScriptOptions, "what" | "redact">): Promise<void>;
}

/** Whether a connection could not be had, or was lost: OpenSSH's own exit code. */
export const isUnreached = (error: unknown): error is CommandError =>
    error instanceof CommandError && error.exitCode === 255;

/**
 * Takes away what is on a host that is left for another one. A host that can't be reached is told, and left as it is: a dead one would
 * hold up its successor for ever.
 *
 * @param told what is left where: `builder host x86-1 could not be reached; its builder is left there`
 * @param work calls `reached` once it is there: a connection that breaks later is an error, and tried again by the next update.
 * @param isAway which errors tell that nobody is there; default {@link isUnreached}
 */
export async function leaveHost(
    told: string,
    work: (reached: () => void) => Promise<void>,
    isAway: (error: unknown) => error is Error = isUnreached,
): Promise<void> {
    let wasReached = false;
    try {
        await work(() => {
            wasReached = true;
        });
    } catch (error) {
        if (wasReached || !isAway(error)) throw error;
        progress(`${told}: ${error.message}`, true);
    }
}

/**
 * What bash runs, and what it reads: a script on standard input, where nobody sees it in a list of processes, up to the first NUL; the
 * rest is the script's own input.
 *
 * @throws Error for a script with a NUL.
 */
export function scriptOnInput(script: string, input: string | Buffer = ""): { command: string; stdin: Buffer } {
    if (script.includes("\0")) throw new Error("a script for a host has a NUL character");
    const stdin = Buffer.concat([Buffer.from(`${script}\n\0`), Buffer.from(input as string)]);
    return { command: 'IFS= read -r -d "" script; eval "$script"', stdin };
}

/** Seconds in which the machine has to take the connection. */
const CONNECT_SECONDS = 15;
/** Said by the client itself once the connection is open (ssh_config(5), LocalCommand). */
const OPEN = "buildfleet: connected";
const DAY_MS = 86_400_000;

/**
 * Opens a connection, and closes it when `use` has ended. All that runs meanwhile goes through the one connection
 * (ssh_config(5), ControlMaster), which ends with this process, however that ends. A host whose key is not known is refused.
 *
 * @throws CommandError naming user, host and the reason, when it can't be opened.
 */
export async function withSsh<T>(target: SshTarget, use: (session: SshSession) => Promise<T>): Promise<T> {
    const where = `${target.user}@${target.host}`;
    return inTemporaryFolder(async (folder) => {
        const options = clientOptions(target, folder);
        const done = new AbortController();
        const host = ["-l", target.user, "--", target.host];
        let connected: (() => void) | undefined;
        const open = new Promise<void>((resolve) => {
            connected = resolve;
        });
        const master = ssh(
            ["-M", "-N", "-o", "PermitLocalCommand=yes", "-o", `LocalCommand=echo ${OPEN}`, ...options, ...host],
            {
                cwd: folder,
                env: { SHELL: "/bin/sh" },
                timeoutMs: 7 * DAY_MS,
                signal: done.signal,
                onLine: (line) => line === OPEN && connected?.(),
            },
            { where, what: "ssh", target },
        );
        // Its end is an error only while it is waited for; a call that finds it gone says so itself.
        const ended = master.then(() => Promise.reject(new Error(`ssh to ${where} ended before it was connected`)));
        ended.catch(() => undefined);
        try {
            await Promise.race([open, ended]);
            return await use(session(target, where, folder, [...options, ...host]));
        } finally {
            done.abort();
            await master.catch(() => undefined);
        }
    });
}

function session(target: SshTarget, where: string, folder: string, connection: string[]): SshSession {
    const runScript = (script: string, { input, what = "a script", ...options }: ScriptOptions = {}) => {
        const { command, stdin } = scriptOnInput(script, input);
        // Any shell may be the user's: it only starts bash.
        const bash = `${target.sudo ? "sudo -n -- " : ""}bash -c ${word(command)}`;
        // Without the master there is no way: a second connection by itself would hide that the first one broke.
        const shared = ["-o", "ControlMaster=no", "-o", "ProxyCommand=false", ...connection];
        return ssh([...shared, bash], { ...options, cwd: folder, input: stdin }, { where, what, target });
    };
    return {
        where,
        run: runScript,
        async writeFiles(files, options = {}) {
            if (files.length === 0) return;
            const redact = [...(options.redact ?? [])];
            await runScript(unpackScript(files), {
                what: "writing files",
                ...options,
                redact,
                input: packFiles(files),
            });
        },
    };
}

function clientOptions(target: SshTarget, folder: string): string[] {
    const options: Record<string, string | number> = {
        BatchMode: "yes",
        ControlPath: "control",
        ConnectTimeout: CONNECT_SECONDS,
        ServerAliveInterval: 10,
        ServerAliveCountMax: 3,
        StrictHostKeyChecking: "yes",
        UpdateHostKeys: "no",
        LogLevel: "ERROR",
        // What a user's configuration may say of interactive sessions is not meant for these.
        ClearAllForwardings: "yes",
        ForwardAgent: "no",
        ForwardX11: "no",
        RequestTTY: "no",
        RemoteCommand: "none",
        ControlPersist: "no",
    };
    if (target.hostKey !== undefined) {
        const lines = target.hostKey.split("\n").filter((line) => line.trim() !== "");
        writeFileSync(join(folder, "known_hosts"), lines.map((line) => `buildfleet-host ${line.trim()}\n`).join(""));
        Object.assign(options, {
            HostKeyAlias: "buildfleet-host",
            UserKnownHostsFile: "known_hosts",
            GlobalKnownHostsFile: "none",
            KnownHostsCommand: "none",
            CheckHostIP: "no",
        });
    }
    if (target.privateKey !== undefined) {
        const key = `${target.privateKey.replaceAll("\r\n", "\n").trim()}\n`;
        writeFileSync(join(folder, "key"), key, { mode: 0o600 });
        Object.assign(options, { IdentityFile: "key", IdentitiesOnly: "yes", IdentityAgent: "none" });
    }
    const port = target.port === undefined ? [] : ["-p", `${target.port}`];
    return [...Object.entries(options).flatMap(([name, value]) => ["-o", `${name}=${value}`]), ...port];
}

/** OpenSSH's client; its errors in the words of who asked, not those of its command line. */
async function ssh(args: string[], options: RunOptions, about: { where: string; what: string; target: SshTarget }) {
    const secrets = about.target.privateKey === undefined ? [] : [about.target.privateKey];
    try {
        return await run("ssh", args, { ...options, redact: [...(options.redact ?? []), ...secrets] });
    } catch (error) {
        if (!(error instanceof CommandError)) throw error;
        throw new CommandError({
            command: about.what,
            where: about.where,
            exitCode: error.exitCode,
            signal: error.signal,
            timedOut: error.timedOut,
            canceled: options.signal?.aborted ?? false,
            cause: error.message,
            output: error.lastLines.join("\n").replaceAll("\r", ""),
            timeoutMs: options.timeoutMs ?? 600_000,
            next: nextStep(error, about.target) ?? options.next,
        });
    }
}

/** What helps, by what OpenSSH or sudo says. */
function nextStep(
    { exitCode, timedOut, lastLines }: CommandError,
    { host, user, hostKey }: SshTarget,
): string | undefined {
    const said = lastLines.join("\n");
    if (/^sudo: /m.test(said)) return `let ${user} run bash by sudo without a password on ${host}, or log in as root`;
    if (exitCode !== 255 || timedOut) return undefined;
    if (/IDENTIFICATION HAS CHANGED|host key|Host key verification failed/i.test(said)) {
        const scan = `ssh-keyscan ${host} shows it; compare it with the host's own /etc/ssh/ssh_host_*_key.pub`;
        return hostKey === undefined
            ? `set hostKey to the host's public key, or add it to known_hosts (${scan})`
            : `hostKey is not the key of this host: is it the right host? (${scan})`;
    }
    if (/Load key|invalid format|error in libcrypto/.test(said))
        return "set privateKey to a private key without a passphrase";
    if (/Permission denied/.test(said)) return `check user and privateKey: ${host} does not let ${user} in with it`;
    return `check that ${host} is on and reached from here by SSH`;
}
