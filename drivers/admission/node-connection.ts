import { type ClientHttp2Session, connect as connectHttp2 } from "node:http2";
import { connect as connectTcp, isIP, type Socket } from "node:net";
import { setTimeout as delay } from "node:timers/promises";
import { checkServerIdentity, connect as connectTls } from "node:tls";
import { parseEndpoint } from "../../core/endpoint";
import type { BuildkitEndpoint } from "../buildkit";
import { openRelay, type Relay } from "../relay";
import { call, INFO } from "./wire";

const CONNECT_MS = 10_000;
const ASK_EVERY_MS = 10_000;
const ANSWER_MS = 20_000;

/** What a connection has under way unread, at most, on a stream and over all; buildx sends contexts and gets images through it. */
export const STREAM_WINDOW = 4 * 1024 * 1024;
export const CONNECTION_WINDOW = 16 * 1024 * 1024;
/** Megabytes that Node lets one connection use before it refuses streams; the windows above bound it already. */
export const SESSION_MEMORY = 1024;

const relays = new Map<string, Promise<Relay>>();

/** What is dialled: the endpoint, or the socket on which a command reaches it (ssh and the like), one for all connections. */
async function way({ endpoint, command }: BuildkitEndpoint): Promise<Relay> {
    const key = [endpoint, ...(command ?? [])].join(" ");
    let relay = relays.get(key);
    if (!relay) {
        relay = openRelay(endpoint, command);
        relays.set(key, relay);
        relay.catch(() => relays.delete(key));
    }
    return relay;
}

function dial({ tls }: BuildkitEndpoint, place: string): Socket {
    const parsed = parseEndpoint(place);
    if (parsed.kind === "unix") return connectTcp(parsed.path);
    if (parsed.kind !== "tcp") throw new Error(`${place} can't be dialled`);
    const { host, port } = parsed;
    if (!tls) return connectTcp({ host, port });
    const name = tls.serverName ?? host;
    return connectTls({
        host,
        port,
        ca: tls.ca,
        cert: tls.certificate,
        key: tls.privateKey,
        ALPNProtocols: ["h2"],
        // An address is no name to ask for (RFC 6066, 3); it is compared with the certificate all the same.
        ...(isIP(name) ? {} : { servername: name }),
        checkServerIdentity: (_, certificate) => checkServerIdentity(name, certificate),
    });
}

/**
 * A connection to a node's BuildKit, over which calls can be made.
 *
 * @throws Error with the endpoint and the reason when there is none within 10 s.
 */
export async function connectNode(node: BuildkitEndpoint): Promise<ClientHttp2Session> {
    const relay = await way(node);
    const session = connectHttp2("http://buildkit", {
        createConnection: () => dial(node, relay.endpoint),
        maxSessionMemory: SESSION_MEMORY,
        peerMaxConcurrentStreams: 1_000,
        settings: { initialWindowSize: STREAM_WINDOW, enablePush: false },
    });
    try {
        await new Promise<void>((resolve, reject) => {
            const late = () => reject(new Error(`no answer within ${CONNECT_MS / 1000} s`));
            const timer = setTimeout(late, CONNECT_MS);
            // Its settings are the first that BuildKit says; a way through a command is open before anybody has answered.
            session.once("remoteSettings", () => {
                clearTimeout(timer);
                resolve();
            });
            session.once("error", reject);
            session.once("close", () => {
                clearTimeout(timer);
                reject(new Error(relay.said() || "the connection was closed"));
            });
        });
    } catch (error) {
        session.destroy();
        throw new Error(`${node.endpoint}: ${(error as Error).message}`);
    }
    session.setLocalWindowSize(CONNECTION_WINDOW);
    // The end of it is told by "close"; without a listener an error would end the process.
    session.on("error", () => undefined);
    return session;
}

/**
 * Asks the node again and again whether it is there, until the connection ends: one whose cable was cut says nothing, and
 * the kernel would take a quarter of an hour to notice. Calls for it: BuildKit ends connections that send more pings than gRPC
 * allows.
 *
 * @param silent is told once, when an answer is overdue; the connection is closed then.
 */
export async function watchNode(
    session: ClientHttp2Session,
    silent: (afterMs: number) => void,
    { everyMs = ASK_EVERY_MS, answerMs = ANSWER_MS } = {},
): Promise<void> {
    const ended = new AbortController();
    session.once("close", () => ended.abort());
    while (!session.destroyed) {
        await delay(everyMs, undefined, { ref: false, signal: ended.signal }).catch(() => undefined);
        if (session.destroyed || session.closed) return;
        const answered = await Promise.race([
            call(session, INFO, Buffer.alloc(0)).then(
                () => true,
                () => true,
            ),
            delay(answerMs, false, { ref: false, signal: ended.signal }).catch(() => true),
        ]);
        if (answered) continue;
        silent(answerMs);
        session.destroy();
    }
}
