import { type Client, credentials, loadPackageDefinition, type ServiceError, status } from "@grpc/grpc-js";
import { fromJSON } from "@grpc/proto-loader";

/** Where a BuildKit daemon listens, and what a client needs to be let in. */
export interface BuildkitEndpoint {
    /** `tcp://host:port` or `unix:///path`. */
    endpoint: string;
    /** PEM; mutual TLS when given, plain text when not (unix sockets). */
    tls?: { ca: string; certificate: string; privateKey: string; serverName?: string | undefined } | undefined;
}

/** What a BuildKit daemon says of itself. */
export interface BuildkitInfo {
    /** Platforms its worker claims; the first is the machine's own, the others may be emulated. */
    platforms: string[];
    /** `linux/amd64` */
    nativePlatform: string;
    version: string;
}

/** One finished build, from the daemon's own history. */
export interface BuildRecord {
    ref: string;
    /** Milliseconds between the start and the end of the build on the node. */
    durationMs: number;
    completedAt: string;
    cachedSteps: number;
    totalSteps: number;
}

/** The daemon did not answer in time, refused the certificate or is no BuildKit. */
export class BuildkitError extends Error {
    constructor(
        readonly endpoint: string,
        reason: string,
        /** True where it said nothing at all until the time was over. */
        readonly silent = false,
    ) {
        super(`${endpoint}: ${reason}`);
        this.name = "BuildkitError";
    }
}

// The part of moby/buildkit's api/services/control/control.proto (v0.33) that is used here.
const field = (id: number, type: string, rule?: "repeated") => ({ id, type, ...(rule ? { rule } : {}) });
const CONTROL = {
    nested: {
        moby: {
            nested: {
                buildkit: {
                    nested: {
                        v1: {
                            nested: {
                                Control: {
                                    methods: {
                                        ListWorkers: {
                                            requestType: "ListWorkersRequest",
                                            responseType: "ListWorkersResponse",
                                        },
                                        ListenBuildHistory: {
                                            requestType: "BuildHistoryRequest",
                                            responseType: "BuildHistoryEvent",
                                            responseStream: true,
                                        },
                                    },
                                },
                                ListWorkersRequest: { fields: { filter: field(1, "string", "repeated") } },
                                ListWorkersResponse: { fields: { record: field(1, "WorkerRecord", "repeated") } },
                                WorkerRecord: {
                                    fields: {
                                        ID: field(1, "string"),
                                        platforms: field(3, "Platform", "repeated"),
                                        BuildkitVersion: field(5, "BuildkitVersion"),
                                    },
                                },
                                Platform: {
                                    fields: {
                                        Architecture: field(1, "string"),
                                        OS: field(2, "string"),
                                        Variant: field(3, "string"),
                                    },
                                },
                                BuildkitVersion: { fields: { version: field(2, "string") } },
                                BuildHistoryRequest: {
                                    fields: { Ref: field(2, "string"), EarlyExit: field(3, "bool") },
                                },
                                BuildHistoryEvent: { fields: { record: field(2, "BuildHistoryRecord") } },
                                BuildHistoryRecord: {
                                    fields: {
                                        Ref: field(1, "string"),
                                        CreatedAt: field(6, "Timestamp"),
                                        CompletedAt: field(7, "Timestamp"),
                                        Result: field(10, "BuildResultInfo"),
                                        numCachedSteps: field(15, "int32"),
                                        numTotalSteps: field(16, "int32"),
                                    },
                                },
                                BuildResultInfo: {
                                    fields: {
                                        ResultDeprecated: field(1, "Descriptor"),
                                        Results: { id: 3, keyType: "int64", type: "Descriptor" },
                                    },
                                },
                                Descriptor: { fields: { digest: field(2, "string") } },
                                Timestamp: { fields: { seconds: field(1, "int64"), nanos: field(2, "int32") } },
                            },
                        },
                    },
                },
            },
        },
    },
};
const DEFINITION = fromJSON(CONTROL as unknown as Parameters<typeof fromJSON>[0], {
    keepCase: true,
    longs: Number,
    defaults: true,
});

interface Timestamp {
    seconds: number;
    nanos: number;
}
interface ControlClient extends Client {
    ListWorkers(
        request: object,
        options: { deadline: number },
        callback: (
            error: ServiceError | null,
            response: {
                record: {
                    platforms: { OS: string; Architecture: string; Variant: string }[];
                    BuildkitVersion: { version: string } | null;
                }[];
            },
        ) => void,
    ): void;
    ListenBuildHistory(request: object, options: { deadline: number }): NodeJS.EventEmitter;
}

