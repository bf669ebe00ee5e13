import { type Client, credentials, loadPackageDefinition } from "@grpc/grpc-js";
import { fromJSON } from "@grpc/proto-loader";

/** Gets each line; `kept` ones are still worth reading when the run is over. */
export type ProgressListener = (line: string, kept: boolean) => void;

// The part of pulumi's proto/pulumi/engine.proto that is used here.
const ENGINE = {
    nested: {
        pulumirpc: {
            nested: {
                Engine: { methods: { Log: { requestType: "LogRequest", responseType: "Nothing" } } },
                LogRequest: {
                    fields: {
                        severity: { id: 1, type: "int32" },
                        message: { id: 2, type: "string" },
                        ephemeral: { id: 5, type: "bool" },
                    },
                },
                Nothing: { fields: {} },
            },
        },
    },
};
const INFO = 1;

type EngineClient = Client & { Log(request: object, options: { deadline: number }, done: () => void): void };
let engine: EngineClient | undefined;

/** The engine starts a dynamic provider with its own address as an argument; where there is none, nobody listens. */
function connect(): EngineClient | undefined {
    const isProvider = process.argv[1]?.includes("dynamic-provider");
    const address = process.argv.slice(2).find((argument) => /^[\w.-]+:\d+$/.test(argument));
    if (!isProvider || !address) return undefined;
    const definition = fromJSON(ENGINE as unknown as Parameters<typeof fromJSON>[0]);
    const api = loadPackageDefinition(definition) as unknown as {
        pulumirpc: { Engine: new (...args: unknown[]) => EngineClient };
    };
    return new api.pulumirpc.Engine(address, credentials.createInsecure(), { "grpc.enable_http_proxy": 0 });
}

const toEngine: ProgressListener = (message, kept) => {
    engine ??= connect();
    // Nothing depends on its being seen, and an engine that is gone ends this process anyway (orphan-guard.ts).
    engine?.Log({ severity: INFO, message, ephemeral: !kept }, { deadline: Date.now() + 5_000 }, () => undefined);
};

let listener: ProgressListener = toEngine;

/**
 * Tells the user how far something is that takes long. A dynamic provider is not told which resource it works for, so
 * the line stands under the stack and has to name what it is about.
 */
export function progress(line: string, kept = false): void {
    listener(line, kept);
}

/** Sends progress elsewhere; the function that is returned undoes it. */
export function listenToProgress(other: ProgressListener): () => void {
    listener = other;
    return () => {
        listener = toEngine;
    };
}

/** Repeats a line with the seconds so far, every 15 s, while `work` runs. */
export async function whileWorking<T>(what: () => string, work: () => Promise<T>, everyMs = 15_000): Promise<T> {
    const started = Date.now();
    const timer = setInterval(() => progress(`${what()} (${Math.round((Date.now() - started) / 1000)} s)`), everyMs);
    try {
        return await work();
    } finally {
        clearInterval(timer);
    }
}
