import { fromJSON } from "@grpc/proto-loader";

const field = (id: number, type: string, rule?: "repeated") => ({ id, type, ...(rule ? { rule } : {}) });
const DEFINITION = {
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
                                    fields: {
                                        ActiveOnly: field(1, "bool"),
                                        Ref: field(2, "string"),
                                        EarlyExit: field(3, "bool"),
                                    },
                                },
                                BuildHistoryEvent: {
                                    fields: { type: field(1, "int32"), record: field(2, "BuildHistoryRecord") },
                                },
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
/** The part of moby/buildkit's api/services/control/control.proto (v0.33) that is used here. */
export const CONTROL = fromJSON(DEFINITION as unknown as Parameters<typeof fromJSON>[0], {
    keepCase: true,
    longs: Number,
    defaults: true,
});
