import type { IncomingHttpHeaders } from "node:http";
import { rootCertificates } from "node:tls";
import { Agent, type Dispatcher, Pool, request as send } from "undici";
import { fromTransport, RegistryError } from "./errors";

/** Largest error body that is looked at, in bytes. */
const ERROR_BODY = 64 * 1024;
const MAX_REDIRECTS = 5;
/** The slowest transfer that is still waited for: a second more for each MiB. */
const MS_PER_BYTE = 1000 / (1024 * 1024);

interface TransportOptions {
    /** Scheme, host and port of the registry: the only one that is shown the client certificate. */
    origin: string;
    /** PEM, one or more certificates; trusted besides the system's. */
    ca?: string | undefined;
    /** PEM. */
    clientCert?: string | undefined;
    /** PEM. */
    clientKey?: string | undefined;
    /** Milliseconds for one request and its answer, plus one second for each MiB moved. */
    timeoutMs: number;
}

export interface WireRequest {
    method: "GET" | "HEAD" | "POST" | "PUT" | "PATCH" | "DELETE";
    url: URL;
    headers?: Record<string, string>;
    /** Sent to the URL's own origin only, never to where a redirect leads. */
    authorization?: string | undefined;
    body?: Buffer | string | undefined;
    /** Largest body of a successful answer, in bytes. */
    limit: number;
    /** Takes the body of a successful answer piece by piece, however large; the answer's own body is empty then. */
    receive?: Receive | undefined;
    signal?: AbortSignal | undefined;
}

/** What it throws is thrown on as it is. The time it takes is its own, and counts for no time-out. */
export type Receive = (head: WireHead, body: AsyncIterable<Buffer>) => Promise<void>;

/** An answer before its body. */
export interface WireHead {
    status: number;
    headers: IncomingHttpHeaders;
    url: URL;
}

export interface WireReply {
    status: number;
    headers: IncomingHttpHeaders;
    body: Buffer;
    /** Where the answer came from, after redirects. */
    url: URL;
    /** The answer came from another origin than was asked: its challenges are not for our credentials. */
    foreign: boolean;
}

/** One header as text; the first where a server sent several. */
export function header(headers: IncomingHttpHeaders, name: string): string | undefined {
    const value = headers[name];
    return Array.isArray(value) ? value[0] : value;
}

/** HTTP with our certificates, timeouts, size limits, and redirects that leave credentials behind. */
export class Transport {
    readonly #own: Pool;
    readonly #others: Agent;

    constructor(readonly options: TransportOptions) {
        // `ca` replaces Node's roots, but storage and token services are usually signed by a public authority.
        const ca = options.ca === undefined ? undefined : [...rootCertificates, options.ca];
        const connect = { timeout: Math.min(10_000, options.timeoutMs), ...(ca ? { ca } : {}) };
        // Time is kept in #once: undici's own timers only count pauses, so a dripping server could hold us for ever.
        const shared = { headersTimeout: 0, bodyTimeout: 0 };
        const identity = options.clientCert === undefined ? {} : { cert: options.clientCert, key: options.clientKey };
        // A pool and no agent: undici 7.30's agent gives up reuse once HEADs closed an origin's last connection.
        this.#own = new Pool(options.origin, { ...shared, connect: { ...connect, ...identity } });
        this.#others = new Agent({ ...shared, connect });
    }

    /**
     * Sends one request; GET and HEAD follow up to five redirects, other methods none.
     *
     * @throws RegistryError when no complete answer came; a status of any kind is an answer.
     */
    async send(request: WireRequest): Promise<WireReply> {
        let url = request.url;
        let authorization = request.authorization;
        for (let hop = 0; ; hop++) {
            const reply = await this.#once(request, url, authorization);
            const foreign = url.origin !== request.url.origin;
            const follow = request.method === "GET" || request.method === "HEAD";
            if (!follow || ![301, 302, 303, 307, 308].includes(reply.status)) return { ...reply, url, foreign };
            const target = resolveLocation(header(reply.headers, "location"), request.method, url);
            if (hop === MAX_REDIRECTS) {
                throw new RegistryError({
                    code: "BAD_REDIRECT",
                    method: request.method,
                    url: request.url,
                    reason: `more than ${MAX_REDIRECTS} redirects`,
                    next: "correct the registry's address",
                });
            }
            if (target.origin !== request.url.origin) authorization = undefined;
            url = target;
        }
    }

