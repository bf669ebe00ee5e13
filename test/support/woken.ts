import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { createAuthority, issueCertificate } from "../../drivers/x509";
import { type RunningBuildkitd, startBuildkitd } from "./buildkitd";
import type { AwsProxy } from "./moto";

export interface Certificates {
    ca: string;
    certificate: string;
    privateKey: string;
}

/** Instances of the emulator and the BuildKit that runs "on" each: it starts and ends with its instance. */
export class WokenDaemons {
    private readonly running = new Map<string, Promise<RunningBuildkitd>>();

    private constructor(
        readonly client: Certificates,
        private readonly server: Certificates,
    ) {}

    /** With an authority of its own; every daemon has the name `node` in its certificate. */
    static async create(): Promise<WokenDaemons> {
        const authority = await createAuthority({ name: "builders", days: 2 });
        const issue = async (usage: "server" | "client") => {
            const names = usage === "server" ? { dnsNames: ["node"] } : {};
            const own = await issueCertificate({ authority, commonName: "node", usage, days: 2, ...names });
            return { ca: authority.certificate, certificate: own.certificate, privateKey: own.privateKey };
        };
        const [client, server] = await Promise.all([issue("client"), issue("server")]);
        return new WokenDaemons(client, server);
    }

    /** From now on the daemon of an instance listens on its port when `StartInstances` of it succeeded. */
    startWith(proxy: AwsProxy, ports: Record<string, number>): void {
        proxy.on("StartInstances", async (call) => {
            const reply = await call.forward();
            const id: string = call.input["InstanceId.1"];
            const port = ports[id];
            if (reply.status === 200 && port) void this.start(id, port);
            return reply;
        });
    }

    start(instanceId: string, port: number): Promise<RunningBuildkitd> {
        let daemon = this.running.get(instanceId);
        if (!daemon) {
            daemon = startBuildkitd(this.server, port);
            this.running.set(instanceId, daemon);
        }
        return daemon;
    }

    async stop(): Promise<void> {
        const daemons = [...this.running.values()];
        this.running.clear();
        await Promise.all(daemons.map(async (daemon) => (await daemon).stop()));
    }
}

/** A buildx store of its own for this process; the function that is returned removes it. */
export function useStore(): { folder: string; remove(): void } {
    const folder = mkdtempSync(join(tmpdir(), "buildfleet-store-"));
    const before = process.env.BUILDX_CONFIG;
    process.env.BUILDX_CONFIG = folder;
    return {
        folder,
        remove() {
            if (before === undefined) delete process.env.BUILDX_CONFIG;
            else process.env.BUILDX_CONFIG = before;
            rmSync(folder, { recursive: true, force: true });
        },
    };
}
