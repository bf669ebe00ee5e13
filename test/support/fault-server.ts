import { createServer, request as forward, type IncomingMessage, type ServerResponse } from "node:http";
import { createServer as createTlsServer } from "node:https";
import type { AddressInfo } from "node:net";

/** A request as it arrived. */
export interface SeenRequest {
    method: string;
    /** Path and query. */
    url: string;
    headers: IncomingMessage["headers"];
    body: string;
}

/** Answers the request itself, or returns "pass" to have it forwarded. `count` is the how manieth of its method and path it is, from 1. */
export type Fault = (
    request: SeenRequest,
    response: ServerResponse,
    count: number,
) => "pass" | undefined | Promise<"pass" | undefined>;

export interface FaultServer {
    /** `127.0.0.1:port`. */
    address: string;
    /** Every request, in order. */
    seen: SeenRequest[];
    /** Replaces the fault and forgets what was seen. */
    setFault(fault: Fault): void;
    stop(): Promise<void>;
}

/** An HTTP server that misbehaves as told, in front of a plain HTTP registry or alone. */
export async function startFaultServer(
    options: { upstream?: string; fault?: Fault; tls?: { certificate: string; privateKey: string } } = {},
): Promise<FaultServer> {
    let fault: Fault = options.fault ?? (() => "pass");
    const seen: SeenRequest[] = [];
    const counts = new Map<string, number>();
    const onRequest = async (message: IncomingMessage, response: ServerResponse) => {
        const chunks: Buffer[] = [];
        for await (const chunk of message) chunks.push(chunk);
        const body = Buffer.concat(chunks);
        const request = {
            method: message.method ?? "",
            url: message.url ?? "",
            headers: message.headers,
            body: body.toString("latin1"),
        };
        seen.push(request);
        // Each upload has an address of its own; for counting they are one.
        const key = `${request.method} ${request.url.split("?")[0]?.replace(/(\/uploads\/).+/, "$1")}`;
        const count = (counts.get(key) ?? 0) + 1;
        counts.set(key, count);
        if ((await fault(request, response, count)) !== "pass") return;
        const [host, port] = (options.upstream ?? "").split(":");
        const onward = forward(
            { host, port, method: request.method, path: request.url, headers: message.headers },
            (answer) => {
                response.writeHead(answer.statusCode ?? 502, answer.headers);
                answer.pipe(response);
            },
        );
        onward.on("error", () => response.destroy());
        onward.end(body);
    };
    const listener = (message: IncomingMessage, response: ServerResponse) => {
        onRequest(message, response).catch(() => response.destroy());
    };
    const server = options.tls
        ? createTlsServer({ cert: options.tls.certificate, key: options.tls.privateKey }, listener)
        : createServer(listener);
    await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
    return {
        address: `127.0.0.1:${(server.address() as AddressInfo).port}`,
        seen,
        setFault(next) {
            fault = next;
            seen.length = 0;
            counts.clear();
        },
        stop: () =>
            new Promise((resolve) => {
                server.close(() => resolve());
                server.closeAllConnections();
            }),
    };
}

/** Answers in the distribution specification's form of an error. */
export function answerError(
    response: ServerResponse,
    status: number,
    code: string,
    headers: Record<string, string> = {},
) {
    response.writeHead(status, { "content-type": "application/json", ...headers });
    response.end(JSON.stringify({ errors: [{ code, message: `it is ${code.toLowerCase()}` }] }));
    return undefined;
}
