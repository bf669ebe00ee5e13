import { createHash } from "node:crypto";
import { mkdirSync, readFileSync, rmSync } from "node:fs";
import { createConnection } from "node:net";
import { tmpdir } from "node:os";
import { join, resolve } from "node:path";
import { setTimeout as delay } from "node:timers/promises";
import { type Limits, limitedCommand } from "../../core/limits";
import { removeGroup } from "../../drivers/cgroup";
import { type Daemon, daemonOf, isAlive, lastLines, readPidFile, startDaemon, stopDaemon } from "../../drivers/daemon";
import { writeFileAtomic } from "../../drivers/files";
import { unmountBelow } from "../../drivers/mounts";
import { freePort, tryPort } from "../../drivers/port";
import { changedInputs, defineOperations } from "../operations";

export interface Inputs {
    command: string;
    arguments: string[];
    environment: Record<string, string>;
    folder: string;
    files: Record<string, string>;
    dataFolder: string;
    keepData: boolean;
    port: number;
    readinessPath: string;
    readinessSeconds: number;
    /** Default none. */
    limits?: Limits;
}

interface State extends Inputs, Daemon {
    /** The port it listens on. */
    listenPort: number;
    /** `127.0.0.1:port` */
    address: string;
    /** Of everything it was started with, to know it again after a run that was killed. */
    specification: string;
}

const paths = (inputs: Inputs) => {
    const folder = resolve(inputs.folder);
    return {
        folder,
        data: resolve(inputs.dataFolder),
        pid: join(folder, "process.pid"),
        started: join(folder, "process.json"),
        log: join(folder, "process.log"),
        socket: socketPath(folder),
        group: `buildfleet-${hashOf(folder)}.scope`,
    };
};

/** Room for a socket's name in an address (unix(7), sun_path), less the end of the string. */
const SOCKET_PATH_LIMIT = 107;

function socketPath(folder: string): string {
    const path = join(folder, "process.sock");
    if (Buffer.byteLength(path) <= SOCKET_PATH_LIMIT) return path;
    return join(tmpdir(), `buildfleet-${hashOf(folder)}.sock`);
}

const hashOf = (folder: string) => createHash("sha256").update(folder).digest("hex").slice(0, 16);

function specificationOf({ command, arguments: args, environment, files, limits }: Inputs, port: number): string {
    const parts = [command, args, environment, files, port, ...(limits ? [limits] : [])];
    return createHash("sha256").update(JSON.stringify(parts)).digest("hex");
}

/** What an earlier run started in this folder and is still there, whether or not a state knows of it. */
function left(inputs: Inputs): { daemon: Daemon; specification?: string; port?: number } | undefined {
    const daemon = readPidFile(paths(inputs).pid);
    if (!daemon || !commandOf(daemon).includes(paths(inputs).folder)) return undefined;
    try {
        const known = JSON.parse(readFileSync(paths(inputs).started, "utf8"));
        return known.startedAt === daemon.startedAt ? { daemon, ...known } : { daemon };
    } catch {
        return { daemon };
    }
}

/** Every process we start names its folder in its arguments; no other process that got its pid does. */
const commandOf = (daemon: Daemon) => {
    try {
        return readFileSync(`/proc/${daemon.pid}/cmdline`, "utf8");
    } catch {
        return "";
    }
};

async function accepts(port: number, path: string): Promise<boolean> {
    if (path) {
        try {
            return (
                (await fetch(`http://127.0.0.1:${port}${path}`, { signal: AbortSignal.timeout(1_000) })).status < 500
            );
        } catch {
            return false;
        }
    }
    return new Promise((done) => {
        const socket = createConnection({ host: "127.0.0.1", port, timeout: 1_000 });
        const end = (ok: boolean) => {
            socket.destroy();
            done(ok);
        };
        socket.once("connect", () => end(true));
        socket.once("error", () => end(false));
        socket.once("timeout", () => end(false));
    });
}

