import { type ChildProcess, execFileSync, spawn } from "node:child_process";
import { once } from "node:events";
import { createServer, type RequestListener } from "node:http";
import { type AddressInfo, connect, type Server, type Socket } from "node:net";
import { networkInterfaces } from "node:os";
import { join } from "node:path";

/** Where EC2's machines find their metadata; also what Amazon calls link-local. */
export const METADATA_ADDRESS = "169.254.169.254";

const CHILD = join(__dirname, "../vm-sockets-child.mjs");

/**
 * What a guest can reach, and nothing else: a network namespace with one cable to this machine. QEMU runs in it, so the
 * guest's connections start there, and the guest calls this machine's servers by the same address as this machine does.
 *
 * The namespace has no name: it lives as long as the process that holds it, which the kernel ends when this process ends,
 * however it ends. So nothing is left over.
 */
export class GuestNetwork {
    private asked = 0;
    private readonly servers: { close(): void }[] = [];

    private constructor(
        private readonly holder: ChildProcess,
        /** Address of this machine as the guest, and this machine itself, call it. */
        readonly host: string,
        /** Address at which this machine reaches what the guest's ports are forwarded to. */
        readonly guest: string,
    ) {}

    /** Needs root. */
    static async create(): Promise<GuestNetwork> {
        const args = ["--pdeathsig", "KILL", "unshare", "--net", process.execPath, CHILD];
        const holder = spawn("setpriv", args, { stdio: ["ignore", "inherit", "inherit", "ipc"] });
        const pid = String(holder.pid);
        try {
            await Promise.race([
                once(holder, "message"),
                once(holder, "exit").then(() => Promise.reject(new Error("no network namespace: are you root?"))),
            ]);
            const { host, guest, name } = freeCable();
            const outside = (...command: string[]) => execFileSync("ip", command);
            const inside = (...command: string[]) =>
                execFileSync("nsenter", ["--net", "--target", pid, "ip", ...command]);
            outside("link", "add", name, "type", "veth", "peer", "name", "cable", "netns", pid);
            outside("address", "add", `${host}/30`, "dev", name);
            outside("link", "set", name, "up");
            inside("address", "add", `${guest}/30`, "dev", "cable");
            inside("address", "add", `${METADATA_ADDRESS}/32`, "dev", "lo");
            inside("link", "set", "lo", "up");
            inside("link", "set", "cable", "up");
            return new GuestNetwork(holder, host, guest);
        } catch (error) {
            holder.kill("SIGKILL");
            throw error;
        }
    }

    /** A command line that runs in the namespace, and ends with this process. */
    command(command: string[]): [string, string[]] {
        const args = ["--pdeathsig", "KILL", "nsenter", "--net", "--target", String(this.holder.pid), ...command];
        return ["setpriv", args];
    }

    /**
     * Serves HTTP to the guest, from this very process.
     *
     * @param address default `guest`; the metadata address is the only other one in the namespace
     * @param port default a free one
     * @returns the URL's origin
     */
    async serve(handler: RequestListener, address = this.guest, port = 0): Promise<string> {
        const http = createServer(handler);
        const sockets = new Set<Socket>();
        const server = await this.listen(address, port);
        server.on("connection", (socket: Socket) => {
            sockets.add(socket.once("close", () => sockets.delete(socket)));
            http.emit("connection", socket);
        });
        this.servers.push({
            close: () => {
                server.close();
                for (const socket of sockets) socket.destroy();
            },
        });
        return `http://${address}:${(server.address() as AddressInfo).port}`;
    }

    private listen(address: string, port: number): Promise<Server> {
        const id = ++this.asked;
        return new Promise((resolve, reject) => {
            const onMessage = (message: { id: number; error?: string }, server: unknown) => {
                if (message.id !== id) return;
                this.holder.off("message", onMessage as never);
                if (message.error) reject(new Error(`${address}:${port}: ${message.error}`));
                else resolve(server as Server);
            };
            this.holder.on("message", onMessage as never);
            this.holder.send({ id, address, port });
        });
    }

    /** Whether something accepts connections at a forwarded port of the guest's. */
    answers(port: number): Promise<boolean> {
        return new Promise((resolve) => {
            const socket = connect({ host: this.guest, port });
            socket.once("connect", () => resolve(true)).once("error", () => resolve(false));
            socket.once("connect", () => socket.destroy());
        });
    }

    async close(): Promise<void> {
        for (const server of this.servers) server.close();
        const ended = once(this.holder, "exit");
        this.holder.kill("SIGKILL");
        await ended;
    }
}

/** The two ends of a cable, in a /30 that this machine does not use yet. */
function freeCable(): { host: string; guest: string; name: string } {
    const taken = new Set(
        Object.values(networkInterfaces()).flatMap((entries) => (entries ?? []).map(({ address }) => address)),
    );
    for (let i = 0; i < 1024; i++) {
        // By the process id first: two of us that look at the same time seldom take the same.
        const block = (process.pid + i) % (64 * 256);
        const prefix = `10.213.${block >> 6}`;
        const host = `${prefix}.${(block % 64) * 4 + 1}`;
        if (!taken.has(host)) return { host, guest: `${prefix}.${(block % 64) * 4 + 2}`, name: `bfvm${block}` };
    }
    throw new Error("no address is free for a machine's network");
}
