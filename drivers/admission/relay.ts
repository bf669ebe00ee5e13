import {
    type ClientHttp2Session,
    createServer,
    type Http2Server,
    type IncomingHttpHeaders,
    type ServerHttp2Session,
    type ServerHttp2Stream,
} from "node:http2";
import type { Socket } from "node:net";
import pLimit, { type LimitFunction } from "p-limit";
import { progress, whileWorking } from "../progress";
import { Connection, type LimitedNode } from "./connection";
import { forward, refuse } from "./forward";
import { CONNECTION_WINDOW, SESSION_MEMORY, STREAM_WINDOW } from "./node-connection";
import { type Slot, takeSlot } from "./slots";
import { BUILD_ID, call, readSolveRequest, readStatusRequest, SOLVE, STATUS, statusRequest, unframe } from "./wire";

/**
 * A call about a build may come before the build itself, at the same time as it; one that is about another's build, or an old
 * one, is not held back for longer than this.
 */
const UNKNOWN_BUILD_MS = 2_000;
/** A wait that is shorter is not worth a line. */
const WORTH_TELLING_MS = 1_000;

/** Waits in this process: one at a time for each node, in the order they came. */
const queues = new Map<string, LimitFunction>();

function queueOf(node: LimitedNode): LimitFunction {
    const queue = queues.get(node.endpoint) ?? pLimit(1);
    queues.set(node.endpoint, queue);
    return queue;
}

/** Resolves when a build was let in; made by whoever asks first, the build or a call about it. */
interface Entry {
    seen: boolean;
    admitted: Promise<void>;
    admit(): void;
}

/**
 * Passes BuildKit's API on to a node, and holds each build back until the node has a place for it. What belongs to a build
 * (its status, what its frontend asks) is held back with it: BuildKit gives up on such a call after some seconds without the build.
 * Each connection has one of its own to the node, and places are held on that: they end together.
 */
export class AdmissionRelay {
    readonly server: Http2Server;
    private readonly connections = new Map<ServerHttp2Session, Connection>();
    private readonly sockets = new Set<Socket>();
    private readonly builds = new Map<string, Entry>();

    constructor(
        readonly builder: string,
        public node: LimitedNode,
    ) {
        this.server = createServer({
            maxSessionMemory: SESSION_MEMORY,
            settings: { initialWindowSize: STREAM_WINDOW, maxConcurrentStreams: 2 ** 31 - 1 },
        });
        this.server.on("connection", (socket: Socket) => {
            this.sockets.add(socket);
            socket.once("close", () => this.sockets.delete(socket));
        });
        this.server.on("session", (session) => {
            session.setLocalWindowSize(CONNECTION_WINDOW);
            session.on("error", () => undefined);
        });
        this.server.on("sessionError", () => undefined);
        // Node's types leave out the fourth, which keeps headers of one name apart.
        const onStream = (stream: ServerHttp2Stream, headers: IncomingHttpHeaders, _flags: number, raw: string[]) => {
            stream.on("error", () => undefined);
            const session = stream.session as ServerHttp2Session | undefined;
            if (!session) return;
            void this.handle(this.connectionOf(session), stream, raw, {
                path: headers[":path"] ?? "",
                build: headers[BUILD_ID],
            }).catch((error: Error) => refuse(stream, error));
        };
        this.server.on("stream", onStream as unknown as () => void);
    }

    /** Ends every connection at once; the builds on them end, too. */
    async close(): Promise<void> {
        const closed = new Promise<void>((resolve) => this.server.close(() => resolve()));
        for (const socket of this.sockets) socket.destroy();
        await closed;
        await Promise.all([...this.connections.values()].map((connection) => connection.ended));
    }

    private connectionOf(session: ServerHttp2Session): Connection {
        let connection = this.connections.get(session);
        if (!connection) {
            connection = new Connection(session, this.node);
            this.connections.set(session, connection);
            void connection.ended.then(() => this.connections.delete(session));
        }
        return connection;
    }

