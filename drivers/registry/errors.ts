/**
 * What went wrong, for programs:
 * - `BAD_REQUEST`: refused here, before anything was sent.
 * - `UNAUTHORIZED` (401), `DENIED` (403), `NOT_FOUND` (404), `TOO_MANY_REQUESTS` (429), `SERVER_ERROR` (5xx),
 *   `UNEXPECTED_STATUS` (any other status that this request may not end with).
 * - `CONNECTION_REFUSED`, `HOST_NOT_FOUND`, `CONNECTION_LOST`, `TIMEOUT`.
 * - `TLS_UNKNOWN_CA`, `TLS_FAILED`, `PLAIN_HTTP` (TLS was spoken to a plain HTTP port), `NOT_PLAIN_HTTP` (the reverse).
 * - `BAD_REDIRECT`: a redirect or upload location that would drop TLS, or leads nowhere.
 * - `CREDENTIALS`: the credentials could not be read.
 * - `DIGEST_MISMATCH`, `TOO_LARGE`, `BAD_CONTENT`: the answer is not what it claims to be.
 */
export type RegistryErrorCode =
    | "BAD_REQUEST"
    | "UNAUTHORIZED"
    | "DENIED"
    | "NOT_FOUND"
    | "TOO_MANY_REQUESTS"
    | "SERVER_ERROR"
    | "UNEXPECTED_STATUS"
    | "CONNECTION_REFUSED"
    | "HOST_NOT_FOUND"
    | "CONNECTION_LOST"
    | "TIMEOUT"
    | "TLS_UNKNOWN_CA"
    | "TLS_FAILED"
    | "PLAIN_HTTP"
    | "NOT_PLAIN_HTTP"
    | "BAD_REDIRECT"
    | "CREDENTIALS"
    | "DIGEST_MISMATCH"
    | "TOO_LARGE"
    | "BAD_CONTENT";

/** What a {@link RegistryError} is made of. */
interface RegistryErrorDetails {
    code: RegistryErrorCode;
    /** One sentence, without secrets. */
    reason: string;
    /** What the user should do. */
    next: string;
    method?: string | undefined;
    url?: URL | string | undefined;
    status?: number | undefined;
    /** The registry's own code, e.g. `MANIFEST_UNKNOWN`. */
    registryCode?: string | undefined;
    retryable?: boolean;
    /** Milliseconds the server asked to wait. */
    retryAfterMs?: number | undefined;
}

/** Origin and path only: user info, query and fragment may carry credentials (signed storage URLs, upload state). */
function safeUrl(url: URL | string): string {
    const parsed = typeof url === "string" ? new URL(url) : url;
    return `${parsed.protocol}//${parsed.host}${parsed.pathname}`;
}

/** A request to a registry, its token service or its storage that did not end well. Never holds a secret. */
export class RegistryError extends Error {
    readonly code: RegistryErrorCode;
    readonly status: number | undefined;
    readonly method: string | undefined;
    /** Without user info and query. */
    readonly url: string | undefined;
    readonly next: string;
    /** The registry's own code, e.g. `MANIFEST_UNKNOWN`. */
    readonly registryCode: string | undefined;
    /** The same request may succeed a little later. */
    readonly retryable: boolean;
    readonly retryAfterMs: number | undefined;
    readonly reason: string;

    constructor(details: RegistryErrorDetails) {
        const url = details.url === undefined ? undefined : safeUrl(details.url);
        const subject = url === undefined ? "" : `${details.method ?? "GET"} ${url}: `;
        super(`${subject}${details.reason}\nnext: ${details.next}`);
        this.name = "RegistryError";
        this.code = details.code;
        this.status = details.status;
        this.method = details.method;
        this.url = url;
        this.next = details.next;
        this.registryCode = details.registryCode;
        this.retryable = details.retryable ?? false;
        this.retryAfterMs = details.retryAfterMs;
        this.reason = details.reason;
    }

    /** A 404 in the registry's own words: the repository, tag or manifest is not there. A bare 404 may come from anything. */
    get saysAbsent(): boolean {
        return this.status === 404 && this.registryCode !== undefined;
    }

