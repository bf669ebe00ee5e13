import { type ChildProcessByStdio, spawn } from "node:child_process";
import { once } from "node:events";
import { mkdirSync } from "node:fs";
import { createServer, type Server, type Socket } from "node:net";
import { join } from "node:path";
import type { Readable, Writable } from "node:stream";
import { type Endpoint, parseEndpoint } from "../core/endpoint";
import { dieWithParent } from "./process";
import { inTemporaryFolder } from "./temporary-folder";
import { findTool } from "./tools";

/** The way to a BuildKit daemon that is reached through another program (ssh, docker, kubectl). */
export interface Relay {
    /** `unix:///…` or `tcp://…`: what can be dialled. */
    endpoint: string;
    /** What the program last printed about a connection that failed; empty where it said nothing. */
    said(): string;
    /** Ends every connection. */
    close(): Promise<void>;
}

/** ssh's whole handshake; without it a host that is off is waited for as long as the kernel likes, two minutes. */
const SSH_CONNECT_SECONDS = 5;

/**
 * The command whose standard input and output are a connection to the daemon; nothing for an endpoint that is dialled itself.
 * The same as buildx uses (moby/buildkit: client/connhelper), but that ssh never asks anybody anything: who would answer?
 */
export function dialCommand(endpoint: Endpoint): string[] | undefined {
    switch (endpoint.kind) {
        case "ssh": {
            const { user, port, host, socket } = endpoint;
            return [
                ...["ssh", "-o", "BatchMode=yes", "-o", `ConnectTimeout=${SSH_CONNECT_SECONDS}`],
                ...(user ? ["-l", user] : []),
                ...(port ? ["-p", String(port)] : []),
                ...["--", host, "buildctl"],
                ...(socket ? ["--addr", `unix://${socket}`] : []),
                "dial-stdio",
            ];
        }
        case "docker-container": {
            const context = endpoint.context ? [`--context=${endpoint.context}`] : [];
            return ["docker", ...context, "exec", "-i", endpoint.container, "buildctl", "dial-stdio"];
        }
        case "kube-pod": {
            const { context = "", namespace = "", container = "", pod } = endpoint;
            return [
                ...["kubectl", `--context=${context}`, `--namespace=${namespace}`],
                ...["exec", `--container=${container}`, "-i", pod, "--", "buildctl", "dial-stdio"],
            ];
        }
        default:
            return undefined;
    }
}

/**
 * Opens the way to a daemon: a unix socket in a folder of its own (0700), on which every connection runs the command that
 * reaches the daemon. For `tcp://` and `unix://` it is the endpoint itself. The commands end with this process, however it ends.
 *
 * @param command what reaches the daemon; default what the endpoint says
 * @throws FormatError where the endpoint is none, ToolMissingError where ssh, docker or kubectl is missing. That the far side does not
 *   answer shows when it is dialled; {@link Relay.said} tells why.
 */
export async function openRelay(
    endpoint: string,
    command: string[] | undefined = dialCommand(parseEndpoint(endpoint)),
): Promise<Relay> {
    if (!command) return { endpoint, said: () => "", close: async () => {} };
    const [tool = "", ...args] = command;
    findTool(tool);
    const relay = new CommandRelay(tool, args);
    await relay.open();
    return relay;
}

type Dialler = ChildProcessByStdio<Writable, Readable, Readable>;

class CommandRelay implements Relay {
    endpoint = "";
    private server: Server | undefined;
    private readonly children = new Set<Dialler>();
    private readonly sockets = new Set<Socket>();
    private lastWords = "";
    private finish: () => void = () => {};
    private gone: Promise<void> = Promise.resolve();

    constructor(
        private readonly tool: string,
        private readonly args: string[],
    ) {}

    open(): Promise<void> {
        return new Promise((resolve, reject) => {
            // The folder lives as long as the relay; what a killed process leaves, the next one sweeps away.
            this.gone = inTemporaryFolder(async (folder) => {
                const path = join(folder, "buildkit.sock");
                mkdirSync(folder, { recursive: true, mode: 0o700 });
                const finished = new Promise<void>((done) => {
                    this.finish = done;
                });
                this.server = createServer((socket) => this.dial(socket));
                this.server.listen(path);
                await once(this.server, "listening");
                // Nobody has to close it for a program to end.
                this.server.unref();
                this.endpoint = `unix://${path}`;
                resolve();
                await finished;
            });
            this.gone.catch(reject);
        });
    }

    said(): string {
        return this.lastWords;
    }

    async close(): Promise<void> {
        this.server?.close();
        for (const socket of this.sockets) socket.destroy();
        await Promise.all([...this.children].map((child) => end(child)));
        this.finish();
        await this.gone;
    }

    private dial(socket: Socket): void {
        const [file = "", ...rest] = [...dieWithParent(), findTool(this.tool), ...this.args];
        // A session of its own, as buildx's has: Ctrl-C is for whoever runs this, who closes the relay.
        const child = spawn(file, rest, { stdio: ["pipe", "pipe", "pipe"], detached: true });
        this.children.add(child);
        this.sockets.add(socket);
        let text = "";
        child.stderr.setEncoding("utf8").on("data", (chunk: string) => {
            text = `${text}${chunk}`.slice(-4096);
        });
        child.once("error", (error) => {
            text = error.message;
        });
        child.once("close", (code, signal) => {
            this.children.delete(child);
            if (code !== 0 && !socket.destroyed) this.lastWords = lastWords(this.tool, text, code ?? signal);
            socket.destroySoon();
        });
        socket.once("close", () => {
            this.sockets.delete(socket);
            void end(child);
        });
        // What breaks in a pipe shows as the end of the socket or of the command, whose words are kept above.
        for (const stream of [socket, child.stdin, child.stdout, child.stderr]) stream.on("error", () => undefined);
        socket.pipe(child.stdin);
        // The socket ends when the command has: by then its last words are known.
        child.stdout.pipe(socket, { end: false });
    }
}

function lastWords(tool: string, text: string, code: number | string | null): string {
    const lines = text
        .split("\n")
        .map((line) => line.trim())
        .filter(Boolean)
        .slice(-3);
    return `${tool} ${typeof code === "number" ? `exited with ${code}` : `was ended by ${code}`}${lines.length > 0 ? `: ${lines.join("; ")}` : ""}`;
}

async function end(child: Dialler): Promise<void> {
    if (child.exitCode !== null || child.signalCode !== null || child.pid === undefined) return;
    const ended = once(child, "exit");
    // What runs on the far side of `docker exec` gets no signal; it ends when there is nothing more to read.
    child.stdin.end();
    child.kill("SIGTERM");
    const timer = setTimeout(() => child.kill("SIGKILL"), 3_000);
    await ended;
    clearTimeout(timer);
}
