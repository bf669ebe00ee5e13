import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import { mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { createServer, type IncomingHttpHeaders, type RequestListener, type Server } from "node:http";
import { dirname, join } from "node:path";
import { type HostSettings, hostFiles } from "../../core/host";
import { removedSoon } from "../support/files";

/**
 * A machine for the real scripts without a machine: this one's file system under an overlay, a network namespace of its own with
 * the metadata service's address on its loopback device. What a script writes is thrown away with the room.
 */
export class HostRoom {
    readonly folder = mkdtempSync("/tmp/buildfleet-room-");
    /** Of the room's first process; its root is the room's. */
    private pid = "";
    private holder: ChildProcess | undefined;
    private server: Server | undefined;

    /** @param route who plays the metadata service and AWS, for every request to port 80 in the room, by its `Host`. */
    async open(route: (headers: IncomingHttpHeaders) => RequestListener): Promise<this> {
        for (const name of ["upper", "work", "root"]) mkdirSync(join(this.folder, name));
        const socket = join(this.folder, "aws.sock");
        this.server = createServer((request, response) => route(request.headers)(request, response)).listen(socket);
        await once(this.server, "listening");
        // The kernel ends the room when this process ends, however it ends.
        const unshare = ["unshare", "--mount", "--net", "--pid", "--fork", "--kill-child", "bash", "-c", SETUP];
        this.holder = spawn("setpriv", ["--pdeathsig", "KILL", ...unshare], {
            cwd: this.folder,
            env: { ...process.env, NODE: process.execPath, FORWARD },
            stdio: ["ignore", "pipe", "inherit"],
        });
        const { stdout } = this.holder;
        if (!stdout) throw new Error("the room has no output");
        const ended = once(this.holder, "exit").then(() => Promise.reject(new Error("the room could not be made")));
        await Promise.race([once(stdout, "data"), ended]);
        const { pid } = this.holder;
        this.pid = readFileSync(`/proc/${pid}/task/${pid}/children`, "utf8").trim();
        return this;
    }

    /** Writes what a machine with these settings gets. */
    install(settings: HostSettings): void {
        for (const { path, mode, content } of hostFiles(settings)) {
            this.write(path, content, Number.parseInt(mode, 8));
        }
    }

    write(path: string, content: string | Buffer, mode = 0o644): void {
        const target = join(`/proc/${this.pid}/root`, path);
        mkdirSync(dirname(target), { recursive: true });
        writeFileSync(target, content, { mode });
    }

    /** Runs a command in the room, to its end. */
    run(command: string, ...args: string[]): Promise<Ended> {
        return this.start(command, ...args).ended;
    }

    /** Runs one of the scripts, to its end. */
    script(name: string, ...args: string[]): Promise<Ended> {
        return this.run(`/usr/local/libexec/buildfleet/${name}`, ...args);
    }

    /** Starts a command in the room; `says` waits for something on its standard error. */
    start(command: string, ...args: string[]): { ended: Promise<Ended>; says(pattern: RegExp): Promise<void> } {
        const enter = ["--target", this.pid, "--mount", "--net", "--pid", "--root", "--wdns=/", "--", command, ...args];
        const child = spawn("nsenter", enter, {
            env: { PATH: "/usr/sbin:/usr/bin:/sbin:/bin", LANG: "C.UTF-8" },
            stdio: ["ignore", "pipe", "pipe"],
        });
        const output = { stdout: "", stderr: "" };
        child.stdout.setEncoding("utf8").on("data", (text: string) => {
            output.stdout += text;
        });
        child.stderr.setEncoding("utf8").on("data", (text: string) => {
            output.stderr += text;
        });
        const ended = new Promise<Ended>((resolve, reject) => {
            child.once("error", reject);
            child.once("close", (code, signal) => resolve({ code: code ?? `${signal}`, ...output }));
        });
        const says = (pattern: RegExp) =>
            new Promise<void>((resolve, reject) => {
                const look = () => pattern.test(output.stderr) && resolve();
                child.stderr.on("data", look);
                child.once("close", () => reject(new Error(`it ended without ${pattern}:\n${output.stderr}`)));
                look();
            });
        return { ended, says };
    }

    async close(): Promise<void> {
        if (this.holder && this.holder.exitCode === null && this.holder.signalCode === null) {
            this.holder.kill("SIGKILL");
            await once(this.holder, "exit");
        }
        this.server?.closeAllConnections();
        this.server?.close();
        await removedSoon(() => rmSync(this.folder, { recursive: true, force: true }));
    }
}

/** What a command left. */
interface Ended {
    /** Exit code, or the signal that ended it. */
    code: number | string;
    stdout: string;
    stderr: string;
}

/** In the room, port 80 of all its addresses leads to the test's own server. */
const FORWARD = `
const net = require("node:net");
const answer = (client) => {
    const server = net.connect("/run/outer/aws.sock");
    client.pipe(server).pipe(client);
    client.on("error", () => server.destroy());
    server.on("error", () => client.destroy());
};
net.createServer(answer).listen(80, "0.0.0.0", () => console.log("ready"));
`;

const SETUP = `
set -e
mount -t overlay overlay -o lowerdir=/,upperdir=$PWD/upper,workdir=$PWD/work root
cd root
mount -t proc proc proc
mount -t sysfs sysfs sys
mount -t cgroup2 cgroup2 sys/fs/cgroup
mount -t tmpfs tmpfs dev
cp -a /dev/{null,zero,full,random,urandom,tty,ptmx,loop*} dev
ln -s /proc/self/fd dev/fd
mkdir dev/pts dev/shm
mount -t devpts devpts dev/pts
touch dev/console
mount -t tmpfs tmpfs run
mount -t tmpfs tmpfs tmp
mkdir run/outer
mount --bind .. run/outer
ip link set lo up
ip address add 169.254.169.254/32 dev lo
exec chroot . "$NODE" -e "$FORWARD"
`;