    async close(): Promise<void> {
        await Promise.all([this.#own.destroy(), this.#others.destroy()]);
    }

    async #once(
        request: WireRequest,
        url: URL,
        authorization: string | undefined,
    ): Promise<{ status: number; headers: IncomingHttpHeaders; body: Buffer }> {
        const { method, body } = request;
        const cut = new AbortController();
        const onAbort = () => cut.abort();
        request.signal?.throwIfAborted();
        request.signal?.addEventListener("abort", onAbort, { once: true });
        const sendMs = this.options.timeoutMs + (body?.length ?? 0) * MS_PER_BYTE;
        let timer = setTimeout(() => cut.abort(), sendMs);
        let receiving = false;
        try {
            const response = await send(url, {
                dispatcher: url.origin === this.options.origin ? this.#own : this.#others,
                method,
                headers: {
                    "user-agent": "buildfleet",
                    ...request.headers,
                    ...(authorization === undefined ? {} : { authorization }),
                },
                body: body ?? null,
                signal: cut.signal,
            });
            const announced = Number(header(response.headers, "content-length") ?? 0) || 0;
            clearTimeout(timer);
            timer = setTimeout(() => cut.abort(), this.options.timeoutMs + announced * MS_PER_BYTE);
            const ok = response.statusCode < 300;
            if (ok && request.receive) {
                clearTimeout(timer);
                const leftMs = this.options.timeoutMs + announced * MS_PER_BYTE;
                const head = { status: response.statusCode, headers: response.headers, url };
                receiving = true;
                await request.receive(head, waitingAtMost(leftMs, response.body, cut));
                return { status: head.status, headers: head.headers, body: Buffer.alloc(0) };
            }
            const read = ok ? await readAll(response, request, url) : await readSome(response, ERROR_BODY);
            return { status: response.statusCode, headers: response.headers, body: read };
        } catch (error) {
            request.signal?.throwIfAborted();
            if (error instanceof RegistryError || (receiving && !(error instanceof BodyError))) throw error;
            if (!cut.signal.aborted) throw fromTransport(error instanceof BodyError ? error.cause : error, method, url);
            throw new RegistryError({
                code: "TIMEOUT",
                method,
                url,
                reason: `no complete answer from ${url.host} within ${this.options.timeoutMs / 1000} s`,
                next: "look at the registry's load, or raise timeoutMs",
                retryable: true,
            });
        } finally {
            clearTimeout(timer);
            request.signal?.removeEventListener("abort", onAbort);
        }
    }
}

/** The connection's failure while a body came, told apart from a failure of who receives it. */
class BodyError extends Error {}

/** The pieces of a body; the waits for them together may last so long, then the request is cut. */
async function* waitingAtMost(ms: number, body: AsyncIterable<Buffer>, cut: AbortController): AsyncGenerator<Buffer> {
    const pieces = body[Symbol.asyncIterator]();
    let left = ms;
    try {
        for (;;) {
            const started = performance.now();
            const timer = setTimeout(() => cut.abort(), left);
            const piece = await pieces
                .next()
                .catch((cause: unknown) => {
                    throw new BodyError("the body broke off", { cause });
                })
                .finally(() => clearTimeout(timer));
            left -= performance.now() - started;
            if (piece.done) return;
            yield piece.value;
        }
    } finally {
        await pieces.return?.();
    }
}

/**
 * The URL that a `Location` names, relative to where it was said.
 *
 * @throws RegistryError when there is none, or when it would go from TLS to plain HTTP.
 */
export function resolveLocation(location: string | undefined, method: string, from: URL): URL {
    const target = location === undefined || !URL.canParse(location, from.href) ? undefined : new URL(location, from);
    if (!target || !["http:", "https:"].includes(target.protocol)) {
        throw new RegistryError({
            code: "BAD_REDIRECT",
            method,
            url: from,
            reason: "the answer should name another address in Location, and does not",
            next: "look at the registry, or at the proxy before it",
        });
    }
    if (from.protocol === "https:" && target.protocol === "http:") {
        throw new RegistryError({
            code: "BAD_REDIRECT",
            method,
            url: from,
            reason: `the answer leads from TLS to plain HTTP at ${target.host}; not followed`,
            next: "let the registry know its public address (http.host, or X-Forwarded-Proto from the proxy before it)",
        });
    }
    return target;
}

async function readAll(response: Dispatcher.ResponseData, request: WireRequest, url: URL): Promise<Buffer> {
    const announced = Number(header(response.headers, "content-length") ?? 0);
    const chunks: Buffer[] = [];
    let size = 0;
    for await (const chunk of response.body) {
        size += chunk.length;
        if (Math.max(size, announced) > request.limit) {
            throw new RegistryError({
                code: "TOO_LARGE",
                method: request.method,
                url,
                reason: `the answer is larger than the ${request.limit} bytes allowed here`,
                next: "check that the address is a registry's and the reference the right one",
            });
        }
        chunks.push(chunk);
    }
    return Buffer.concat(chunks);
}

/** The beginning of an error's body; the rest is not worth the wait. */
async function readSome(response: Dispatcher.ResponseData, limit: number): Promise<Buffer> {
    const chunks: Buffer[] = [];
    let size = 0;
    for await (const chunk of response.body) {
        chunks.push(chunk);
        size += chunk.length;
        if (size >= limit) break;
    }
    return Buffer.concat(chunks).subarray(0, limit);
}