    /** The same error with some details changed. */
    with(changes: Partial<RegistryErrorDetails>): RegistryError {
        return new RegistryError({
            code: this.code,
            reason: this.reason,
            next: this.next,
            method: this.method,
            url: this.url,
            status: this.status,
            registryCode: this.registryCode,
            retryable: this.retryable,
            retryAfterMs: this.retryAfterMs,
            ...changes,
        });
    }
}

const UNKNOWN_CA = new Set([
    "UNABLE_TO_VERIFY_LEAF_SIGNATURE",
    "UNABLE_TO_GET_ISSUER_CERT",
    "UNABLE_TO_GET_ISSUER_CERT_LOCALLY",
    "SELF_SIGNED_CERT_IN_CHAIN",
    "DEPTH_ZERO_SELF_SIGNED_CERT",
    "CERT_SIGNATURE_FAILURE",
]);
/** What OpenSSL says when the other side answers a ClientHello with an HTTP response. */
const ANSWERED_IN_HTTP = /ERR_SSL_(WRONG_VERSION_NUMBER|PACKET_LENGTH_TOO_LONG|HTTP_REQUEST|UNKNOWN_PROTOCOL)/;

/** The first `code` on the way down the causes; a failed dial of several addresses wraps one error each. */
function systemCode(error: unknown): string {
    if (!(error instanceof Error)) return "";
    if (error instanceof AggregateError && error.errors[0] instanceof Error) return systemCode(error.errors[0]);
    const code = "code" in error && typeof error.code === "string" ? error.code : "";
    return code || systemCode(error.cause);
}

/** Turns what undici, `net` or `tls` threw into a {@link RegistryError}. */
export function fromTransport(error: unknown, method: string, url: URL): RegistryError {
    const code = systemCode(error);
    const text = error instanceof Error ? error.message : String(error);
    const at = { method, url };
    const host = url.host;
    if (code === "ECONNREFUSED") {
        return new RegistryError({
            ...at,
            code: "CONNECTION_REFUSED",
            reason: `connection refused: nothing listens at ${url.hostname}:${url.port || (url.protocol === "https:" ? 443 : 80)}`,
            next: "start the registry, or correct its host and port",
            retryable: true,
        });
    }
    if (code === "ENOTFOUND" || code === "EAI_AGAIN") {
        return new RegistryError({
            ...at,
            code: "HOST_NOT_FOUND",
            reason: `${url.hostname} has no address (${code})`,
            next: "correct the registry's host name, or mend the name resolution of this machine",
            retryable: code === "EAI_AGAIN",
        });
    }
    if (UNKNOWN_CA.has(code)) {
        return new RegistryError({
            ...at,
            code: "TLS_UNKNOWN_CA",
            reason: `the certificate of ${host} is signed by an authority that is not trusted here (${code})`,
            next: 'set "ca" to the PEM certificate of the authority that signed it',
        });
    }
    if (ANSWERED_IN_HTTP.test(code)) {
        return new RegistryError({
            ...at,
            code: "PLAIN_HTTP",
            reason: `registry speaks plain HTTP; set plainHttp (${host} answered a TLS handshake with HTTP)`,
            next: "set plainHttp: true for this registry, or give it a certificate",
        });
    }
    if (/CERT|SSL|TLS|EPROTO/.test(code) && !code.startsWith("UND_ERR")) {
        return new RegistryError({
            ...at,
            code: "TLS_FAILED",
            reason: `TLS with ${host} failed: ${code}: ${text.slice(0, 200)}`,
            next: /CERTIFICATE_REQUIRED|HANDSHAKE_FAILURE|BAD_CERTIFICATE|UNKNOWN_CA/.test(code)
                ? "set clientCertificate to a certificate, with its key, that the registry accepts"
                : "give the registry a valid certificate for this host name",
        });
    }
    return new RegistryError({
        ...at,
        code: code === "UND_ERR_CONNECT_TIMEOUT" || code === "ETIMEDOUT" ? "TIMEOUT" : "CONNECTION_LOST",
        reason: `connection to ${host} failed: ${code ? `${code}: ` : ""}${text.slice(0, 200)}`,
        // TLS 1.3 refuses a client only after the handshake, and often all that is seen of it is a closed connection.
        next:
            "look at the registry's log and the network between, then run again" +
            (url.protocol === "https:" ? "; where it asks for a client certificate, set clientCertificate" : ""),
        retryable: true,
    });
}
