/** The recorded steps of the real engine as data, and providers that answer from them or write down what they are asked. */
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { dynamicProvider } from "../../dist/engine/plugin";
import type { Properties, Provider, ProviderFactory } from "../../dist/engine/provider";

export const RECORDINGS = join(__dirname, "../fixtures/recordings/lifecycle");

type Json = Record<string, unknown>;

interface Line {
    method: string;
    request: Json;
    response?: Json;
    errors?: string[];
}

/** One call of a provider: its method and the request's fields that carry meaning. */
export interface Call {
    method: string;
    urn: string;
    request: Json;
    /** Order of begin and end among the calls of a run. */
    begin?: number;
    end?: number;
}

const METHODS = ["Check", "Diff", "Create", "Update", "Read", "Delete"];
const FIELDS = ["id", "urn", "olds", "news", "oldInputs", "ignoreChanges", "properties", "inputs", "preview"];

export function readLines(step: string): Line[] {
    const text = readFileSync(join(RECORDINGS, `${step}.jsonl`), "utf8");
    return text
        .trimEnd()
        .split("\n")
        .map((line) => {
            const { method, request, response, errors } = JSON.parse(line);
            return { method: method.replace("/pulumirpc.ResourceProvider/", ""), request, response, errors };
        });
}

/** The fields of a request that are set (protobuf leaves out empty lists and false). */
function significant(request: Json): Json {
    const set = FIELDS.filter((key) => {
        const value = request[key];
        return value !== undefined && value !== false && !(Array.isArray(value) && value.length === 0);
    });
    return Object.fromEntries(set.map((key) => [key, request[key]]));
}

export function recordedCalls(step: string): Call[] {
    return readLines(step)
        .filter(({ method }) => METHODS.includes(method))
        .map(({ method, request }) => ({ method, urn: String(request.urn), request: significant(request) }));
}

/** What the real engine ran the program with. */
export function recordedRun(step: string): { config: Record<string, string>; preview: boolean } | undefined {
    const run = readLines(step).find(({ method }) => method.endsWith("/Run"))?.request;
    return run && { config: run.config as Record<string, string>, preview: run.dryRun === true };
}

type Asked = [method: string, request: Json];

const asked: Record<string, (...args: never[]) => Asked> = {
    check: (urn: string, olds: Json, news: Json) => ["Check", { urn, olds, news }],
    diff: (urn: string, id: string, oldInputs: Json, olds: Json, news: Json, ignoreChanges: string[]) => [
        "Diff",
        { urn, id, oldInputs, olds, news, ignoreChanges },
    ],
    create: (urn: string, properties: Json, _timeout: number, preview: boolean) => [
        "Create",
        { urn, properties, preview },
    ],
    update: (
        urn: string,
        id: string,
        oldInputs: Json,
        olds: Json,
        news: Json,
        _timeout: number,
        preview: boolean,
        ignoreChanges: string[],
    ) => ["Update", { urn, id, oldInputs, olds, news, preview, ignoreChanges }],
    read: (urn: string, id: string, inputs: Json, properties: Json) => ["Read", { urn, id, inputs, properties }],
    delete: (urn: string, id: string, oldInputs: Json, properties: Json) => [
        "Delete",
        { urn, id, oldInputs, properties },
    ],
};

/** Writes down every call of the provider. */
function recording(provider: Provider, calls: Call[]): Provider {
    return new Proxy(provider, {
        get(target, key) {
            const value = Reflect.get(target, key, target);
            const describe = asked[String(key)];
            if (typeof value !== "function") return value;
            if (!describe) return value.bind(target);
            return async (...args: never[]) => {
                const [method, request] = describe(...args);
                const call: Call = { method, urn: String(request.urn), request: significant(request), begin: clock++ };
                calls.push(call);
                try {
                    return await value.apply(target, args);
                } finally {
                    call.end = clock++;
                }
            };
        },
    });
}

let clock = 0;

/** The SDK's dynamic provider, in its own process, with every call written down. */
export const recordedDynamic =
    (calls: Call[]): ProviderFactory =>
    async (host, version) =>
        recording(await dynamicProvider(host, version), calls);

/** The docker-build plugin as it answered in that step; a request it never got is an error. */
export function replayed(step: string, calls: Call[]): ProviderFactory {
    const lines = readLines(step);
    const answer = (method: string, request: Json): Json => {
        const wanted = JSON.stringify(sorted(significant(request)));
        const found = lines.find(
            (line) => line.method === method && JSON.stringify(sorted(significant(line.request))) === wanted,
        );
        const first = found ?? lines.find((line) => line.method === method && line.request.urn === request.urn);
        if (!first) throw new Error(`the recording has no ${method} of ${request.urn}`);
        const error = first.errors?.[0];
        if (error) throw new Error(error.replace(/^rpc error: code = \w+ desc = /, ""));
        return first.response ?? {};
    };
    const ask = (name: string, args: unknown[]): Json =>
        answer(...(asked[name] as (...a: unknown[]) => Asked)(...args));
    const properties = (value: unknown) => (value ?? {}) as Properties;
    const provider: Provider = {
        supportsPreview: true,
        acceptSecrets: true,
        configure: async () => undefined,
        check: async (...args) => {
            const { inputs, failures } = ask("check", args);
            return { inputs: properties(inputs), failures: (failures ?? []) as { property: string; reason: string }[] };
        },
        diff: async (...args) => {
            const response = ask("diff", args);
            return {
                changes: response.changes === "DIFF_SOME" ? "some" : "none",
                replaces: (response.replaces ?? []) as string[],
                deleteBeforeReplace: response.deleteBeforeReplace === true,
                diffs: (response.diffs ?? []) as string[],
                stables: [],
            };
        },
        create: async (...args) => {
            const { id, properties: outputs } = ask("create", args);
            return { id: String(id ?? ""), outputs: properties(outputs) };
        },
        update: async (...args) => ({ outputs: properties(ask("update", args).properties) }),
        read: async (...args) => {
            const { id, inputs, properties: outputs } = ask("read", args);
            return { id: String(id ?? ""), inputs: properties(inputs), outputs: properties(outputs) };
        },
        delete: async (...args) => {
            ask("delete", args);
        },
        cancel: () => undefined,
        close: () => undefined,
    };
    return async () => recording(provider, calls);
}

/** Property order carries no meaning. */
export function sorted(value: unknown): unknown {
    if (Array.isArray(value)) return value.map(sorted);
    if (typeof value !== "object" || value === null) return value;
    const entries = Object.entries(value).sort(([a], [b]) => (a < b ? -1 : 1));
    return Object.fromEntries(entries.map(([key, item]) => [key, sorted(item)]));
}
