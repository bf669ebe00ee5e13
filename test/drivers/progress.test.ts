import { Server, ServerCredentials, type ServerUnaryCall, type sendUnaryData } from "@grpc/grpc-js";
import { EngineService } from "@pulumi/pulumi/proto/engine_grpc_pb";
import { type LogRequest, LogSeverity } from "@pulumi/pulumi/proto/engine_pb";
import { Empty } from "google-protobuf/google/protobuf/empty_pb";
import { expect, it, vi } from "vitest";
import { listenToProgress, progress, whileWorking } from "../../drivers/progress";

it("reaches the engine that has started this provider, in the engine's own protocol", async () => {
    const seen: object[] = [];
    const server = new Server();
    const log = ({ request }: ServerUnaryCall<LogRequest, Empty>, done: sendUnaryData<Empty>) => {
        seen.push({
            info: request.getSeverity() === LogSeverity.INFO,
            message: request.getMessage(),
            ephemeral: request.getEphemeral(),
        });
        done(null, new Empty());
    };
    server.addService({ log: EngineService.log }, { log });
    const port = await new Promise<number>((resolve, reject) =>
        server.bindAsync("127.0.0.1:0", ServerCredentials.createInsecure(), (error, bound) =>
            error ? reject(error) : resolve(bound),
        ),
    );
    const before = process.argv;
    process.argv = [
        "node",
        "/x/node_modules/@pulumi/pulumi/cmd/dynamic-provider",
        "--logtostderr",
        `127.0.0.1:${port}`,
    ];
    try {
        progress("12 s, still starting");
        progress("answers after 21 s", true);
        await vi.waitFor(() => expect(seen).toHaveLength(2), 5_000);
    } finally {
        process.argv = before;
        server.forceShutdown();
    }
    expect(seen).toEqual([
        { info: true, message: "12 s, still starting", ephemeral: true },
        { info: true, message: "answers after 21 s", ephemeral: false },
    ]);
});

it("repeats what is waited for while it lasts, and no longer", async () => {
    const lines: string[] = [];
    const stop = listenToProgress((line) => lines.push(line));
    let state = "stopping";
    await whileWorking(
        () => `node: ${state}`,
        async () => {
            await vi.waitFor(() => expect(lines.length).toBeGreaterThan(0), 10_000);
            state = "pending";
            await vi.waitFor(() => expect(lines.at(-1)).toMatch(/^node: pending \(\d+ s\)$/), 10_000);
        },
        10,
    );
    const count = lines.length;
    await new Promise((resolve) => setTimeout(resolve, 50));
    stop();
    expect(lines[0]).toMatch(/^node: stopping \(\d+ s\)$/);
    expect(lines).toHaveLength(count);
});
