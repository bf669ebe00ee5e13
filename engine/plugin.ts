/** Providers in processes of their own, over the ResourceProvider protocol: the SDK's dynamic provider, and plugins on PATH. */
import { accessSync, constants } from "node:fs";
import { createRequire } from "node:module";
import { delimiter, join } from "node:path";
import * as grpc from "@grpc/grpc-js";
import { ResourceProviderClient } from "@pulumi/pulumi/proto/provider_grpc_pb";
import * as proto from "@pulumi/pulumi/proto/provider_pb";
import { Status } from "@pulumi/pulumi/proto/status_pb";
import { Empty } from "google-protobuf/google/protobuf/empty_pb";
import { Struct } from "google-protobuf/google/protobuf/struct_pb";
import { type Guarded, spawnGuarded } from "./processes";
import {
    type CheckResult,
    type DiffResult,
    InitError,
    type Properties,
    type Provider,
    type ProviderFactory,
    type ProviderHost,
} from "./provider";
import { reveal } from "./values";

const CHANNEL = { "grpc.max_receive_message_length": -1, "grpc.max_send_message_length": -1 };

export const toStruct = (properties: Properties) => Struct.fromJavaScript(properties);
export const fromStruct = (struct: Struct | undefined) => (struct?.toJavaScript() ?? {}) as Properties;

type Done<Response> = (error: grpc.ServiceError | null, response: Response) => void;

/** A unary call as a promise. */
function unary<Response>(call: (done: Done<Response>) => void): Promise<Response> {
    return new Promise((resolve, reject) => {
        call((error, response) => (error ? reject(toError(error)) : resolve(response)));
    });
}

class PluginProvider implements Provider {
    supportsPreview = false;
    acceptSecrets = false;
    private readonly client: ResourceProviderClient;

    constructor(
        private readonly name: string,
        private readonly process: Guarded,
        port: number,
    ) {
        this.client = new ResourceProviderClient(`127.0.0.1:${port}`, grpc.credentials.createInsecure(), CHANNEL);
    }

    async configure(inputs: Properties): Promise<void> {
        const check = new proto.CheckRequest().setUrn("").setOlds(toStruct({})).setNews(toStruct(reveal(inputs)));
        const checked: proto.CheckResponse | undefined = await unary<proto.CheckResponse>((done) => this.client.checkConfig(check, done)).catch((error: PluginError) => {
            if (error.code === grpc.status.UNIMPLEMENTED) return undefined;
            throw error;
        });
        const failures = checked?.getFailuresList() ?? [];
        if (failures.length > 0) {
            const reasons = failures.map((failure) => `${failure.getProperty()}: ${failure.getReason()}`);
            throw new Error(`provider ${this.name} refuses its configuration: ${reasons.join("; ")}`);
        }
        const args = checked ? { ...fromStruct(checked.getInputs()), ...versionOf(inputs) } : inputs;
        const request = new proto.ConfigureRequest().setArgs(toStruct(args)).setAcceptsecrets(true);
        request.setSendsOldInputs(true).setSendsOldInputsToDelete(true);
        const variables = request.getVariablesMap();
        for (const [key, value] of Object.entries(reveal(args))) {
            const text = typeof value === "string" ? value : JSON.stringify(value);
            if (key !== "version") variables.set(`${this.name}:config:${key}`, text);
        }
        const response = await unary<proto.ConfigureResponse>((done) => this.client.configure(request, done));
        this.supportsPreview = response.getSupportspreview();
        this.acceptSecrets = response.getAcceptsecrets();
    }

    async check(urn: string, olds: Properties, news: Properties): Promise<CheckResult> {
        const request = named(new proto.CheckRequest(), urn).setOlds(toStruct(olds)).setNews(toStruct(news));
        const response = await unary<proto.CheckResponse>((done) => this.client.check(request, done));
        const failures = response.getFailuresList().map((failure) => failure.toObject());
        return { inputs: fromStruct(response.getInputs()), failures };
    }

    async diff(
        urn: string,
        id: string,
        oldInputs: Properties,
        oldOutputs: Properties,
        news: Properties,
        ignoreChanges: string[],
    ): Promise<DiffResult> {
        const request = named(new proto.DiffRequest(), urn).setId(id).setNews(toStruct(news));
        request.setOlds(toStruct(oldOutputs)).setOldInputs(toStruct(oldInputs)).setIgnorechangesList(ignoreChanges);
        const response = await unary<proto.DiffResponse>((done) => this.client.diff(request, done));
        const { DIFF_NONE, DIFF_SOME } = proto.DiffResponse.DiffChanges;
        const changes = response.getChanges();
        const kinds = Object.entries(proto.PropertyDiff.Kind);
        const detailed = [...response.getDetaileddiffMap().entries()].map(([path, diff]) => [
            path,
            kinds.find(([, kind]) => kind === diff.getKind())?.[0] ?? "UPDATE",
        ]);
        return {
            changes: changes === DIFF_NONE ? "none" : changes === DIFF_SOME ? "some" : "unknown",
            replaces: response.getReplacesList(),
            deleteBeforeReplace: response.getDeletebeforereplace(),
            diffs: response.getDiffsList(),
            stables: response.getStablesList(),
            ...(response.getHasdetaileddiff() && { detailed: Object.fromEntries(detailed) }),
        };
    }

