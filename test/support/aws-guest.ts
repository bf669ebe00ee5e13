import { createHash } from "node:crypto";
import type { IncomingMessage, ServerResponse } from "node:http";
import { Sha256 } from "@aws-crypto/sha256-js";
import { SignatureV4 } from "@smithy/signature-v4";
import type { RoleCredentials } from "./vm/metadata";

/** One request of the guest's. */
export interface GuestRequest {
    /** `AmazonSSM.GetParameter`: the JSON protocols' `X-Amz-Target`. */
    action: string;
    body: Record<string, unknown>;
    status: number;
    /** Why it was refused; undefined when it was passed on. */
    refused?: string;
}

interface FrontSettings {
    /** The emulator's URL; it does not check signatures, so this does. */
    upstream: string;
    region: string;
    /** The only ones that are valid now. */
    credentials: () => RoleCredentials;
    /** What the machine's role may do; anything else is refused as AWS would. */
    allows: (action: string, body: Record<string, unknown>) => boolean;
}

/** Signature Version 4: a request's time may differ so much from the service's. */
const SKEW_MS = 5 * 60_000;

/**
 * AWS's door, as a machine on EC2 meets it: every request must be signed (Signature Version 4) with the credentials that the
 * metadata service hands out now, and be allowed to the machine's role. What passes goes on to an emulator of the services.
 */
export class AwsFront {
    readonly requests: GuestRequest[] = [];

    constructor(private readonly settings: FrontSettings) {}

    readonly handle = (request: IncomingMessage, response: ServerResponse): void => {
        void this.answer(request).then(
            ({ status, type, body }) => response.writeHead(status, { "content-type": type }).end(body),
            (error) => response.writeHead(502).end(String(error)),
        );
    };

    /** Requests of one action that were passed on. */
    passed(action: string): GuestRequest[] {
        return this.requests.filter((request) => request.action === action && !request.refused);
    }

    private async answer(request: IncomingMessage): Promise<{ status: number; type: string; body: Buffer }> {
        const chunks: Buffer[] = [];
        for await (const chunk of request) chunks.push(chunk as Buffer);
        const body = Buffer.concat(chunks);
        const action = String(request.headers["x-amz-target"] ?? `${request.method} ${request.url}`);
        const entry: GuestRequest = { action, body: parse(body), status: 0 };
        this.requests.push(entry);
        const refusal = await this.refusal(request, body, entry);
        if (refusal) {
            entry.refused = refusal.message;
            entry.status = 400;
            const text = JSON.stringify({ __type: refusal.type, message: refusal.message });
            return { status: 400, type: "application/x-amz-json-1.1", body: Buffer.from(text) };
        }
        const { "content-length": _length, connection: _connection, ...headers } = request.headers;
        const answer = await fetch(new URL(request.url ?? "/", this.settings.upstream), {
            method: request.method,
            headers: headers as Record<string, string>,
            body,
        });
        entry.status = answer.status;
        const type = answer.headers.get("content-type") ?? "application/x-amz-json-1.1";
        return { status: answer.status, type, body: Buffer.from(await answer.arrayBuffer()) };
    }

    private async refusal(request: IncomingMessage, body: Buffer, { action, body: content }: GuestRequest) {
        const credentials = this.settings.credentials();
        const problem = await signatureProblem(request, body, credentials, this.settings.region);
        if (problem) return problem;
        if (this.settings.allows(action, content)) return undefined;
        return { type: "AccessDeniedException", message: `the machine's role is not allowed ${action}` };
    }
}

/** Signs the request anew, as AWS's own SDK does it, and compares. */
async function signatureProblem(
    request: IncomingMessage,
    body: Buffer,
    credentials: RoleCredentials,
    region: string,
): Promise<{ type: string; message: string } | undefined> {
    const { authorization = "" } = request.headers;
    const match =
        /^AWS4-HMAC-SHA256 Credential=([^/]+)\/(\d{8})\/([^/]+)\/([^/]+)\/aws4_request, ?SignedHeaders=([^,]+), ?Signature=([0-9a-f]{64})$/.exec(
            authorization,
        );
    if (!match)
        return { type: "MissingAuthenticationTokenException", message: `not a signed request: "${authorization}"` };
    const [, accessKeyId = "", , ownRegion, service = "", signed = "", signature] = match;
    if (accessKeyId !== credentials.accessKeyId)
        return { type: "ExpiredTokenException", message: `${accessKeyId} is not the machine's access key now` };
    if (ownRegion !== region)
        return { type: "InvalidSignatureException", message: `Credential should be scoped to ${region}` };
    const names = signed.split(";");
    for (const name of ["host", "x-amz-date", "x-amz-security-token"])
        if (!names.includes(name))
            return { type: "InvalidSignatureException", message: `${name} must be a signed header: ${signed}` };
    const headers = Object.fromEntries(names.map((name) => [name, String(request.headers[name] ?? "")]));
    const date = signingTime(headers["x-amz-date"] ?? "");
    if (!(Math.abs(Date.now() - date.getTime()) < SKEW_MS))
        return { type: "InvalidSignatureException", message: `Signature expired: ${headers["x-amz-date"]}` };
    const claimed = request.headers["x-amz-content-sha256"];
    if (claimed !== undefined && claimed !== createHash("sha256").update(body).digest("hex"))
        return { type: "InvalidSignatureException", message: "x-amz-content-sha256 is not the body's" };
    const url = new URL(request.url ?? "/", `http://${request.headers.host}`);
    const { secretAccessKey, sessionToken } = credentials;
    const identity = { accessKeyId, secretAccessKey, sessionToken };
    const signer = new SignatureV4({ credentials: identity, region, service, sha256: Sha256, applyChecksum: false });
    const again = await signer.sign(
        {
            method: request.method ?? "GET",
            protocol: url.protocol,
            hostname: url.hostname,
            path: url.pathname,
            query: Object.fromEntries(url.searchParams),
            headers,
            body,
        },
        // By default the SDK leaves headers out that proxies change; what counts is what the client signed.
        { signingDate: date, signableHeaders: new Set(names) },
    );
    if (again.headers.authorization?.endsWith(`Signature=${signature}`)) return undefined;
    const message = "The request signature we calculated does not match the signature you provided";
    return { type: "InvalidSignatureException", message };
}

/** `20261122T093000Z`. */
function signingTime(text: string): Date {
    return new Date(text.replace(/^(\d{4})(\d\d)(\d\d)T(\d\d)(\d\d)(\d\d)Z$/, "$1-$2-$3T$4:$5:$6Z"));
}

function parse(body: Buffer): Record<string, unknown> {
    try {
        return JSON.parse(body.toString());
    } catch {
        return {};
    }
}
