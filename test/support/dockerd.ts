import { type ChildProcess, execFileSync, spawn } from "node:child_process";
import { once } from "node:events";
import { chmodSync, existsSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { request } from "node:http";
import { connect } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { setTimeout as delay } from "node:timers/promises";
import { findTool } from "../../drivers/tools";

const CAP_SYS_RESOURCE = 24;

/**
 * A privileged container gets every capability there is, and where this machine itself lacks one, none starts. A runtime that
 * takes it out of the bundle and out of each `exec` is what such a machine's owner would register.
 */
const RUNTIME = `#!/bin/sh
set -eu
without() { sed -i -e 's/"CAP_SYS_RESOURCE",//g' -e 's/,"CAP_SYS_RESOURCE"//g' "$1"; }
previous=""
for word in "$@"; do
    case "$previous" in
        --bundle | -b) without "$word/config.json" ;;
        --process | -p) without "$word" ;;
    esac
    previous="$word"
done
exec RUNC "$@"
`;

function lacksSysResource(): boolean {
    const bounding = /^CapBnd:\s*(\w+)/m.exec(readFileSync("/proc/self/status", "utf8"))?.[1] ?? "0";
    return ((BigInt(`0x${bounding}`) >> BigInt(CAP_SYS_RESOURCE)) & 1n) === 0n;
}

/** What Docker's API says of a container, as far as tests look at it. */
export interface DockerContainer {
    Id: string;
    Image: string;
    Config: { Image: string; Env: string[]; Cmd: string[] };
    HostConfig: { Memory: number; CpuQuota: number; CpuPeriod: number; NetworkMode: string };
    State: { Running: boolean; StartedAt: string };
}

/**
 * Handlers of binfmt_misc are a user namespace's own (Linux 6.7), so those of its containers are not this machine's. The network is
 * the user namespace's, too: the daemon visits those of its containers, and could not come back into one of somebody else's.
 */
const OWN_HANDLERS = 'ip link set lo up; mount -t binfmt_misc binfmt_misc /proc/sys/fs/binfmt_misc; exec "$0" "$@"';

/**
 * The distribution's Docker daemon, on a socket and with a root of its own. It lives in a PID and a mount namespace: whoever
 * ends it, however, ends its containers, and no mount of it is left.
 */
export class Dockerd {
    private constructor(
        private readonly child: ChildProcess,
        readonly folder: string,
        readonly log: () => string,
    ) {}

    get socket(): string {
        return join(this.folder, "docker.sock");
    }

    /** `unix:///…/docker.sock` */
    get endpoint(): string {
        return `unix://${this.socket}`;
    }

    /**
     * Needs root.
     *
     * @param emulation whether it has handlers of binfmt_misc of its own, and then a network of its own; default this machine's
     * @throws when it is not installed, or does not answer; the message has its log.
     */
    static async start({ emulation = false } = {}): Promise<Dockerd> {
        const binary = findTool("dockerd");
        const folder = mkdtempSync(join(tmpdir(), "dockerd-test-"));
        const runtime = join(folder, "runtime");
        writeFileSync(runtime, RUNTIME.replace("RUNC", findTool("runc")));
        chmodSync(runtime, 0o755);
        writeFileSync(join(folder, "daemon.json"), "{}");
        const settings = {
            "config-file": join(folder, "daemon.json"),
            "data-root": join(folder, "data"),
            "exec-root": join(folder, "run"),
            pidfile: join(folder, "docker.pid"),
            host: `unix://${join(folder, "docker.sock")}`,
            // Nothing of this machine's network is touched: containers have the machine's own, or none.
            bridge: "none",
            iptables: "false",
            ip6tables: "false",
            "init-path": findTool("docker-init"),
            ...(lacksSysResource() && { "add-runtime": `lesser=${runtime}`, "default-runtime": "lesser" }),
        };
        const args = Object.entries(settings).map(([name, value]) => `--${name}=${value}`);
        const namespaces = ["--pid", "--mount", "--fork", "--kill-child", "--mount-proc"];
        const command = [binary, ...args];
        if (emulation) {
            namespaces.push("--net", "--user", "--map-users=0,0,65536", "--map-groups=0,0,65536");
            // unshare leaves the maps to these programs, which are another package's and ask for a list of who may do so.
            for (const map of ["uid", "gid"])
                writeFileSync(join(folder, `new${map}map`), `#!/bin/sh\necho "$2 $3 $4" >/proc/$1/${map}_map\n`, {
                    mode: 0o755,
                });
            command.unshift("sh", "-euc", OWN_HANDLERS);
        }
        const child = spawn("setpriv", ["--pdeathsig", "KILL", "unshare", ...namespaces, ...command], {
            env: { ...process.env, PATH: `${folder}:${process.env.PATH}` },
            stdio: ["ignore", "pipe", "pipe"],
        });
        let log = "";
        child.stdout.on("data", (chunk) => (log += chunk));
        child.stderr.on("data", (chunk) => (log += chunk));
        const daemon = new Dockerd(child, folder, () => log);
        const deadline = Date.now() + 60_000;
        while (!(await daemon.answers())) {
            if (child.exitCode !== null || Date.now() > deadline) {
                await daemon.stop();
                throw new Error(`dockerd does not answer:\n${log}`);
            }
            await delay(50);
        }
        return daemon;
    }

    private answers(): Promise<boolean> {
        return new Promise((resolve) => {
            const socket = connect(this.socket);
            socket.once("connect", () => resolve(true)).once("error", () => resolve(false));
            socket.once("connect", () => socket.destroy());
        });
    }

    /** The docker CLI against this daemon. */
    docker(...args: string[]): string {
        return execFileSync("/usr/bin/docker", ["--host", this.endpoint, ...args], { encoding: "utf8" });
    }

    /** A command line that runs where a daemon with `emulation` does, with its mounts and rights. */
    inside(command: string[]): [string, string[]] {
        return ["nsenter", ["--target", `${this.pid()}`, "--user", "--mount", "--net", "--", ...command]];
    }

    /** What a script prints that runs there. */
    shell(script: string): string {
        return execFileSync(...this.inside(["sh", "-euc", script]), { encoding: "utf8" }).trim();
    }

    /** Asks the API; nothing where it says 404. */
    private ask(method: string, path: string): Promise<string | undefined> {
        return new Promise((resolve, reject) => {
            const call = request({ socketPath: this.socket, method, path }, (response) => {
                let text = "";
                response.setEncoding("utf8").on("data", (chunk) => (text += chunk));
                response.once("end", () => {
                    const { statusCode = 0 } = response;
                    if (statusCode === 404) resolve(undefined);
                    else if (statusCode >= 300) reject(new Error(`${method} ${path}: ${statusCode} ${text}`));
                    else resolve(text);
                });
            });
            call.once("error", reject).end();
        });
    }

    async container(name: string): Promise<DockerContainer | undefined> {
        const text = await this.ask("GET", `/containers/${name}/json`);
        return text === undefined ? undefined : JSON.parse(text);
    }

    /** Names of all containers, running or not. */
    async containers(): Promise<string[]> {
        const found: { Names: string[] }[] = JSON.parse((await this.ask("GET", "/containers/json?all=1")) ?? "[]");
        return found.flatMap(({ Names }) => Names.map((name) => name.slice(1))).sort();
    }

    async volumes(): Promise<string[]> {
        const found: { Volumes: { Name: string }[] | null } = JSON.parse((await this.ask("GET", "/volumes")) ?? "{}");
        return (found.Volumes ?? []).map(({ Name }) => Name).sort();
    }

    async remove(name: string): Promise<void> {
        await this.ask("DELETE", `/containers/${name}?force=1`);
    }

    async stop(): Promise<void> {
        if (this.child.exitCode === null && this.child.signalCode === null) {
            const ended = once(this.child, "exit");
            // unshare ends at once and takes the namespace with it, so the daemon in it is asked to end first.
            const pid = this.pid();
            if (pid !== undefined) process.kill(pid, "SIGTERM");
            else this.child.kill("SIGKILL");
            const late = setTimeout(() => this.child.kill("SIGKILL"), 15_000);
            await ended;
            clearTimeout(late);
        }
        rmSync(this.folder, { recursive: true, force: true });
    }

    /** The daemon's process as this namespace counts it: the only child of `unshare`. */
    private pid(): number | undefined {
        const children = `/proc/${this.child.pid}/task/${this.child.pid}/children`;
        const text = existsSync(children) ? readFileSync(children, "utf8").trim() : "";
        return text === "" ? undefined : Number(text.split(" ")[0]);
    }
}
