import { type ChildProcess, spawn } from "node:child_process";
import { existsSync } from "node:fs";
import { redactor, run } from "../process";
import { findTool, ToolMissingError } from "../tools";

/** A port of an instance, reached through Session Manager. */
export interface TunnelTarget {
    region: string;
    instanceId: string;
    /** Of BuildKit on the instance. */
    port: number;
}

/** The way to an instance could not be opened. */
export class TunnelError extends Error {
    constructor(
        readonly target: TunnelTarget,
        reason: string,
        next: string,
        /** The instance is not known to Session Manager (yet): its agent registers a little after it has started. */
        readonly notConnected = false,
    ) {
        super(`Session Manager to ${target.instanceId} in ${target.region}: ${reason}\nnext: ${next}`);
        this.name = "TunnelError";
    }
}

/** A running plugin. */
export interface PluginProcess {
    child: ChildProcess;
    /** Settles when it listens on the local port, or has ended. */
    listening: Promise<"open" | "ended">;
    /** Settles when it has ended: what it printed last. */
    ended: Promise<string>;
}

/** A session as Session Manager has started it. */
export interface Session {
    region: string;
    /** What it was asked for. */
    request: { Target: string };
    sessionId: string;
    /** A secret. */
    token: string;
    streamUrl: string;
    /** Of Systems Manager, where a broken session is resumed. */
    endpoint: string;
}

export const PLUGIN = "session-manager-plugin";
const WHERE_TO_GET_IT =
    "install it: https://docs.aws.amazon.com/systems-manager/latest/userguide/session-manager-working-with-install-plugin.html";
/** Since the one after this the plugin takes the session's token from its environment (aws-cli, sessionmanager.py). */
const LAST_WITH_TOKEN_IN_ARGUMENTS = [1, 2, 497, 0];
const VARIABLE = "AWS_SSM_START_SESSION_RESPONSE";

/** Path of the plugin; it must be one that is not given the token on its command line, where everybody can read it. */
export async function findPlugin(target: TunnelTarget): Promise<string> {
    let path: string;
    try {
        path = findTool(PLUGIN);
    } catch (error) {
        if (!(error instanceof ToolMissingError)) throw error;
        throw new TunnelError(target, `${PLUGIN} is not on PATH`, WHERE_TO_GET_IT);
    }
    const { stdout } = await run(path, ["--version"], { timeoutMs: 20_000 });
    const version = stdout.trim().split(".").map(Number);
    const difference = LAST_WITH_TOKEN_IN_ARGUMENTS.map((part, i) => (version[i] ?? 0) - part).find((one) => one !== 0);
    if (!difference || !(difference > 0))
        throw new TunnelError(
            target,
            `${path} is ${stdout.trim() || "of unknown version"}; one newer than ${LAST_WITH_TOKEN_IN_ARGUMENTS.join(".")} is needed`,
            `${WHERE_TO_GET_IT} (older ones take the session's token as an argument, which everybody on this machine can read)`,
        );
    return path;
}

const SETPRIV = "/usr/bin/setpriv";
const TIMEOUT = "/usr/bin/timeout";

/**
 * How the plugin is started so that it never outlives this process: the kernel sends `timeout` a SIGINT when we die
 * (prctl(2), PR_SET_PDEATHSIG), which gives it on; on SIGINT the plugin tells Session Manager that the session is over
 * (portsession/muxportforwarding.go), and where it does not end by that, it is killed. `timeout` makes a process group of
 * its own: a SIGKILL for ours, by which an engine ends its providers, would leave the session open on AWS's side.
 */
function guarded(command: string[]): string[] {
    if (process.platform !== "linux" || !existsSync(SETPRIV) || !existsSync(TIMEOUT)) return command;
    return [SETPRIV, "--pdeathsig", "INT", "--", TIMEOUT, "--signal=INT", "--kill-after=5", "12h", ...command];
}

/** session-manager-plugin RESPONSE REGION StartSession PROFILE REQUEST ENDPOINT (session.go, ValidateInputAndStartSession). */
export function startPlugin(plugin: string, session: Session): PluginProcess {
    const { region, request, sessionId, token, streamUrl, endpoint } = session;
    const { AWS_PROFILE: profile = "" } = process.env;
    const words = [plugin, VARIABLE, region, "StartSession", profile, JSON.stringify(request), endpoint];
    const [file = "", ...args] = guarded(words);
    const child = spawn(file, args, {
        stdio: ["ignore", "pipe", "pipe"],
        env: {
            ...process.env,
            [VARIABLE]: JSON.stringify({ SessionId: sessionId, TokenValue: token, StreamUrl: streamUrl }),
            SSM_PLUGIN_LOCAL_HOST: "127.0.0.1",
        },
    });
    const killWithUs = () => void child.kill("SIGINT");
    process.once("exit", killWithUs);
    let last = "";
    let onOpen: () => void = () => undefined;
    const read = (chunk: string) => {
        last = `${last}${chunk}`.slice(-2_000);
        if (/Port \d+ opened/.test(last)) onOpen();
    };
    for (const stream of [child.stdout, child.stderr]) {
        stream.setEncoding("utf8").on("data", read);
        // A tunnel alone is no reason for this process to stay.
        (stream as unknown as { unref?(): void }).unref?.();
    }
    child.unref();
    const redact = redactor([token]);
    const ended = new Promise<string>((resolve) => {
        const end = (text: string) => {
            process.removeListener("exit", killWithUs);
            resolve(redact(text.trim().split("\n").slice(-5).join("; ")));
        };
        child.once("error", (error) => end(error.message));
        child.once("close", () => end(last));
    });
    const listening = new Promise<"open" | "ended">((resolve) => {
        onOpen = () => resolve("open");
        void ended.then(() => resolve("ended"));
    });
    return { child, listening, ended };
}