    private entry(ref: string): Entry {
        let entry = this.builds.get(ref);
        if (!entry) {
            let admit = () => {};
            const admitted = new Promise<void>((resolve) => {
                admit = resolve;
            });
            entry = { seen: false, admitted, admit };
            this.builds.set(ref, entry);
        }
        return entry;
    }

    /** Until the build is in, or for a moment where no such build comes. */
    private async until(ref: string): Promise<void> {
        const entry = this.entry(ref);
        const timer = setTimeout(() => !entry.seen && entry.admit(), UNKNOWN_BUILD_MS);
        await entry.admitted;
        clearTimeout(timer);
    }

    private async handle(
        connection: Connection,
        stream: ServerHttp2Stream,
        raw: string[],
        { path, build }: { path: string; build: string | string[] | undefined },
    ): Promise<void> {
        let body: Buffer | undefined;
        if (path === SOLVE || path === STATUS) {
            body = await readAll(stream);
            if (!body) return;
        }
        if (path === SOLVE && body) {
            const { Ref, Internal } = readSolveRequest(unframe(body));
            // An internal one is a part of another build, or asks for something; waiting for it could be for ever.
            if (!Internal) return this.build(connection, stream, raw, body, Ref);
        } else if (path === STATUS && body) {
            await this.until(readStatusRequest(unframe(body)).Ref);
        } else if (typeof build === "string") {
            await this.until(build);
        }
        const session = await connection.session();
        if (!stream.destroyed) forward(session, stream, raw, body);
    }

    private async build(
        connection: Connection,
        stream: ServerHttp2Stream,
        raw: string[],
        body: Buffer,
        ref: string,
    ): Promise<void> {
        const entry = this.entry(ref);
        entry.seen = true;
        const session = await connection.session();
        const gone = new AbortController();
        stream.once("close", () => gone.abort());
        if (stream.destroyed) return;
        const working = (async () => {
            const slot = await this.wait(connection.node, session, gone.signal);
            try {
                if (stream.destroyed) return;
                const { done, cancel } = forward(session, stream, raw, body);
                entry.admit();
                const lost = await Promise.race([done, slot.lost]);
                if (lost instanceof Error)
                    cancel(`the place on builder node ${connection.node.name} was lost: ${lost.message}`);
                // A build that was cancelled goes on until BuildKit has stopped its steps, and has its place until then.
                if (!(await done)) await call(session, STATUS, statusRequest(ref)).catch(() => undefined);
            } finally {
                slot.release();
            }
        })();
        connection.keepFor(working);
        // Calls that were held back with a build that fails get the node's answer: there is no such build.
        await working.finally(entry.admit);
    }

    private async wait(node: LimitedNode, session: ClientHttp2Session, gone: AbortSignal): Promise<Slot> {
        const started = Date.now();
        const queue = queueOf(node);
        const seconds = () => ((Date.now() - started) / 1000).toFixed(1);
        const what = `builder ${this.builder}: waits for builder node ${node.name}, which runs ${node.maxBuilds} builds at a time`;
        let told = false;
        const timer = setTimeout(() => {
            told = true;
            progress(what, true);
        }, WORTH_TELLING_MS);
        try {
            const slot = await whileWorking(
                () => what,
                () => queue(() => takeSlot(session, node.maxBuilds, gone)),
            );
            if (told)
                progress(`builder ${this.builder}: builder node ${node.name} has a place after ${seconds()} s`, true);
            return slot;
        } finally {
            clearTimeout(timer);
        }
    }
}

/** A unary request's bytes; nothing where the client went away first. */
function readAll(stream: ServerHttp2Stream): Promise<Buffer | undefined> {
    return new Promise((resolve) => {
        const chunks: Buffer[] = [];
        stream.on("data", (chunk: Buffer) => chunks.push(chunk));
        stream.once("end", () => resolve(stream.aborted ? undefined : Buffer.concat(chunks)));
        stream.once("close", () => resolve(undefined));
    });
}
