import { redactor } from "../process";
import { parseChallenges } from "./challenge";
import { RegistryError, type RegistryErrorCode } from "./errors";
import { parseRetryAfter } from "./retry";
import { header, type WireReply } from "./transport";

interface ResponseContext {
    method: string;
    /** The registry as references name it. */
    registry: string;
    /** Never shown, wherever the server repeats them. */
    secrets: string[];
    /** Which credentials were tried. */
    credentials: string;
    role: "registry" | "token service";
    /** Milliseconds since the epoch, for `Retry-After` as a date. */
    now: number;
}

/** The first error of a body that follows the distribution spec, or what there is of any other. */
function readErrorBody(reply: WireReply): { code?: string; message: string } {
    const text = reply.body.toString("utf8");
    try {
        const first = JSON.parse(text)?.errors?.[0];
        if (typeof first?.code === "string") return { code: first.code, message: String(first.message ?? "") };
    } catch {
        // Not JSON: proxies answer in HTML or plain text, of which the first line is shown below.
    }
    const firstLine = text
        .replace(/<[^>]*>/g, " ")
        .split("\n")
        .map((line) => line.trim())
        .find(Boolean);
    return { message: firstLine ?? "" };
}

/** Turns an answer that the request may not end with into an error that says what to do. */
export function responseError(reply: WireReply, context: ResponseContext): RegistryError {
    const { status } = reply;
    const body = readErrorBody(reply);
    const redact = redactor(context.secrets);
    const said = redact([body.code, body.message].filter(Boolean).join(": ")).slice(0, 300);
    const { code, next } = classify(reply, said, context);
    const tried = status === 401 || status === 403 ? `; credentials tried: ${context.credentials}` : "";
    const who = reply.foreign ? ` from ${reply.url.host}, where the registry sent us` : "";
    return new RegistryError({
        code,
        status,
        method: context.method,
        url: reply.url,
        registryCode: body.code === undefined ? undefined : redact(body.code).slice(0, 64),
        reason: `HTTP ${status}${who}${said ? `: ${said}` : ""}${tried}`,
        next,
        retryable: status === 429 || [500, 502, 503, 504].includes(status),
        retryAfterMs: parseRetryAfter(header(reply.headers, "retry-after"), context.now),
    });
}

const denied = {
    code: "DENIED",
    next: "give these credentials the right to do this in this repository, or use others",
} as const;

/** RFC 6750, 3.1. */
const isInsufficient = (challenge: string | string[] | undefined) =>
    parseChallenges(challenge).some(({ parameters }) => parameters.error === "insufficient_scope");

function classify(
    { status, headers, foreign }: WireReply,
    said: string,
    { registry, role }: ResponseContext,
): { code: RegistryErrorCode; next: string } {
    if (status === 401 && foreign) {
        return {
            code: "UNAUTHORIZED",
            next: "look at the storage behind the registry; it refused the registry's own redirect",
        };
    }
    // distribution says so in place of a 403, to who has a token that is good for less.
    if (status === 401 && isInsufficient(headers["www-authenticate"])) return denied;
    if (status === 401) {
        return {
            code: "UNAUTHORIZED",
            next: `run "docker login ${registry}", or give this client credentials that the ${role} accepts`,
        };
    }
    if (status === 403) return denied;
    if (status === 404) {
        return { code: "NOT_FOUND", next: `check that the repository, and what is asked of it, exists at ${registry}` };
    }
    if (status === 429) {
        return { code: "TOO_MANY_REQUESTS", next: `wait, or raise the request limit at ${registry}` };
    }
    if (status >= 500) return { code: "SERVER_ERROR", next: `look at the log of the ${role}` };
    if (status === 400 && /HTTP request to an HTTPS server/i.test(said)) {
        return { code: "NOT_PLAIN_HTTP", next: "the registry speaks TLS: remove plainHttp" };
    }
    return { code: "UNEXPECTED_STATUS", next: `check that ${registry} is an OCI registry and allows this` };
}
