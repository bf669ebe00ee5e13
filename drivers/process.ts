import { existsSync } from "node:fs";
import { availableParallelism } from "node:os";
import { execa } from "execa";
import pLimit from "p-limit";
import { findTool } from "./tools";

/** How a child process is run. */
export interface RunOptions {
    cwd?: string;
    /** Merged over this process's environment; the place for what must not be in argv. */
    env?: Record<string, string | undefined>;
    input?: string | Buffer;
    /** Milliseconds; default 10 minutes. The child gets SIGTERM, and SIGKILL 5 s later. */
    timeoutMs?: number;
    /** The time begins with the first line that this matches: until then it waits for its turn, for as long as that takes. */
    timedFrom?: RegExp;
    signal?: AbortSignal;
    /** Strings replaced by `[redacted]` in every error and in every line given to `onLine`. */
    redact?: string[];
    /** Exit codes that are no error; default `[0]`. */
    okExitCodes?: number[];
    /** Where it acted (a node, a registry, a file), for the error. */
    where?: string;
    /** What the user should do next, for the error. */
    next?: string;
    /** It keeps a core busy from start to end: no more of these run at a time than there are cores, and one. */
    cpuBound?: boolean;
    /** Gets each line of stdout and stderr as it comes. */
    onLine?: (line: string) => void;
}

export interface RunResult {
    stdout: string;
    stderr: string;
    exitCode: number;
    durationMs: number;
}

/** A command that failed: what was run, where, its exit code, the last lines it printed and the next step. */
export class CommandError extends Error {
    readonly command: string;
    readonly where: string | undefined;
    readonly exitCode: number | undefined;
    readonly signal: string | undefined;
    readonly timedOut: boolean;
    readonly lastLines: string[];
    readonly next: string | undefined;

    constructor(details: {
        command: string;
        where?: string | undefined;
        exitCode?: number | undefined;
        signal?: string | undefined;
        timedOut: boolean;
        canceled: boolean;
        cause: string;
        output: string;
        timeoutMs: number;
        next?: string | undefined;
    }) {
        const lastLines = details.output
            .split("\n")
            .filter((line) => line.trim())
            .slice(-15);
        const ended = details.canceled
            ? "was cancelled"
            : details.timedOut
              ? `gave no result within ${details.timeoutMs / 1000} s`
              : details.exitCode !== undefined
                ? `exited with ${details.exitCode}`
                : details.signal
                  ? `was ended by ${details.signal}`
                  : `could not be run: ${details.cause}`;
        super(
            [
                `${details.command} ${ended}${details.where ? ` (${details.where})` : ""}`,
                ...lastLines.map((line) => `  | ${line}`),
                ...(details.next ? [`next: ${details.next}`] : []),
            ].join("\n"),
        );
        this.name = "CommandError";
        this.command = details.command;
        this.where = details.where;
        this.exitCode = details.exitCode;
        this.signal = details.signal;
        this.timedOut = details.timedOut;
        this.lastLines = lastLines;
        this.next = details.next;
    }
}

const SETPRIV = "/usr/bin/setpriv";
let pdeathsig: string[] | undefined;

/**
 * On Linux the kernel ends the child when this process dies, however it dies (PR_SET_PDEATHSIG, prctl(2));
 * a SIGKILL to the engine must not leave a scanner or a signer running on.
 */
export function dieWithParent(): string[] {
    pdeathsig ??= process.platform === "linux" && existsSync(SETPRIV) ? [SETPRIV, "--pdeathsig", "KILL", "--"] : [];
    return pdeathsig;
}

export function redactor(secrets: string[] = []): (text: string) => string {
    const parts = secrets.filter((secret) => secret.length > 0).sort((a, b) => b.length - a.length);
    return (text) => parts.reduce((result, secret) => result.replaceAll(secret, "[redacted]"), text);
}

const quote = (word: string) => (/^[\w@%+=:,./-]+$/.test(word) ? word : `'${word.replaceAll("'", `'\\''`)}'`);

const cores = pLimit(availableParallelism() + 1);

/**
 * Runs a tool to its end, without a shell.
 *
 * @throws CommandError when it exits with a code that is not in `okExitCodes`, is killed, times out or cannot start.
 * @throws ToolMissingError when it is nowhere.
 */
export function run(tool: string, args: string[], options: RunOptions = {}): Promise<RunResult> {
    return options.cpuBound ? cores(() => runNow(tool, args, options)) : runNow(tool, args, options);
}

async function runNow(tool: string, args: string[], options: RunOptions): Promise<RunResult> {
    const timeoutMs = options.timeoutMs ?? 600_000;
    const redact = redactor(options.redact);
    const [file = "", ...rest] = [...dieWithParent(), findTool(tool), ...args];
    const started = performance.now();
    const { timedFrom } = options;
    const late = new AbortController();
    let clock: NodeJS.Timeout | undefined;
    const signals = [...(options.signal ? [options.signal] : []), ...(timedFrom ? [late.signal] : [])];
    const child = execa(file, rest, {
        cwd: options.cwd,
        env: options.env,
        input: options.input ?? "",
        ...(timedFrom ? {} : { timeout: timeoutMs }),
        ...(signals.length > 0 ? { cancelSignal: AbortSignal.any(signals) } : {}),
        reject: false,
        all: true,
        stripFinalNewline: false,
        maxBuffer: 256 * 1024 * 1024,
        forceKillAfterDelay: 5_000,
    });
    if (options.onLine || timedFrom) {
        void (async () => {
            for await (const line of child.iterable({ from: "all" })) {
                if (timedFrom?.test(line)) clock ??= setTimeout(() => late.abort(), timeoutMs).unref();
                options.onLine?.(redact(line));
            }
        })().catch(() => undefined); // the same failure is reported by the awaited child below
    }
    const result = await child;
    clearTimeout(clock);
    const timedOut = result.timedOut || (late.signal.aborted && !options.signal?.aborted);
    const ok = options.okExitCodes ?? [0];
    if (result.exitCode === undefined || !ok.includes(result.exitCode) || result.timedOut || result.isCanceled) {
        throw new CommandError({
            command: redact([tool, ...args].map(quote).join(" ")),
            where: options.where,
            exitCode: result.exitCode,
            signal: result.signal,
            timedOut,
            canceled: result.isCanceled && !timedOut,
            cause: redact(result.originalMessage ?? ""),
            output: redact(result.all ?? ""),
            timeoutMs,
            next: options.next,
        });
    }
    return {
        stdout: result.stdout,
        stderr: result.stderr,
        exitCode: result.exitCode,
        durationMs: Math.round(performance.now() - started),
    };
}
