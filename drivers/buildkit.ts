import { type Client, credentials, loadPackageDefinition, type ServiceError, status } from "@grpc/grpc-js";
import { usesTls } from "../core/endpoint";
import { CONTROL } from "./buildkit-control";
import { openRelay, type Relay } from "./relay";

/** Where a BuildKit daemon listens, and what a client needs to be let in. */
export interface BuildkitEndpoint {
    /** `tcp://host:port`, `unix:///path`, `ssh://…`, `docker-container://…`, `kube-pod://…`; see core/endpoint.ts. */
    endpoint: string;
    /** The command whose standard input and output are a connection to it; default what the endpoint says. */
    command?: string[] | undefined;
    /** PEM; mutual TLS when given. Only `tcp://` has it, for others it is not looked at. */
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

function connect(target: string, tls: BuildkitEndpoint["tls"]): ControlClient {
    const api = loadPackageDefinition(CONTROL) as unknown as {
        moby: { buildkit: { v1: { Control: new (...args: unknown[]) => ControlClient } } };
    };
    const channel = tls
        ? credentials.createSsl(Buffer.from(tls.ca), Buffer.from(tls.privateKey), Buffer.from(tls.certificate))
        : credentials.createInsecure();
    return new api.moby.buildkit.v1.Control(target.replace(/^tcp:\/\//, ""), channel, {
        "grpc.enable_http_proxy": 0,
        "grpc.initial_reconnect_backoff_ms": 100,
        "grpc.max_reconnect_backoff_ms": 500,
        "grpc.max_receive_message_length": 64 * 1024 * 1024,
        // A channel is shared by equal targets otherwise, and a dead node's back-off would outlive its restart.
        "grpc.use_local_subchannel_pool": 1,
        ...(tls?.serverName ? { "grpc.ssl_target_name_override": tls.serverName } : {}),
    });
}

/** Calls a daemon, through a relay where it is not dialled itself. What gRPC says of a failure is told in our words. */
async function call<T>(
    node: BuildkitEndpoint,
    timeoutMs: number,
    use: (client: ControlClient) => Promise<T>,
): Promise<T> {
    const relay = await openRelay(node.endpoint, node.command);
    const client = connect(relay.endpoint, usesTls(node.endpoint) ? node.tls : undefined);
    try {
        return await use(client);
    } catch (error) {
        if (error instanceof BuildkitError) throw error;
        throw failure(node, error as ServiceError, timeoutMs, relay);
    } finally {
        client.close();
        await relay.close();
    }
}

function failure(node: BuildkitEndpoint, error: ServiceError, timeoutMs: number, relay: Relay): BuildkitError {
    const said = relay.said();
    if (error.code === status.DEADLINE_EXCEEDED) {
        const late = `no answer within ${timeoutMs / 1000} s`;
        return new BuildkitError(node.endpoint, said ? `${late} (${said})` : late, true);
    }
    return new BuildkitError(node.endpoint, said || `${status[error.code] ?? error.code}: ${error.details}`);
}

const formatPlatform = (p: { OS: string; Architecture: string; Variant: string }) =>
    [p.OS, p.Architecture, p.Variant].filter(Boolean).join("/");

/** What a command (ssh, kubectl) needs to get to the far side comes before the daemon's own answer. */
const probeMs = ({ endpoint, command }: BuildkitEndpoint) =>
    !command && /^(tcp|unix):/.test(endpoint) ? 3_000 : 8_000;

/**
 * Asks a daemon for its workers.
 *
 * @param timeoutMs default 3,000; 8,000 where a command reaches it
 * @throws BuildkitError when it does not answer, does not let us in, or has no worker.
 */
export async function probe(node: BuildkitEndpoint, timeoutMs = probeMs(node)): Promise<BuildkitInfo> {
    return call(node, timeoutMs, async (client) => {
        const response = await new Promise<Parameters<Parameters<ControlClient["ListWorkers"]>[2]>[1]>(
            (resolve, reject) => {
                client.ListWorkers({}, { deadline: Date.now() + timeoutMs }, (error, value) =>
                    error ? reject(error) : resolve(value),
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
    });
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
    return call(
        node,
        timeoutMs,
        (client) =>
            new Promise((resolve, reject) => {
                let found: BuildRecord | undefined;
                const stream = client.ListenBuildHistory({ EarlyExit: true }, { deadline: Date.now() + timeoutMs });
                stream.on("data", ({ record }: { record: HistoryRecord | null }) => {
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
                stream.on("error", reject);
                stream.on("end", () => resolve(found));
            }),
    );
}

/**
 * How many builds run on a daemon now.
 *
 * @throws BuildkitError when it does not answer.
 */
export async function countActiveBuilds(node: BuildkitEndpoint, timeoutMs = 8_000): Promise<number> {
    return call(
        node,
        timeoutMs,
        (client) =>
            new Promise((resolve, reject) => {
                const active = new Set<string>();
                const request = { ActiveOnly: true, EarlyExit: true };
                const stream = client.ListenBuildHistory(request, { deadline: Date.now() + timeoutMs });
                stream.on("data", ({ record }: { record: HistoryRecord | null }) => {
                    if (record && !record.CompletedAt) active.add(record.Ref);
                });
                stream.on("error", reject);
                stream.on("end", () => resolve(active.size));
            }),
    );
}
