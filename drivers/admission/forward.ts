import {
    type ClientHttp2Session,
    type ClientHttp2Stream,
    constants,
    type IncomingHttpHeaders,
    type OutgoingHttpHeaders,
    type ServerHttp2Stream,
} from "node:http2";
import { GrpcError, UNAVAILABLE } from "./wire";

const { NGHTTP2_CANCEL, NGHTTP2_FLAG_END_STREAM, NGHTTP2_INTERNAL_ERROR, NGHTTP2_NO_ERROR } = constants;

/** Headers as they came: Node joins those of one name by commas, and BuildKit's sessions have many of one name. */
export function headersOf(raw: readonly string[]): OutgoingHttpHeaders {
    const headers: Record<string, string | string[]> = {};
    for (let i = 0; i + 1 < raw.length; i += 2) {
        const [name = "", value = ""] = raw.slice(i, i + 2);
        const before = headers[name];
        headers[name] = before === undefined ? value : [...(Array.isArray(before) ? before : [before]), value];
    }
    return headers;
}

/** Answers a call with an error, where it has no answer yet; otherwise it is cut off. */
export function refuse(down: ServerHttp2Stream, error: Error): void {
    if (down.destroyed || down.closed) return;
    if (down.headersSent) {
        down.close(NGHTTP2_INTERNAL_ERROR);
        return;
    }
    const code = error instanceof GrpcError ? error.code : UNAVAILABLE;
    down.respond(
        {
            ":status": 200,
            "content-type": "application/grpc",
            "grpc-status": String(code),
            "grpc-message": encodeURIComponent(error.message).replaceAll("%20", " "),
        },
        { endStream: true },
    );
}

/** How a call that was passed on ended. */
export interface Forwarded {
    /** Ends the call on both sides. */
    cancel(reason: string): void;
    /** True where the node ended it, false where it was cancelled or the connection was lost. */
    done: Promise<boolean>;
}

/**
 * Passes one call on to the node: headers, messages both ways, trailers, and its cancellation.
 *
 * @param body the request's bytes, where they were read already.
 */
export function forward(
    session: ClientHttp2Session,
    down: ServerHttp2Stream,
    rawHeaders: readonly string[],
    body?: Buffer,
): Forwarded {
    const { ":authority": _authority, ":scheme": _scheme, ...headers } = headersOf(rawHeaders);
    let up: ClientHttp2Stream;
    try {
        up = session.request(headers);
    } catch (error) {
        refuse(down, error as Error);
        return { cancel: () => undefined, done: Promise.resolve(false) };
    }
    let trailers: OutgoingHttpHeaders | undefined;
    let answered = false;
    up.on("response", (received: IncomingHttpHeaders, flags: number, raw?: string[]) => {
        answered = (flags & NGHTTP2_FLAG_END_STREAM) !== 0;
        if (down.destroyed || down.closed) {
            up.resume();
            return;
        }
        const answer = raw ? headersOf(raw) : (received as OutgoingHttpHeaders);
        down.respond(answer, { endStream: answered, waitForTrailers: !answered });
        // Not earlier: what is written before there is a head gets one of Node's own, and data may overtake this event.
        if (answered) up.resume();
        else up.pipe(down);
    });
    up.on("trailers", (received: IncomingHttpHeaders, _flags: number, raw?: string[]) => {
        trailers = raw ? headersOf(raw) : (received as OutgoingHttpHeaders);
        answered = true;
    });
    down.on("wantTrailers", () => {
        if (trailers) down.sendTrailers(trailers);
        else down.close(NGHTTP2_INTERNAL_ERROR);
    });
    if (body) up.end(body);
    else down.pipe(up);

    let broken: Error | undefined;
    up.on("error", (error) => {
        broken = error;
    });
    down.on("error", () => undefined);
    down.once("close", () => {
        if (answered && down.rstCode === NGHTTP2_NO_ERROR) return;
        if (!up.closed) up.close(NGHTTP2_CANCEL);
        // Nothing reads what is still under way; without that the stream never ends.
        up.resume();
    });
    const done = new Promise<boolean>((resolve) => {
        up.once("close", () => {
            if (!answered)
                refuse(down, new GrpcError(UNAVAILABLE, broken?.message ?? "the connection to the node was lost"));
            resolve(answered);
        });
    });
    const cancel = (reason: string) => {
        refuse(down, new GrpcError(UNAVAILABLE, reason));
        if (!up.closed) up.close(NGHTTP2_CANCEL);
    };
    return { cancel, done };
}
