import { createPrivateKey, randomUUID, sign, X509Certificate } from "node:crypto";
import { createServer, type IncomingMessage, type ServerResponse } from "node:http";
import { createServer as createTlsServer } from "node:https";
import type { AddressInfo } from "node:net";

interface Pair {
    certificate: string;
    privateKey: string;
}

export interface TokenAccount {
    password: string;
    /** Projects in which it may push and pull: `room` is every repository below `room/`. */
    projects: string[];
    /** After which the service takes its password no longer. */
    expires?: Date;
}

export interface TokenService {
    /** `https://localhost:port/service/token` */
    realm: string;
    service: string;
    issuer: string;
    /** Of every request, what it asked for and how: `GET alice repository:room/app:pull`. */
    seen: string[];
    stop(): Promise<void>;
}

/**
 * A token service as the distribution project specifies it (docs/content/spec/auth: token.md, jwt.md, scope.md, oauth.md): Basic with
 * GET, or a password grant with POST; its tokens name what may be done where, and are signed by a certificate that they carry.
 *
 * @param signer whose certificate's authority the registry was told.
 * @param tls its own; default plain HTTP.
 */
export async function startTokenService(
    accounts: Record<string, TokenAccount>,
    signer: Pair,
    tls?: Pair,
): Promise<TokenService> {
    const [service, issuer] = ["harbor-registry", "harbor-token-issuer"];
    const seen: string[] = [];
    const answer = async (message: IncomingMessage): Promise<[number, object]> => {
        const asked = await readRequest(message);
        seen.push(`${message.method} ${asked.username ?? "-"} ${asked.scopes.join(" ")}`);
        const account = accounts[asked.username ?? ""];
        if (!account || account.password !== asked.password) return refused("authentication required");
        if (account.expires && account.expires < new Date()) return refused("the robot account has expired");
        const token = issue(asked.username ?? "", grant(asked.scopes, account.projects), { service, issuer, signer });
        return [200, { token, access_token: token, expires_in: 300, issued_at: new Date().toISOString() }];
    };
    const listener = (message: IncomingMessage, response: ServerResponse) => {
        answer(message).then(
            ([status, body]) => {
                response.writeHead(status, { "content-type": "application/json" });
                response.end(JSON.stringify(body));
            },
            () => response.destroy(),
        );
    };
    const server = tls
        ? createTlsServer({ cert: tls.certificate, key: tls.privateKey }, listener)
        : createServer(listener);
    await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
    const { port } = server.address() as AddressInfo;
    return {
        // By name: cosign and syft ask no token service whose address is a private one.
        realm: `${tls ? "https" : "http"}://localhost:${port}/service/token`,
        service,
        issuer,
        seen,
        stop: () =>
            new Promise((resolve) => {
                server.close(() => resolve());
                server.closeAllConnections();
            }),
    };
}

const refused = (message: string): [number, object] => [401, { errors: [{ code: "UNAUTHORIZED", message }] }];

interface Asked {
    username: string | undefined;
    password: string | undefined;
    scopes: string[];
}

async function readRequest(message: IncomingMessage): Promise<Asked> {
    const chunks: Buffer[] = [];
    for await (const chunk of message) chunks.push(chunk);
    const body = new URLSearchParams(Buffer.concat(chunks).toString());
    const form = message.method === "POST" ? body : new URL(message.url ?? "", "http://x").searchParams;
    const scopes = form.getAll("scope").flatMap((scope) => scope.split(" ").filter(Boolean));
    const basic = /^Basic (.+)$/.exec(message.headers.authorization ?? "")?.[1];
    if (basic === undefined) {
        return { username: form.get("username") ?? undefined, password: form.get("password") ?? undefined, scopes };
    }
    const text = Buffer.from(basic, "base64").toString();
    const colon = text.indexOf(":");
    return { username: text.slice(0, colon), password: text.slice(colon + 1), scopes };
}

/** Of every account, in its own projects; none may delete. */
const RIGHTS = ["pull", "push"];

/** As a token service should: less than was asked for, where it has to be, and no error. */
function grant(scopes: string[], projects: string[]) {
    return scopes.flatMap((scope) => {
        const [, name = "", actions = ""] = /^repository:(.+):([a-z,*]*)$/.exec(scope) ?? [];
        const isOurs = projects.some((project) => name.startsWith(`${project}/`));
        const granted = actions.split(",").filter((action) => RIGHTS.includes(action));
        return isOurs ? [{ type: "repository", name, actions: granted }] : [];
    });
}

/** A JSON Web Token, ES256, with its certificate (RFC 7515, 4.1.6). */
function issue(
    subject: string,
    access: object[],
    { service, issuer, signer }: { service: string; issuer: string; signer: Pair },
): string {
    const now = Math.floor(Date.now() / 1000);
    const header = {
        typ: "JWT",
        alg: "ES256",
        x5c: [new X509Certificate(signer.certificate).raw.toString("base64")],
    };
    const claims = {
        iss: issuer,
        sub: subject,
        aud: service,
        exp: now + 300,
        nbf: now - 10,
        iat: now,
        jti: randomUUID(),
        access,
    };
    const encode = (part: object) => Buffer.from(JSON.stringify(part)).toString("base64url");
    const signed = `${encode(header)}.${encode(claims)}`;
    const signature = sign("sha256", Buffer.from(signed), {
        key: createPrivateKey(signer.privateKey),
        dsaEncoding: "ieee-p1363",
    });
    return `${signed}.${signature.toString("base64url")}`;
}
