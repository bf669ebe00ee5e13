import { isRegistry } from "../../core/reference";
import { Authorizer } from "./authorizer";
import { type Challenge, parseChallenges } from "./challenge";
import type { CredentialSource } from "./credentials";
import { dockerConfigCredentials } from "./docker-config";
import { RegistryError } from "./errors";
import { responseError } from "./responses";
import { type Clock, DEFAULT_RETRY, type RetryPolicy, retrying, systemClock } from "./retry";
import { type Receive, Transport, type WireReply, type WireRequest } from "./transport";

/** How to reach a registry. */
export interface RegistryClientOptions {
    /** `host` or `host:port`, as in an image reference; `docker.io` is Docker Hub. */
    registry: string;
    /** Speak plain HTTP. Default false, for loopback addresses too. */
    plainHttp?: boolean | undefined;
    /** PEM, one or more certificates of authorities to trust besides the public ones. */
    ca?: string | undefined;
    /** PEM, for registries that ask for a client certificate. */
    clientCert?: string | undefined;
    /** PEM, the key of `clientCert`. A secret. */
    clientKey?: string | undefined;
    /** Default: Docker's configuration, as every container tool reads it. */
    credentials?: CredentialSource | undefined;
    /** Milliseconds for one request and its answer, plus one second for each MiB moved. Default 30,000. */
    timeoutMs?: number | undefined;
    retry?: Partial<RetryPolicy> | undefined;
    /** Time and chance; for tests. */
    clock?: Clock | undefined;
}

/** One request of the distribution API. */
export interface SessionRequest {
    method: WireRequest["method"];
    /** Path and query under the registry, or a URL that the registry named. */
    target: string | URL;
    headers?: Record<string, string>;
    body?: Buffer | undefined;
    /** Largest body of the answer, in bytes. */
    limit: number;
    /** Takes the body of a successful answer piece by piece; the reply's own is empty then. */
    receive?: Receive | undefined;
    /** Statuses to return; any other is thrown. */
    expect: number[];
    /** Token scopes this needs. */
    scopes: string[];
    signal?: AbortSignal | undefined;
}

/** Requests to one registry: authorized, retried, every unexpected status an error. */
export class RegistrySession {
    readonly registry: string;
    readonly origin: string;
    readonly #authorizer: Authorizer;
    readonly #transport: Transport;
    readonly #policy: RetryPolicy;
    readonly #clock: Clock;

    constructor(options: RegistryClientOptions) {
        if (!isRegistry(options.registry)) throw badRequest(`"${options.registry}" is not a registry's host and port`);
        if ((options.clientCert === undefined) !== (options.clientKey === undefined)) {
            throw badRequest("clientCert and clientKey go together; one of them is missing");
        }
        this.registry = options.registry;
        const host = options.registry === "docker.io" ? "registry-1.docker.io" : options.registry;
        this.origin = new URL(`${options.plainHttp ? "http" : "https"}://${host}`).origin;
        this.#policy = { ...DEFAULT_RETRY, ...options.retry };
        this.#clock = options.clock ?? systemClock;
        this.#transport = new Transport({ ...options, origin: this.origin, timeoutMs: options.timeoutMs ?? 30_000 });
        this.#authorizer = new Authorizer({
            origin: this.origin,
            registry: this.registry,
            source: options.credentials ?? dockerConfigCredentials(),
            transport: this.#transport,
            clock: this.#clock,
        });
    }

    /** Runs one idempotent operation, of one or several requests, under the retry policy. */
    retrying<T>(signal: AbortSignal | undefined, operation: () => Promise<T>): Promise<T> {
        return retrying(this.#policy, this.#clock, signal, operation);
    }

    /** An idempotent request of its own. */
    request(request: SessionRequest): Promise<WireReply> {
        return this.retrying(request.signal, () => this.attempt(request));
    }

    /** One attempt; a 401 is answered once, or twice where the credentials can be renewed. For use inside {@link retrying}. */
    async attempt(request: SessionRequest): Promise<WireReply> {
        const url = typeof request.target === "string" ? new URL(request.target, this.origin) : request.target;
        const { signal, scopes } = request;
        const own = url.origin === this.origin;
        const send = (authorization: string | undefined) => this.#transport.send({ ...request, url, authorization });
        let shown = own ? await this.#authorizer.header(scopes, signal) : undefined;
        let reply = await send(shown);
        for (let left = this.#authorizer.answers; left > 0 && reply.status === 401 && own && !reply.foreign; left--) {
            const challenge = reply.headers["www-authenticate"];
            shown = await this.#authorizer.retryWith(challenge, scopes, shown, signal);
            if (shown === undefined) break;
            reply = await send(shown);
        }
        if (request.expect.includes(reply.status)) return reply;
        throw responseError(reply, {
            method: request.method,
            registry: this.registry,
            secrets: this.#authorizer.secrets,
            credentials: this.#authorizer.describe(),
            role: "registry",
            now: this.#clock.now(),
        });
    }

    /** What the registry asks strangers for; nothing where it lets everybody in. */
    challenges(signal?: AbortSignal): Promise<Challenge[]> {
        return this.retrying(signal, async () => {
            const url = new URL("/v2/", this.origin);
            const { status, headers } = await this.#transport.send({ method: "GET", url, limit: 64 * 1024, signal });
            return status === 401 ? parseChallenges(headers["www-authenticate"]) : [];
        });
    }

    close(): Promise<void> {
        return this.#transport.close();
    }
}

/** What the caller asked cannot be sent to any registry. */
export function badRequest(reason: string, next = "correct the call"): RegistryError {
    return new RegistryError({ code: "BAD_REQUEST", reason, next });
}
