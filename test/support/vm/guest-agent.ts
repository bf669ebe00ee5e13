import { once } from "node:events";
import { createConnection, type Socket } from "node:net";
import { setTimeout as wait } from "node:timers/promises";

/** What a command in the guest did. */
export interface GuestResult {
    exitCode: number;
    stdout: string;
    stderr: string;
}

const POLL_MS = 200;

/**
 * Runs commands in a guest, as root, through QEMU's guest agent (docs/interop/qemu-ga-ref). For a test to look in; nothing
 * of the machine's own set-up uses it.
 */
export class GuestAgent {
    private buffer = "";
    private waiting: ((line: string) => void) | undefined;

    private constructor(private readonly socket: Socket) {
        socket.setEncoding("utf8").on("data", (text: string) => {
            const lines = (this.buffer + text).split("\n");
            this.buffer = lines.pop() ?? "";
            for (const line of lines) this.waiting?.(line);
        });
    }

    /** @param path of the socket that QEMU opened for the agent's channel */
    static async connect(path: string, timeoutMs: number): Promise<GuestAgent> {
        const socket = createConnection(path);
        await once(socket, "connect");
        const agent = new GuestAgent(socket);
        const deadline = Date.now() + timeoutMs;
        // Until the agent runs, what is written waits in the channel: an answer to an older question is not ours.
        for (let id = 1; ; id++) {
            const answered = agent.sync(id);
            if (await Promise.race([answered, wait(2_000, false, { ref: false })])) return agent;
            if (Date.now() > deadline) throw new Error(`the guest agent does not answer within ${timeoutMs / 1000} s`);
        }
    }

    /**
     * @param command program and arguments
     * @throws when the command can't be started, or runs longer than `timeoutMs`
     */
    async run(command: string[], timeoutMs = 60_000): Promise<GuestResult> {
        const [path = "", ...arg] = command;
        const { pid } = (await this.ask("guest-exec", { path, arg, "capture-output": true })) as { pid: number };
        const deadline = Date.now() + timeoutMs;
        for (;;) {
            const status = (await this.ask("guest-exec-status", { pid })) as ExecStatus;
            if (status.exited) {
                const text = (data: string | undefined) => Buffer.from(data ?? "", "base64").toString();
                const exitCode = status.exitcode ?? 128 + (status.signal ?? 0);
                return { exitCode, stdout: text(status["out-data"]), stderr: text(status["err-data"]) };
            }
            if (Date.now() > deadline) throw new Error(`${command.join(" ")} still runs after ${timeoutMs / 1000} s`);
            await wait(POLL_MS);
        }
    }

    /** Has the guest power itself off. The agent answers only when it can't; when it is done, the machine ends. */
    powerOff(): void {
        this.socket.write(`${JSON.stringify({ execute: "guest-shutdown", arguments: { mode: "powerdown" } })}\n`);
    }

    close(): void {
        this.socket.destroy();
    }

    /** True once the answer to this question comes; what comes before it is passed over. */
    private sync(id: number): Promise<boolean> {
        return new Promise((resolve, reject) => {
            this.socket.once("close", () => reject(new Error("guest-sync: the guest agent's channel was closed")));
            this.waiting = (line) => {
                if (JSON.parse(line).return === id) resolve(true);
            };
            this.socket.write(`${JSON.stringify({ execute: "guest-sync", arguments: { id } })}\n`);
        });
    }

    private ask(execute: string, args: object): Promise<unknown> {
        return new Promise((resolve, reject) => {
            const gone = () => reject(new Error(`${execute}: the guest agent's channel was closed`));
            if (this.socket.destroyed) return gone();
            this.socket.once("close", gone);
            this.waiting = (line) => {
                this.socket.off("close", gone);
                const answer = JSON.parse(line);
                if (answer.error) reject(new Error(`${execute}: ${answer.error.desc}`));
                else resolve(answer.return);
            };
            this.socket.write(`${JSON.stringify({ execute, arguments: args })}\n`);
        });
    }
}

interface ExecStatus {
    exited: boolean;
    exitcode?: number;
    signal?: number;
    "out-data"?: string;
    "err-data"?: string;
}
