import { type Client, credentials, loadPackageDefinition } from "@grpc/grpc-js";
import { CONTROL } from "../../drivers/buildkit-control";

/** BuildHistoryEventType in control.proto. */
const STARTED = 0;

/** What a BuildKit daemon says of the builds that it runs, from its own events, from now on. */
export class ActiveBuilds {
    /** The most at a time. */
    most = 0;
    /** How many ended. */
    ended = 0;
    private readonly running = new Set<string>();
    private readonly client: Client & { ListenBuildHistory(request: object): NodeJS.EventEmitter };
    private error: Error | undefined;

    constructor(endpoint: string, tls?: { ca: string; certificate: string; privateKey: string; serverName: string }) {
        // biome-ignore lint/suspicious/noExplicitAny: made from a definition
        const api = loadPackageDefinition(CONTROL) as any;
        this.client = new api.moby.buildkit.v1.Control(
            endpoint.replace("tcp://", ""),
            tls
                ? credentials.createSsl(Buffer.from(tls.ca), Buffer.from(tls.privateKey), Buffer.from(tls.certificate))
                : credentials.createInsecure(),
            tls ? { "grpc.ssl_target_name_override": tls.serverName } : {},
        );
        const events = this.client.ListenBuildHistory({});
        events.on("data", ({ type, record }: { type: number; record: { Ref: string } }) => {
            if (type === STARTED) this.running.add(record.Ref);
            else if (this.running.delete(record.Ref)) this.ended += 1;
            this.most = Math.max(this.most, this.running.size);
        });
        events.on("error", (error: Error) => {
            this.error = error;
        });
    }

    /** How many run now. */
    get now(): number {
        return this.running.size;
    }

    get refs(): string[] {
        return [...this.running];
    }

    /** @throws where the daemon stopped telling. */
    close(): void {
        if (this.error) throw this.error;
        this.client.close();
    }
}
