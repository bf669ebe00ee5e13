import { type ClientHttp2Session, constants, type OutgoingHttpHeaders } from "node:http2";
import { fromJSON } from "@grpc/proto-loader";

/** Methods of moby/buildkit's api/services/control/control.proto and frontend/gateway/pb/gateway.proto. */
export const SOLVE = "/moby.buildkit.v1.Control/Solve";
export const STATUS = "/moby.buildkit.v1.Control/Status";
export const INFO = "/moby.buildkit.v1.Control/Info";
export const NEW_CONTAINER = "/moby.buildkit.v1.frontend.LLBBridge/NewContainer";
/** What names the build that a call to the gateway is about (moby/buildkit: client/buildid). */
export const BUILD_ID = "buildkit-controlapi-buildid";

// The parts of the messages that are read or written here; solver/pb/ops.proto has the mounts.
const field = (id: number, type: string, rule?: "repeated") => ({ id, type, ...(rule ? { rule } : {}) });
const MESSAGES = {
    nested: {
        Admission: {
            methods: {
                Solve: { requestType: "SolveRequest", responseType: "Nothing" },
                Status: { requestType: "StatusRequest", responseType: "Nothing" },
                NewContainer: { requestType: "NewContainerRequest", responseType: "Nothing" },
            },
        },
        SolveRequest: { fields: { Ref: field(1, "string"), Internal: field(11, "bool") } },
        StatusRequest: { fields: { Ref: field(1, "string") } },
        NewContainerRequest: {
            fields: { ContainerID: field(1, "string"), Mounts: field(2, "Mount", "repeated") },
        },
        Mount: {
            fields: { dest: field(3, "string"), mountType: field(6, "int32"), cacheOpt: field(20, "CacheOpt") },
        },
        CacheOpt: { fields: { ID: field(1, "string"), sharing: field(2, "int32") } },
        Nothing: { fields: {} },
    },
};
const service = fromJSON(MESSAGES as unknown as Parameters<typeof fromJSON>[0], { keepCase: true, defaults: true })
    .Admission as unknown as Record<
    "Solve" | "Status" | "NewContainer",
    { requestSerialize(value: object): Buffer; requestDeserialize(bytes: Buffer): unknown }
>;

export const solveRequest = (value: { Ref: string; Internal: boolean }) => service.Solve.requestSerialize(value);
export const statusRequest = (Ref: string) => service.Status.requestSerialize({ Ref });
export const readStatusRequest = (bytes: Buffer) => service.Status.requestDeserialize(bytes) as { Ref: string };
export const readSolveRequest = (bytes: Buffer) =>
    service.Solve.requestDeserialize(bytes) as { Ref: string; Internal: boolean };

/** A container of one locked cache mount. It is prepared and never run. */
export const lockedMountRequest = (ContainerID: string, ID: string) =>
    service.NewContainer.requestSerialize({
        ContainerID,
        Mounts: [{ dest: "/lock", mountType: 3, cacheOpt: { ID, sharing: 2 } }, { dest: "/" }],
    });

/** gRPC's status codes that are made or told apart here. */
const CANCELLED = 1;
export const UNAVAILABLE = 14;

export class GrpcError extends Error {
    constructor(
        readonly code: number,
        message: string,
    ) {
        super(message);
        this.name = "GrpcError";
    }
}

/** A message with its head: not compressed, four bytes of length (gRPC over HTTP/2, "Length-Prefixed-Message"). */
export function frame(message: Buffer): Buffer {
    const head = Buffer.alloc(5);
    head.writeUInt32BE(message.length, 1);
    return Buffer.concat([head, message]);
}

/**
 * The only message of a request.
 *
 * @throws GrpcError where it is compressed or cut off.
 */
export function unframe(bytes: Buffer): Buffer {
    if (bytes.length < 5 || bytes[0] !== 0 || bytes.readUInt32BE(1) !== bytes.length - 5)
        throw new GrpcError(12, "a request that is compressed or no single message can't be held back");
    return bytes.subarray(5);
}

function decodeMessage(text: string): string {
    try {
        return decodeURIComponent(text);
    } catch {
        return text;
    }
}

/**
 * One call over an open connection; answers are not read. It ends when the node ends it, or is cancelled by the signal.
 *
 * @throws GrpcError with the node's status; UNAVAILABLE where the connection is lost, CANCELLED by the signal.
 */
export function call(
    session: ClientHttp2Session,
    path: string,
    message: Buffer,
    { headers = {}, signal }: { headers?: OutgoingHttpHeaders; signal?: AbortSignal } = {},
): Promise<void> {
    return new Promise((resolve, reject) => {
        if (signal?.aborted) return reject(new GrpcError(CANCELLED, "cancelled"));
        if (session.closed || session.destroyed) return reject(new GrpcError(UNAVAILABLE, "the connection is closed"));
        const stream = session.request({
            ":method": "POST",
            ":path": path,
            "content-type": "application/grpc",
            te: "trailers",
            ...headers,
        });
        let code: string | undefined;
        let text = "";
        const read = (received: { "grpc-status"?: unknown; "grpc-message"?: unknown }) => {
            if (received["grpc-status"] === undefined) return;
            code = String(received["grpc-status"]);
            text = decodeMessage(String(received["grpc-message"] ?? ""));
        };
        const cancel = () => stream.close(constants.NGHTTP2_CANCEL);
        signal?.addEventListener("abort", cancel, { once: true });
        let broken = "";
        stream.on("response", read);
        stream.on("trailers", read);
        stream.on("error", (error: Error) => {
            broken = error.message;
        });
        stream.on("close", () => {
            signal?.removeEventListener("abort", cancel);
            if (code === "0") resolve();
            else if (code !== undefined) reject(new GrpcError(Number(code), text));
            else if (signal?.aborted) reject(new GrpcError(CANCELLED, "cancelled"));
            else reject(new GrpcError(UNAVAILABLE, broken || "the connection was lost"));
        });
        stream.resume();
        stream.end(frame(message));
    });
}
