import { type ChildProcess, execFileSync, spawn } from "node:child_process";
import { once } from "node:events";
import { connect } from "node:net";
import { networkInterfaces } from "node:os";

/** A network namespace that lives as long as a process, which the kernel ends when this process ends, however it ends. */
class Namespace {
    private constructor(private readonly holder: ChildProcess) {}

    static async create(): Promise<Namespace> {
        const script = "ip link set lo up && echo ready && exec sleep infinity";
        const args = ["--pdeathsig", "KILL", "unshare", "--net", "sh", "-c", script];
        const holder = spawn("setpriv", args, { stdio: ["ignore", "pipe", "inherit"] });
        await Promise.race([
            once(holder.stdout, "data"),
            once(holder, "exit").then(() => Promise.reject(new Error("no network namespace: are you root?"))),
        ]);
        return new Namespace(holder);
    }

    get pid(): string {
        return String(this.holder.pid);
    }

    /** `setpriv … nsenter … command`: in the namespace, and ending with this process. */
    command(command: string[]): [string, string[]] {
        return ["setpriv", ["--pdeathsig", "KILL", "nsenter", "--net", "--target", this.pid, "--", ...command]];
    }

    run(...command: string[]): string {
        return execFileSync("nsenter", ["--net", "--target", this.pid, "--", ...command], { encoding: "utf8" });
    }

    async close(): Promise<void> {
        const ended = once(this.holder, "exit");
        this.holder.kill("SIGKILL");
        await ended;
    }
}

/** A machine of the room: a network of its own, and one cable to the switch. */
export class RoomHost {
    constructor(
        private readonly namespace: Namespace,
        private readonly hub: Namespace,
        private readonly cable: string,
        /** Its address, for all others in the room and for this machine. */
        readonly address: string,
    ) {}

    command(command: string[]): [string, string[]] {
        return this.namespace.command(command);
    }

    /** Its address, as that of a guest of this machine. */
    get guest(): string {
        return this.address;
    }

    /** Whether something accepts connections at a port of it. */
    answers(port: number): Promise<boolean> {
        return new Promise((resolve) => {
            const socket = connect({ host: this.address, port });
            socket.once("connect", () => resolve(true)).once("error", () => resolve(false));
            socket.once("connect", () => socket.destroy());
        });
    }

    /** Nothing gets through any more, and nobody is told. */
    cut(): void {
        this.hub.run("ip", "link", "set", this.cable, "down");
    }

    mend(): void {
        this.hub.run("ip", "link", "set", this.cable, "up");
    }
}

/**
 * A machine room: network namespaces with a cable each to a switch, and this machine with one, too. There is no way out of it,
 * and nothing of it is left when this process ends. Needs root.
 */
export class MachineRoom {
    private readonly all: Namespace[];

    private constructor(
        private readonly hub: Namespace,
        private readonly prefix: string,
    ) {
        this.all = [hub];
    }

    static async create(): Promise<MachineRoom> {
        const hub = await Namespace.create();
        const { prefix, name } = freeNetwork();
        try {
            hub.run("ip", "link", "add", "switch", "type", "bridge");
            hub.run("ip", "link", "set", "switch", "up");
            execFileSync("ip", ["link", "add", name, "type", "veth", "peer", "name", "uplink", "netns", hub.pid]);
            execFileSync("ip", ["address", "add", `${prefix}.1/24`, "dev", name]);
            execFileSync("ip", ["link", "set", name, "up"]);
            hub.run("ip", "link", "set", "uplink", "master", "switch", "up");
        } catch (error) {
            await hub.close();
            throw error;
        }
        return new MachineRoom(hub, prefix);
    }

    /** This machine's address in the room. */
    get address(): string {
        return `${this.prefix}.1`;
    }

    async host(): Promise<RoomHost> {
        const namespace = await Namespace.create();
        const number = this.all.push(namespace);
        const cable = `cable${number}`;
        const address = `${this.prefix}.${number + 8}`;
        this.hub.run("ip", "link", "add", cable, "type", "veth", "peer", "name", "eth0", "netns", namespace.pid);
        this.hub.run("ip", "link", "set", cable, "master", "switch", "up");
        namespace.run("ip", "address", "add", `${address}/24`, "dev", "eth0");
        namespace.run("ip", "link", "set", "eth0", "up");
        return new RoomHost(namespace, this.hub, cable, address);
    }

    async close(): Promise<void> {
        await Promise.all(this.all.map((one) => one.close()));
    }
}

/** A /24 that this machine does not use yet, and a name for its end of the cable. */
function freeNetwork(): { prefix: string; name: string } {
    const taken = Object.values(networkInterfaces()).flatMap((all) => (all ?? []).map(({ address }) => address));
    for (let i = 0; i < 256; i++) {
        const block = (process.pid + i) % 256;
        const prefix = `10.214.${block}`;
        if (!taken.some((address) => address.startsWith(`${prefix}.`))) return { prefix, name: `bfroom${block}` };
    }
    throw new Error("no network is free for a machine room");
}