async function awaitReady(inputs: Inputs, daemon: Daemon, port: number): Promise<void> {
    const end = Date.now() + inputs.readinessSeconds * 1000;
    const { log } = paths(inputs);
    while (!(await accepts(port, inputs.readinessPath))) {
        if (!isAlive(daemon))
            throw new Error(`${inputs.command} ended before it was ready; ${log} ends:\n${lastLines(log)}`);
        if (Date.now() > end) {
            await stopDaemon(daemon);
            throw new Error(
                `${inputs.command} did not answer on 127.0.0.1:${port} within ${inputs.readinessSeconds} s; ${log} ends:\n${lastLines(log)}`,
            );
        }
        await delay(25);
    }
}

async function start(inputs: Inputs, previousPort: number | undefined): Promise<State> {
    const { folder, data, pid, started, log, socket, group } = paths(inputs);
    const found = left(inputs);
    if (found) {
        const port = found.port ?? 0;
        const isAskedFor = port > 0 && (inputs.port === 0 || inputs.port === port);
        if (
            isAskedFor &&
            found.specification === specificationOf(inputs, port) &&
            (await accepts(port, inputs.readinessPath))
        )
            return state(inputs, found.daemon, port);
        await stopDaemon(found.daemon);
    }
    mkdirSync(folder, { recursive: true, mode: 0o700 });
    mkdirSync(data, { recursive: true, mode: 0o700 });
    const again = !inputs.port && previousPort ? await tryPort(previousPort) : undefined;
    const port = again ?? (await freePort(inputs.port));
    const fill = (text: string) =>
        text
            .replaceAll("{port}", String(port))
            .replaceAll("{folder}", folder)
            .replaceAll("{data}", data)
            .replaceAll("{socket}", socket)
            .replaceAll("{group}", group);
    for (const [name, content] of Object.entries(inputs.files))
        writeFileAtomic(join(folder, name), fill(content), 0o600);
    // What one that was killed has left: its limits may be others.
    await removeGroup(group);
    try {
        const daemon = await startDaemon({
            command: inputs.command,
            args: inputs.arguments.map(fill),
            cwd: folder,
            env: inputs.environment,
            pidFile: pid,
            logFile: log,
            ...(inputs.limits ? { through: limitedCommand(group, inputs.limits) } : {}),
        });
        const specification = specificationOf(inputs, port);
        writeFileAtomic(started, JSON.stringify({ startedAt: daemon.startedAt, specification, port }), 0o600);
        await awaitReady(inputs, daemon, port);
        // The shell that wrote the pid file has become the command by now, under the same pid and start.
        return state(inputs, daemonOf(daemon.pid) ?? daemon, port);
    } catch (error) {
        await removeGroup(group);
        throw error;
    }
}

function state(inputs: Inputs, daemon: Daemon, port: number): State {
    return {
        ...inputs,
        ...daemon,
        listenPort: port,
        address: `127.0.0.1:${port}`,
        specification: specificationOf(inputs, port),
    };
}

export const operations = defineOperations<Inputs, State>({
    replaceOn: ["folder", "dataFolder"],
    async create(inputs) {
        return { id: inputs.folder, outs: await start(inputs, undefined) };
    },
    async changes(known, inputs) {
        // No limits said any more are none: a change, too.
        const changed = changedInputs(known, { limits: undefined, ...inputs }, ["readinessSeconds", "keepData"]);
        return isAlive(known) ? changed : [...changed, "pid"];
    },
    async update(known, inputs) {
        const sameSpecification = known.specification === specificationOf(inputs, known.listenPort);
        if (isAlive(known) && !sameSpecification) await stopDaemon(known);
        return start(inputs, known.listenPort);
    },
    async read(known) {
        // Dead or alive, it is ours; `changes` sees that it has died and the next update restarts it.
        return known;
    },
    async delete(known) {
        const { folder, data, socket, group } = paths(known);
        const found = left(known);
        if (found) await stopDaemon(found.daemon);
        if (isAlive(known)) await stopDaemon(known);
        await removeGroup(group);
        if (!known.keepData) {
            await unmountBelow(data);
            rmSync(data, { recursive: true, force: true });
        }
        rmSync(socket, { force: true });
        rmSync(folder, { recursive: true, force: true });
    },
});
