import { basicHeader } from "./basic";
import type { Challenge } from "./challenge";
import type { Credential } from "./credentials";
import { RegistryError } from "./errors";
import type { Clock } from "./retry";
import type { Transport, WireReply } from "./transport";

export interface Token {
    value: string;
    /** Milliseconds since the epoch; a little before the token really expires. */
    usableUntil: number;
}

interface TokenRequest {
    transport: Transport;
    clock: Clock;
    /** Of the registry that sent the challenge. */
    origin: string;
    challenge: Challenge;
    scopes: string[];
    credential: Credential | undefined;
}

const CLIENT_ID = "buildfleet";
const LIMIT = 1024 * 1024;

/**
 * Asks a token service: GET, with Basic where there is a password; OAuth2 POST where there is an identity token.
 * https://distribution.github.io/distribution/spec/auth/token/ and …/spec/auth/oauth/
 *
 * @returns without `token` when the service refused; the reply says how.
 * @throws RegistryError when the realm may not be trusted, or the answer holds no token.
 */
export async function fetchToken(
    request: TokenRequest,
): Promise<{ token: Token | undefined; reply: WireReply & { method: string } }> {
    const { transport, clock, challenge, scopes, credential } = request;
    const realm = realmOf(challenge, request.origin);
    const asked = clock.now();
    let reply: WireReply;
    let method: "GET" | "POST";
    if (credential && "identityToken" in credential) {
        method = "POST";
        const form = new URLSearchParams({
            grant_type: "refresh_token",
            refresh_token: credential.identityToken,
            client_id: CLIENT_ID,
            scope: scopes.join(" "),
        });
        if (challenge.parameters.service) form.set("service", challenge.parameters.service);
        const headers = { "content-type": "application/x-www-form-urlencoded" };
        reply = await transport.send({ method, url: realm, headers, body: form.toString(), limit: LIMIT });
    } else {
        method = "GET";
        const url = new URL(realm);
        if (challenge.parameters.service) url.searchParams.set("service", challenge.parameters.service);
        for (const scope of scopes) url.searchParams.append("scope", scope);
        url.searchParams.set("client_id", CLIENT_ID);
        const shown = credential && "password" in credential ? credential : undefined;
        if (shown) url.searchParams.set("account", shown.username);
        reply = await transport.send({ method, url, authorization: shown && basicHeader(shown), limit: LIMIT });
    }
    if (reply.status !== 200) return { token: undefined, reply: { ...reply, method } };
    return { token: readToken(reply, method, asked), reply: { ...reply, method } };
}

/** The token service's URL. A registry behind TLS may not send credentials over plain HTTP. */
function realmOf(challenge: Challenge, origin: string): URL {
    const text = challenge.parameters.realm ?? "";
    const realm = URL.canParse(text) ? new URL(text) : undefined;
    const usable = realm && (realm.protocol === "https:" || realm.protocol === "http:") && !realm.username;
    if (!usable) {
        throw new RegistryError({
            code: "BAD_CONTENT",
            url: origin,
            reason: "the registry's challenge names no usable token service",
            next: "correct the realm in the registry's auth.token settings",
        });
    }
    if (origin.startsWith("https:") && realm.protocol === "http:") {
        throw new RegistryError({
            code: "CREDENTIALS",
            url: origin,
            reason: `its token service ${realm.host} speaks plain HTTP; credentials are not sent there`,
            next: "serve the registry's token service over TLS",
        });
    }
    return realm;
}

function readToken(reply: WireReply, method: string, asked: number): Token {
    let body: unknown;
    try {
        body = JSON.parse(reply.body.toString("utf8"));
    } catch {
        body = undefined; // the parser's own message would quote the token
    }
    const fields = (typeof body === "object" && body !== null ? body : {}) as Record<string, unknown>;
    const value = fields.token || fields.access_token;
    if (typeof value !== "string" || !/^[\x21-\x7e]+$/.test(value)) {
        throw new RegistryError({
            code: "BAD_CONTENT",
            method,
            url: reply.url,
            status: reply.status,
            reason: "the token service answered without a token",
            next: "check the realm in the registry's auth.token settings",
        });
    }
    const seconds = typeof fields.expires_in === "number" && fields.expires_in > 0 ? fields.expires_in : 60;
    // Counted from when we asked, by our own clock: the two machines' clocks may differ.
    return { value, usableUntil: asked + seconds * 1000 - Math.min(10_000, seconds * 100) };
}