function connect(node: BuildkitEndpoint): ControlClient {
    const api = loadPackageDefinition(DEFINITION) as unknown as {
        moby: { buildkit: { v1: { Control: new (...args: unknown[]) => ControlClient } } };
    };
    const target = node.endpoint.startsWith("tcp://") ? node.endpoint.slice("tcp://".length) : node.endpoint;
    const channel = node.tls
        ? credentials.createSsl(
              Buffer.from(node.tls.ca),
              Buffer.from(node.tls.privateKey),
              Buffer.from(node.tls.certificate),
          )
        : credentials.createInsecure();
    return new api.moby.buildkit.v1.Control(target, channel, {
        "grpc.enable_http_proxy": 0,
        "grpc.initial_reconnect_backoff_ms": 100,
        "grpc.max_reconnect_backoff_ms": 500,
        "grpc.max_receive_message_length": 64 * 1024 * 1024,
        // A channel is shared by equal targets otherwise, and a dead node's back-off would outlive its restart.
        "grpc.use_local_subchannel_pool": 1,
        ...(node.tls?.serverName ? { "grpc.ssl_target_name_override": node.tls.serverName } : {}),
    });
}

function failure(node: BuildkitEndpoint, error: ServiceError, timeoutMs: number): BuildkitError {
    return error.code === status.DEADLINE_EXCEEDED
        ? new BuildkitError(node.endpoint, `no answer within ${timeoutMs / 1000} s`, true)
        : new BuildkitError(node.endpoint, `${status[error.code] ?? error.code}: ${error.details}`);
}

const formatPlatform = (p: { OS: string; Architecture: string; Variant: string }) =>
    [p.OS, p.Architecture, p.Variant].filter(Boolean).join("/");

/**
 * Asks a daemon for its workers.
 *
 * @param timeoutMs default 3,000
 * @throws BuildkitError when it does not answer, does not let us in, or has no worker.
 */
export async function probe(node: BuildkitEndpoint, timeoutMs = 3_000): Promise<BuildkitInfo> {
    const client = connect(node);
    try {
        const response = await new Promise<Parameters<Parameters<ControlClient["ListWorkers"]>[2]>[1]>(
            (resolve, reject) => {
                client.ListWorkers({}, { deadline: Date.now() + timeoutMs }, (error, value) =>
                    error ? reject(failure(node, error, timeoutMs)) : resolve(value),
                );
            },
        );
        const [worker] = response.record;
        const [native] = worker?.platforms ?? [];
        if (!worker || !native) throw new BuildkitError(node.endpoint, "the daemon has no worker");
        return {
            platforms: worker.platforms.map(formatPlatform),
            nativePlatform: formatPlatform(native),
            version: worker.BuildkitVersion?.version ?? "",
        };
    } finally {
        client.close();
    }
}

interface HistoryRecord {
    Ref: string;
    CreatedAt: Timestamp | null;
    CompletedAt: Timestamp | null;
    Result: { ResultDeprecated: { digest: string } | null; Results: Record<string, { digest: string }> } | null;
    numCachedSteps: number;
    numTotalSteps: number;
}

const resultsOf = ({ Result: result }: HistoryRecord) =>
    [result?.ResultDeprecated, ...Object.values(result?.Results ?? {})].map((descriptor) => descriptor?.digest);

const milliseconds = (time: Timestamp | null) => (time ? time.seconds * 1000 + time.nanos / 1e6 : Number.NaN);

/**
 * The latest finished build on this node whose result has this digest, or nothing where its history has none.
 *
 * @throws BuildkitError when the daemon does not answer.
 */
export async function findBuild(
    node: BuildkitEndpoint,
    digest: string,
    timeoutMs = 5_000,
): Promise<BuildRecord | undefined> {
    const client = connect(node);
    try {
        return await new Promise((resolve, reject) => {
            let found: BuildRecord | undefined;
            const call = client.ListenBuildHistory({ EarlyExit: true }, { deadline: Date.now() + timeoutMs });
            call.on("data", ({ record }: { record: HistoryRecord | null }) => {
                if (!record?.CompletedAt || !resultsOf(record).includes(digest)) return;
                const completed = milliseconds(record.CompletedAt);
                if (found && Date.parse(found.completedAt) > completed) return;
                found = {
                    ref: record.Ref,
                    durationMs: Math.round(completed - milliseconds(record.CreatedAt)),
                    completedAt: new Date(completed).toISOString(),
                    cachedSteps: record.numCachedSteps,
                    totalSteps: record.numTotalSteps,
                };
            });
            call.on("error", (error: ServiceError) => reject(failure(node, error, timeoutMs)));
            call.on("end", () => resolve(found));
        });
    } finally {
        client.close();
    }
}
