/** Providers in processes of their own, over the ResourceProvider protocol: the SDK's dynamic provider, and plugins on PATH. */
import { createRequire } from "node:module";
import { join } from "node:path";
import * as grpc from "@grpc/grpc-js";
import { ResourceProviderClient } from "@pulumi/pulumi/proto/provider_grpc_pb";
import * as proto from "@pulumi/pulumi/proto/provider_pb";
import { Status } from "@pulumi/pulumi/proto/status_pb";
import { Empty } from "google-protobuf/google/protobuf/empty_pb";
import { nameOf, typeOf } from "./goal";
import { missingPlugin, pluginOnPath } from "./missing";
import { type Guarded, spawnGuarded } from "./processes";
import {
    type DiffResult,
    InitError,
    type Properties,
    type Provider,
    type ProviderFactory,
    type ProviderHost,
} from "./provider";
import { isObject, reveal } from "./values";
import { CHANNEL, fromStruct, toStruct } from "./wire";

/** Sets fields of a message by name: property maps become structs, lists get their setter's suffix. */
function fill<Message>(
    message: Message,
    fields: Record<string, Properties | string | string[] | number | boolean>,
): Message {
    const setters = message as Record<string, (value: unknown) => void>;
    for (const [name, value] of Object.entries(fields)) {
        const setter = `set${name.charAt(0).toUpperCase()}${name.slice(1)}${Array.isArray(value) ? "List" : ""}`;
        if (!setters[setter]) throw new Error(`the protocol has no ${setter}`);
        setters[setter](isObject(value) ? toStruct(value) : value);
    }
    return message;
}

/** A request about a resource. */
const about = <Message>(message: Message, urn: string, fields: Parameters<typeof fill>[1]) =>
    fill(message, { urn, name: nameOf(urn), type: typeOf(urn), ...fields });

type Done<Response> = (error: grpc.ServiceError | null, response: Response) => void;

