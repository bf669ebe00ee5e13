import { createReadStream, mkdirSync, mkdtempSync, rmSync, statSync } from "node:fs";
import type { ServerResponse } from "node:http";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { setTimeout as wait } from "node:timers/promises";
import { BUILDKIT_PORT, type ManagedSettings } from "../../core/host";
import { probe } from "../../drivers/buildkit";
import { registerBuilder } from "../../drivers/buildx";
import { type Authority, createAuthority, issueCertificate } from "../../drivers/x509";
import type { Inputs } from "../../resources/managed-host/operations";
import { readArtifact } from "../../tools/vm/artifact.mjs";
import { machineArchitecture } from "../../tools/vm/recipe.mjs";
import { type RunningRegistry, startRegistry } from "./registry";
import { SystemdRoom } from "./systemd-room";
import { Gates, startBuild } from "./vm/builds";
import { GuestNetwork } from "./vm/network";

const architecture = machineArchitecture();

/** A bare machine that becomes a builder, or several: with a registry, a mirror that has BuildKit, and an authority. */
export class ManagedRoom {
    readonly architecture = architecture;
    /** How often BuildKit was got, or asked for, from the mirror. */
    downloads = 0;
    readonly folder = mkdtempSync(join(tmpdir(), "buildfleet-managed-test-"));
    private readonly store = process.env.BUILDX_CONFIG;
    private readonly gates = new Gates();
    room!: SystemdRoom;
    network!: GuestNetwork;
    registry!: RunningRegistry;
    origin!: string;
    private authority!: Authority;
    private client!: { ca: string; certificate: string; privateKey: string };
    private buildkit!: ManagedSettings["buildkit"];

    async open(): Promise<this> {
        process.env.BUILDX_CONFIG = join(this.folder, "buildx");
        mkdirSync(process.env.BUILDX_CONFIG);
        const artifact = await readArtifact(architecture);
        if (!artifact) throw new Error("BuildKit's tarball is missing: npm run setup -- --tests");
        this.network = await GuestNetwork.create();
        this.room = new SystemdRoom(this.network);
        [this.registry, this.authority, this.origin] = await Promise.all([
            startRegistry({ address: `${this.network.host}:0` }),
            createAuthority({ name: "builders", days: 30 }),
            this.network.serve((request, response) => this.serve(request.url ?? "", response, artifact.path)),
            this.room.boot(),
        ]);
        this.client = { ca: this.authority.certificate, ...(await this.issue("client", "client")) };
        const { version, sha256 } = artifact;
        this.buildkit = { version, artifact: { url: `${this.origin}/buildkit.tar.gz`, sha256 } };
        return this;
    }

    async close(): Promise<void> {
        await this.room?.close();
        await Promise.all([this.network?.close(), this.registry?.stop()]);
        if (this.store === undefined) delete process.env.BUILDX_CONFIG;
        else process.env.BUILDX_CONFIG = this.store;
        rmSync(this.folder, { recursive: true, force: true });
    }

    /** What a ManagedHost of this machine gets. */
    async inputs(node: string, changed: Partial<ManagedSettings> = {}): Promise<Inputs> {
        return {
            ssh: this.room.ssh,
            host: this.room.ssh.host,
            owner: `tests/managed/room/${node}`,
            settings: {
                ...{ fleet: "room", node, architecture, buildkit: this.buildkit },
                gc: { reservedSpace: "10%", maxUsedSpace: "60%", minFreeSpace: "5%" },
                ...{ pruneAbovePercent: 95, maxParallelism: 4, bridgeSubnet: "10.199.0.0/16", drainTimeoutSeconds: 60 },
                ...changed,
            },
            tls: await this.serverCertificate(node),
            registries: { [this.registry.registry]: { http: true } },
        };
    }

    async serverCertificate(node: string) {
        return { ...(await this.issue("server", node)), ca: this.authority.certificate };
    }

    endpoint = ({ settings }: Inputs) => `tcp://${this.network.guest}:${settings.port ?? BUILDKIT_PORT}`;

    /** What BuildKit answers the fleet's client. */
    answer = (inputs: Inputs) =>
        probe({ endpoint: this.endpoint(inputs), tls: { ...this.client, serverName: inputs.settings.node } }, 5_000);

    /** Until it takes no new clients. */
    async refuses(inputs: Inputs): Promise<void> {
        for (let tries = 0; ; tries++) {
            const answered = await this.answer(inputs).then(
                () => true,
                () => false,
            );
            if (!answered) return;
            if (tries > 100) throw new Error("it still takes new clients");
            await wait(200);
        }
    }

    /** A builder of buildx's, of the node's name. */
    register(inputs: Inputs): Promise<unknown> {
        const { node } = inputs.settings;
        const registration = { name: node, platform: `linux/${architecture}`, serverName: node, tls: this.client };
        return registerBuilder({ ...registration, endpoint: this.endpoint(inputs) });
    }

    /** A build on a node that runs until its gate opens. */
    running(node: string, name: string) {
        const tag = `${this.registry.registry}/app:${name}`;
        return this.gates.running(name, this.origin, { builder: node, architecture, folder: this.folder, tag });
    }

    /** A build of one step on a node, to its end. */
    build(node: string, name: string, step: string[]): Promise<{ digest: string; log: string }> {
        const tag = `${this.registry.registry}/app:${name}`;
        return startBuild({ builder: node, architecture, folder: this.folder, tag, steps: [step] }).result;
    }

    private serve(path: string, response: ServerResponse, artifact: string): void {
        if (this.gates.handle(path, response)) return;
        if (path !== "/buildkit.tar.gz") return void response.writeHead(404).end();
        this.downloads++;
        response.writeHead(200, { "content-length": statSync(artifact).size });
        createReadStream(artifact)
            .on("error", () => response.destroy())
            .pipe(response);
    }

    private async issue(usage: "client" | "server", name: string) {
        const dnsNames = usage === "server" ? [name] : [];
        const { certificate, privateKey } = await issueCertificate({
            ...{ authority: this.authority, commonName: name, usage, dnsNames, days: 30 },
        });
        return { certificate, privateKey };
    }
}
