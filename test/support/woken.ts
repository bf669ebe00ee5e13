import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, afterEach, beforeAll, beforeEach } from "vitest";
import { listenToProgress } from "../../drivers/progress";
import { createAuthority, issueCertificate } from "../../drivers/x509";
import { type RunningBuildkitd, startBuildkitd } from "./buildkitd";
import { type AwsProxy, type Moto, startAwsProxy, startMoto, useEnvironment } from "./moto";

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
function useStore(): { folder: string; remove(): void } {
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

/** What the tests of a file with woken machines share. */
export interface WokenMachines {
    proxy: AwsProxy;
    daemons: WokenDaemons;
    /** What progress has said since the test began. */
    said: string[];
}

/**
 * For a whole file: moto, a proxy in front of it, and daemons; for each of its tests a buildx store and moto's environment. There from a
 * test's own `beforeEach` on; taken away after its own `afterEach`.
 */
export function useWokenMachines(): WokenMachines {
    const machines = {} as WokenMachines;
    let moto: Moto | undefined;
    let store: ReturnType<typeof useStore>;
    let undo: (() => void)[];
    beforeAll(async () => {
        moto = await startMoto();
        [machines.proxy, machines.daemons] = await Promise.all([startAwsProxy(moto), WokenDaemons.create()]);
    });
    afterAll(async () => {
        await machines.proxy?.stop();
        await moto?.close();
    });
    beforeEach(() => {
        store = useStore();
        machines.said = [];
        undo = [useEnvironment(machines.proxy.env), listenToProgress((line) => machines.said.push(line))];
    });
    afterEach(async () => {
        await machines.daemons.stop();
        for (const one of undo.reverse()) one();
        machines.proxy.reset();
        store.remove();
    });
    return machines;
}