/** A unary call as a promise. */
const unary = <Response>(call: (done: Done<Response>) => void): Promise<Response> =>
    new Promise((resolve, reject) => call((error, response) => (error ? reject(toError(error)) : resolve(response))));

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
        const check = fill(new proto.CheckRequest(), { olds: {}, news: reveal(inputs) });
        const unchecked = (error: Error & { code?: number }) => {
            if (error.code !== grpc.status.UNIMPLEMENTED) throw error;
            return undefined;
        };
        const checked = await unary<proto.CheckResponse>((done) => this.client.checkConfig(check, done)).catch(
            unchecked,
        );
        const failures = (checked?.getFailuresList() ?? []).map(
            (failure) => `${failure.getProperty()}: ${failure.getReason()}`,
        );
        if (failures.length > 0) throw new Error(`provider ${this.name} refuses its settings: ${failures.join("; ")}`);
        const args = checked ? { ...inputs, ...fromStruct(checked.getInputs()) } : inputs;
        const flags = { acceptsecrets: true, sendsOldInputs: true, sendsOldInputsToDelete: true };
        const request = fill(new proto.ConfigureRequest(), { args, ...flags });
        for (const [key, value] of Object.entries(reveal(args))) {
            if (key === "version") continue;
            const text = typeof value === "string" ? value : JSON.stringify(value);
            request.getVariablesMap().set(`${this.name}:config:${key}`, text);
        }
        const response = await unary<proto.ConfigureResponse>((done) => this.client.configure(request, done));
        this.supportsPreview = response.getSupportspreview();
        this.acceptSecrets = response.getAcceptsecrets();
    }

    async check(urn: string, olds: Properties, news: Properties) {
        const request = about(new proto.CheckRequest(), urn, { olds, news });
        const response = await unary<proto.CheckResponse>((done) => this.client.check(request, done));
        const failures = response.getFailuresList().map((failure) => failure.toObject());
        return { inputs: fromStruct(response.getInputs()), failures };
    }

    async diff(...[urn, id, oldInputs, olds, news, ignorechanges]: Parameters<Provider["diff"]>): Promise<DiffResult> {
        const request = about(new proto.DiffRequest(), urn, { id, oldInputs, olds, news, ignorechanges });
        const response = await unary<proto.DiffResponse>((done) => this.client.diff(request, done));
        const { DIFF_NONE, DIFF_SOME } = proto.DiffResponse.DiffChanges;
        const changes = response.getChanges();
        return {
            changes: changes === DIFF_NONE ? "none" : changes === DIFF_SOME ? "some" : "unknown",
            replaces: response.getReplacesList(),
            deleteBeforeReplace: response.getDeletebeforereplace(),
            diffs: response.getDiffsList(),
            stables: response.getStablesList(),
        };
    }

    async create(urn: string, properties: Properties, timeout: number, preview: boolean) {
        const request = about(new proto.CreateRequest(), urn, { properties, timeout, preview });
        const response = await unary<proto.CreateResponse>((done) => this.client.create(request, done));
        return { id: response.getId(), outputs: fromStruct(response.getProperties()) };
    }

    async update(...[urn, id, oldInputs, olds, news, timeout, preview, ignorechanges]: Parameters<Provider["update"]>) {
        const fields = { id, oldInputs, olds, news, timeout, preview, ignorechanges };
        const request = about(new proto.UpdateRequest(), urn, fields);
        const response = await unary<proto.UpdateResponse>((done) => this.client.update(request, done));
        return { outputs: fromStruct(response.getProperties()) };
    }

    async read(urn: string, id: string, inputs: Properties, properties: Properties) {
        const request = about(new proto.ReadRequest(), urn, { id, inputs, properties });
        const response = await unary<proto.ReadResponse>((done) => this.client.read(request, done));
        const found = response.hasInputs() ? fromStruct(response.getInputs()) : inputs;
        return { id: response.getId(), inputs: found, outputs: fromStruct(response.getProperties()) };
    }

    async delete(
        urn: string,
        id: string,
        oldInputs: Properties,
        properties: Properties,
        timeout: number,
    ): Promise<void> {
        const request = about(new proto.DeleteRequest(), urn, { id, oldInputs, properties, timeout });
        await unary<Empty>((done) => this.client.delete(request, done));
    }

    async invoke(tok: string, args: Properties) {
        const request = fill(new proto.InvokeRequest(), { tok, args });
        const response = await unary<proto.InvokeResponse>((done) => this.client.invoke(request, done));
        const failures = response.getFailuresList().map((failure) => failure.toObject());
        return { result: fromStruct(response.getReturn()), failures };
    }

    cancel(): void {
        unary<Empty>((done) => this.client.cancel(new Empty(), done)).catch(() => undefined); // gone = stopped
    }

    close(): void {
        this.client.close();
        this.process.kill();
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
    return Object.assign(new Error(error.details || error.message), { code: error.code });
}

/** Starts a provider's process; the first number it prints is the port it serves on. */
function start(name: string, command: string, args: string[], host: ProviderHost): Promise<Provider> {
    return new Promise((resolve, reject) => {
        const last: string[] = [];
        const child = spawnGuarded(command, args, {
            cwd: host.programDirectory,
            env: { ...process.env, PULUMI_NODEJS_PROJECT: host.project, PULUMI_NODEJS_STACK: host.stack },
            onLine(line, stream) {
                if (stream === "stdout" && /^\d+$/.test(line)) resolve(new PluginProvider(name, child, Number(line)));
                else if (last.push(line) > 10) last.shift();
                host.log("", "debug", `${name}: ${line}`, true);
            },
        });
        const ended = (code: number) =>
            reject(new Error(`provider ${name} ended: exit code ${code}\n${last.join("\n")}`));
        child.exited.then(ended, reject);
    });
}

/** The SDK's own provider of dynamic resources, from the program's copy of the SDK. */
export const dynamicProvider: ProviderFactory = async (host) => {
    const script = createRequire(join(host.programDirectory, "_.js")).resolve("@pulumi/pulumi/cmd/dynamic-provider");
    const args = ["--require", join(__dirname, "lazy.js"), script, host.engineAddress];
    return start("pulumi-nodejs", process.execPath, args, host);
};

/** `pulumi-resource-NAME` on PATH. */
export const pluginProvider =
    (name: string): ProviderFactory =>
    async (host) => {
        const file = pluginOnPath(name);
        if (file) return start(name, file, [host.engineAddress], host);
        throw new Error(missingPlugin(name));
    };