    async create(urn: string, news: Properties, timeout: number, preview: boolean) {
        const request = named(new proto.CreateRequest(), urn).setProperties(toStruct(news));
        const response = await unary<proto.CreateResponse>((done) => this.client.create(request.setTimeout(timeout).setPreview(preview), done));
        return { id: response.getId(), outputs: fromStruct(response.getProperties()) };
    }

    async update(
        urn: string,
        id: string,
        oldInputs: Properties,
        oldOutputs: Properties,
        news: Properties,
        timeout: number,
        preview: boolean,
        ignoreChanges: string[],
    ) {
        const request = named(new proto.UpdateRequest(), urn).setId(id).setNews(toStruct(news));
        request.setOlds(toStruct(oldOutputs)).setOldInputs(toStruct(oldInputs)).setIgnorechangesList(ignoreChanges);
        const response = await unary<proto.UpdateResponse>((done) => this.client.update(request.setTimeout(timeout).setPreview(preview), done));
        return { outputs: fromStruct(response.getProperties()) };
    }

    async read(urn: string, id: string, inputs: Properties, outputs: Properties) {
        const request = named(new proto.ReadRequest(), urn).setId(id).setInputs(toStruct(inputs));
        const response = await unary<proto.ReadResponse>((done) => this.client.read(request.setProperties(toStruct(outputs)), done));
        const read = response.getInputs();
        const known = read ? fromStruct(read) : inputs;
        return { id: response.getId(), inputs: known, outputs: fromStruct(response.getProperties()) };
    }

    async delete(urn: string, id: string, inputs: Properties, outputs: Properties, timeout: number): Promise<void> {
        const request = named(new proto.DeleteRequest(), urn).setId(id).setProperties(toStruct(outputs));
        await unary<Empty>((done) => this.client.delete(request.setOldInputs(toStruct(inputs)).setTimeout(timeout), done));
    }

    async invoke(token: string, args: Properties) {
        const request = new proto.InvokeRequest().setTok(token).setArgs(toStruct(args));
        const response = await unary<proto.InvokeResponse>((done) => this.client.invoke(request, done));
        const failures = response.getFailuresList().map((failure) => failure.toObject());
        return { result: fromStruct(response.getReturn()), failures };
    }

    cancel(): void {
        unary<Empty>((done) => this.client.cancel(new Empty(), done)).catch(() => undefined); // a plugin that is gone has stopped too
    }

    close(): void {
        this.client.close();
        this.process.kill();
    }
}

class PluginError extends Error {
    constructor(
        readonly code: number,
        message: string,
    ) {
        super(message);
    }
}

/** A failed call; a resource that was made but isn't ready comes packed in the status details. */
function toError(error: grpc.ServiceError): Error {
    for (const bytes of error.metadata.get("grpc-status-details-bin")) {
        for (const detail of Status.deserializeBinary(bytes as Buffer).getDetailsList()) {
            if (!detail.getTypeName().endsWith("pulumirpc.ErrorResourceInitFailed")) continue;
            const failed = proto.ErrorResourceInitFailed.deserializeBinary(detail.getValue_asU8());
            return new InitError(failed.getId(), fromStruct(failed.getProperties()), failed.getReasonsList());
        }
    }
    return new PluginError(error.code, error.details || error.message);
}

function named<Request extends { setUrn(urn: string): unknown; setName(n: string): unknown; setType(t: string): unknown }>(
    request: Request,
    urn: string,
): Request {
    request.setUrn(urn);
    request.setName(urn.slice(urn.lastIndexOf("::") + 2));
    request.setType((urn.split("::")[2] ?? "").split("$").pop() ?? "");
    return request;
}

const versionOf = ({ version }: Properties): Properties => (version === undefined ? {} : { version });

/** Starts a provider's process; its first line of output is the port it serves on. */
function start(name: string, command: string, args: string[], host: ProviderHost): Promise<Provider> {
    return new Promise((resolve, reject) => {
        const last: string[] = [];
        let ready = false;
        const child = spawnGuarded(command, args, {
            cwd: host.programDirectory,
            onLine(line, stream) {
                if (!ready && stream === "stdout" && /^\d+$/.test(line)) {
                    ready = true;
                    resolve(new PluginProvider(name, child, Number(line)));
                } else {
                    last.push(line);
                    if (last.length > 10) last.shift();
                    host.log("", "debug", `${name}: ${line}`, true);
                }
            },
        });
        child.exited.then(
            (code) => reject(new Error(`provider ${name} ended with exit code ${code}\n${last.join("\n")}`.trim())),
            reject,
        );
    });
}

/** The SDK's own provider of dynamic resources, from the program's copy of the SDK. */
export const dynamicProvider: ProviderFactory = async (host) => {
    const script = createRequire(join(host.programDirectory, "_.js")).resolve("@pulumi/pulumi/cmd/dynamic-provider");
    return start("pulumi-nodejs", process.execPath, [script, host.engineAddress], host);
};

/** `pulumi-resource-NAME` on PATH. */
export function pluginOnPath(name: string): ProviderFactory {
    return async (host) => {
        for (const folder of (process.env.PATH ?? "").split(delimiter).filter(Boolean)) {
            const file = join(folder, `pulumi-resource-${name}`);
            try {
                accessSync(file, constants.X_OK);
            } catch {
                continue; // not in this folder
            }
            return start(name, file, [host.engineAddress], host);
        }
        throw new Error(
            `no provider for package "${name}": pulumi-resource-${name} is not on PATH (the embedded engine installs no plugins)`,
        );
    };
}
