/** The services the SDK talks to: ResourceMonitor and Engine, on a loopback port. */
import * as grpc from "@grpc/grpc-js";
import { EngineService } from "@pulumi/pulumi/proto/engine_grpc_pb";
import {
    GetRootResourceResponse,
    type LogRequest,
    LogSeverity,
    SetRootResourceResponse,
} from "@pulumi/pulumi/proto/engine_pb";
import { CheckFailure, InvokeResponse } from "@pulumi/pulumi/proto/provider_pb";
import { ResourceMonitorService } from "@pulumi/pulumi/proto/resource_grpc_pb";
import * as proto from "@pulumi/pulumi/proto/resource_pb";
import { Empty } from "google-protobuf/google/protobuf/empty_pb";
import type { Deployment } from "./deployment";
import { type Goal, PLAIN_GOAL, readGoal } from "./goal";
import type { Severity } from "./provider";
import type { Report } from "./report";
import { CHANNEL, fromStruct, toStruct } from "./wire";

/** What is really implemented; the SDK leaves out or refuses the rest by name. */
const FEATURES = new Set(["secrets", "resourceReferences", "aliasSpecs"]);

type Handler = grpc.handleUnaryCall<unknown, unknown>;

/** A method from an async function; what it throws goes back to the program as the call's error. */
function method<Request>(answer: (request: Request) => Promise<unknown> | unknown): Handler {
    return (call, callback) => {
        Promise.resolve()
            .then(() => answer(call.request as Request))
            .then(
                (response) => callback(null, response),
                (error: Error) => callback({ code: grpc.status.UNKNOWN, details: error.message }),
            );
    };
}

function refuse(name: string): Handler {
    return (_call, callback) =>
        callback({
            code: grpc.status.UNIMPLEMENTED,
            details: `the embedded engine does not support ${name}; use the Pulumi CLI`,
        });
}

export class Monitor {
    private readonly server = new grpc.Server(CHANNEL);
    /** The deployment that registrations go to; they wait until the state is read. */
    deployment!: Promise<Deployment>;

    constructor(
        private readonly report: Report,
        private readonly log: (urn: string, severity: Severity, message: string, ephemeral: boolean) => void,
    ) {}

    /** Starts serving; answers HOST:PORT. */
    listen(): Promise<string> {
        this.server.addService(ResourceMonitorService, this.monitorMethods());
        this.server.addService(EngineService, this.engineMethods());
        return new Promise((resolve, reject) => {
            this.server.bindAsync("127.0.0.1:0", grpc.ServerCredentials.createInsecure(), (error, port) =>
                error ? reject(error) : resolve(`127.0.0.1:${port}`),
            );
        });
    }

    close(): void {
        this.server.forceShutdown();
    }

    private monitorMethods(): grpc.UntypedServiceImplementation {
        return {
            supportsFeature: method((request: proto.SupportsFeatureRequest) =>
                new proto.SupportsFeatureResponse().setHassupport(FEATURES.has(request.getId())),
            ),
            registerResource: method((request: proto.RegisterResourceRequest) => this.register(request)),
            registerResourceOutputs: method(async (request: proto.RegisterResourceOutputsRequest) => {
                (await this.deployment).registerOutputs(request.getUrn(), fromStruct(request.getOutputs()));
                return new Empty();
            }),
            readResource: method((request: proto.ReadResourceRequest) => this.read(request)),
            invoke: method(async (request: proto.ResourceInvokeRequest) => {
                const [token, args] = [request.getTok(), fromStruct(request.getArgs())];
                const deployment = await this.deployment;
                const { result, failures } = await deployment.invoke(
                    token,
                    args,
                    request.getProvider(),
                    request.getVersion(),
                );
                const problems = failures.map(({ property, reason }) =>
                    new CheckFailure().setProperty(property).setReason(reason),
                );
                return new InvokeResponse().setReturn(toStruct(result)).setFailuresList(problems);
            }),
            // The program ends by itself; nothing of it is needed for the deletions that follow.
            signalAndWaitForShutdown: method(() => new Empty()),
            call: refuse("method calls"),
            registerStackTransform: refuse("transforms"),
            registerStackInvokeTransform: refuse("invoke transforms"),
            registerResourceHook: refuse("resource hooks"),
            registerErrorHook: refuse("error hooks"),
            registerPackage: refuse("parameterized packages"),
            getDeploymentInfo: refuse("deployment info"),
        };
    }

    private engineMethods(): grpc.UntypedServiceImplementation {
        let root = "";
        const severities: [number, Severity][] = [
            [LogSeverity.DEBUG, "debug"],
            [LogSeverity.INFO, "info"],
            [LogSeverity.WARNING, "warning"],
            [LogSeverity.ERROR, "error"],
        ];
        return {
            log: method((request: LogRequest) => {
                const severity = severities.find(([number]) => number === request.getSeverity())?.[1] ?? "info";
                if (severity === "error") this.report.error(request.getUrn(), request.getMessage());
                else this.log(request.getUrn(), severity, request.getMessage(), request.getEphemeral());
                return new Empty();
            }),
            setRootResource: method((request: { getUrn(): string }) => {
                root = request.getUrn();
                return new SetRootResourceResponse();
            }),
            getRootResource: method(() => new GetRootResourceResponse().setUrn(root)),
            startDebugging: refuse("debugging"),
            requirePulumiVersion: refuse("requirePulumiVersion"),
        };
    }

    private async register(request: proto.RegisterResourceRequest): Promise<proto.RegisterResourceResponse> {
        const deployment = await this.deployment;
        let goal: Goal;
        try {
            goal = readGoal(request);
        } catch (error) {
            throw this.failed(request.getType(), request.getName(), error as Error);
        }
        const { urn, id, outputs, result } = await deployment.register(goal);
        if (result !== "success" && !request.getSupportsresultreporting()) throw new Error(`${urn}: ${result}`);
        const { SUCCESS, FAIL, SKIP } = proto.Result;
        const response = new proto.RegisterResourceResponse().setUrn(urn).setId(id).setObject(toStruct(outputs));
        return response.setResult(result === "success" ? SUCCESS : result === "fail" ? FAIL : SKIP);
    }

    private async read(request: proto.ReadResourceRequest): Promise<proto.ReadResourceResponse> {
        const goal: Goal = {
            ...PLAIN_GOAL,
            type: request.getType(),
            name: request.getName(),
            parent: request.getParent(),
            inputs: fromStruct(request.getProperties()),
            dependencies: request.getDependenciesList(),
            provider: request.getProvider(),
            version: request.getVersion(),
            additionalSecretOutputs: request.getAdditionalsecretoutputsList(),
        };
        try {
            const { urn, outputs } = await (await this.deployment).read(goal, request.getId());
            return new proto.ReadResourceResponse().setUrn(urn).setProperties(toStruct(outputs));
        } catch (error) {
            throw this.failed(goal.type, goal.name, error as Error);
        }
    }

    private failed(type: string, name: string, error: Error): Error {
        this.report.error("", `${type} ${name}: ${error.message}`);
        return error;
    }
}
