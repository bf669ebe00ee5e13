import { createReadStream, mkdtempSync, rmSync, statSync } from "node:fs";
import { tmpdir } from "node:os";
import { basename, join } from "node:path";
import { connect as connectTls } from "node:tls";
import { hostSettings, planNodes } from "../../../core/aws/fleet-plan";
import { checkFleetSettings } from "../../../core/aws/fleet-settings";
import { fleetId, logGroupName, tlsParameterName } from "../../../core/aws/names";
import { nodePolicy } from "../../../core/aws/policies";
import { BUILDKIT_PORT, type Ec2HostSettings, encodeUserData, hostFiles, renderUserData } from "../../../core/host";
import { type Authority, createAuthority, issueCertificate } from "../../../drivers/x509";
import { readArtifact } from "../../../tools/vm/artifact.mjs";
import { AwsFront } from "../aws-guest";
import { type Moto, REGION, startMoto } from "../moto";
import { type RunningRegistry, startRegistry } from "../registry";
import { type Architecture, VirtualMachine } from "./machine";
import { MetadataService } from "./metadata";
import { GuestNetwork, METADATA_ADDRESS } from "./network";

const ACCOUNT = "123456789012";
const NAMES = { project: "tests", stack: "vm", fleet: "builders" };
const VOLUME = "vol-0a1b2c3d4e5f60718";

export interface BuilderOptions {
    architecture: Architecture;
    /** What a test may set: how soon and how often things happen. */
    timing: { pollSeconds: number; stopAfterSeconds: number; metricsSeconds: number; drainSeconds: number };
}

/**
 * A builder as `Ec2Fleet` makes it, in a virtual machine, with all that it finds on EC2: its metadata, its parameter in Parameter
 * Store, CloudWatch Logs, BuildKit's tarball, a registry. Its user data is what the fleet's default settings give, with the timing,
 * the addresses and the registry of the test.
 */
export class BuilderMachine {
    private constructor(
        readonly settings: Ec2HostSettings,
        readonly network: GuestNetwork,
        readonly moto: Moto,
        readonly registry: RunningRegistry,
        readonly metadata: MetadataService,
        readonly front: AwsFront,
        readonly machine: VirtualMachine,
        private authority: Authority,
        private readonly folder: string,
    ) {}

    static async create({ architecture, timing }: BuilderOptions): Promise<BuilderMachine> {
        const artifact = await readArtifact(architecture);
        if (!artifact) throw new Error(`BuildKit for ${architecture} is missing: npm run setup -- --tests`);
        const folder = mkdtempSync(join(process.env.BUILDFLEET_VM_FOLDER ?? tmpdir(), "buildfleet-vm-"));
        const [network, moto] = await Promise.all([GuestNetwork.create(), startMoto()]);
        const registry = await startRegistry({ address: `${network.host}:0` });
        const tarball = `/releases/${basename(artifact.path)}`;
        const mirror = await network.serve((request, response) => {
            if (request.url !== tarball) return void response.writeHead(404).end();
            response.writeHead(200, { "content-length": statSync(artifact.path).size });
            createReadStream(artifact.path).pipe(response);
        });
        const parameter = tlsParameterName(NAMES, architecture);
        const logGroup = logGroupName(NAMES);
        const arn = (service: string, rest: string) => `arn:aws:${service}:${REGION}:${ACCOUNT}:${rest}`;
        const policy = nodePolicy({
            parameterArn: arn("ssm", `parameter${parameter}`),
            logGroupArn: arn("logs", `log-group:${logGroup}`),
            node: architecture,
            sessions: false,
        });
        const identity = {
            instanceId: "i-0123456789abcdef0",
            region: REGION,
            availabilityZone: `${REGION}a`,
            instanceType: architecture === "amd64" ? "c7i.2xlarge" : "c8g.2xlarge",
            architecture,
            macAddress: "02:00:00:00:00:01",
            privateIp: "10.0.2.15",
            role: "builders-role",
            userData: Buffer.alloc(0),
        };
        const metadata = new MetadataService(identity);
        const front = new AwsFront({
            upstream: moto.url,
            region: REGION,
            credentials: () => metadata.credentials,
            allows: (action, body) =>
                policy.Statement.some(
                    ({ Action, Resource }) =>
                        Action.includes(iamAction(action)) && [Resource].flat().includes(resourceOf(action, body, arn)),
                ),
        });
        await network.serve(metadata.handle, METADATA_ADDRESS, 80);
        const settings = hostOf(architecture, {
            artifact: { url: mirror + tarball, sha256: artifact.sha256 },
            parameter,
            logGroup,
            registry: registry.registry,
            awsEndpoint: await network.serve(front.handle),
            timing,
        });
        // As the launch template has it; EC2's metadata service serves the bytes, no longer in base64.
        identity.userData = Buffer.from(encodeUserData(renderUserData(settings)).base64, "base64");
        const machine = new VirtualMachine({
            identity,
            network,
            folder,
            volume: { id: VOLUME, gigabytes: 20 },
            ports: [BUILDKIT_PORT],
        });
        const authority = await createAuthority({ name: "builders", days: 30 });
        const own = [settings, network, moto, registry, metadata, front, machine, authority, folder] as const;
        const builder = new BuilderMachine(...own);
        await builder.aws("logs", "Logs_20140328.CreateLogGroup", { logGroupName: logGroup });
        await builder.issue();
        return builder;
    }

    get endpoint(): string {
        return `tcp://${this.network.guest}:${BUILDKIT_PORT}`;
    }

    /** A new version of the node's parameter, as `CertificateAuthority` makes it when it renews. */
    async issue(): Promise<{ fingerprint: string }> {
        const { node, tls } = this.settings;
        const server = await issueCertificate({
            authority: this.authority,
            commonName: node,
            usage: "server",
            dnsNames: [node],
            days: 30,
        });
        const value = [server.privateKey, server.certificate, this.authority.certificate].join("\n");
        const parameter = { Name: tls.parameter, Value: value, Type: "SecureString", Overwrite: true };
        await this.aws("ssm", "AmazonSSM.PutParameter", parameter);
        return server;
    }

    /** A client's certificate; `of` another authority to see it refused. */
    async client(of: Authority = this.authority) {
        const client = await issueCertificate({ authority: of, commonName: "client", usage: "client", days: 30 });
        const { certificate, privateKey } = client;
        return { ca: this.authority.certificate, certificate, privateKey };
    }

    /** The certificate that BuildKit shows now; rejects when it shows none. */
    async shownFingerprint(): Promise<string> {
        const { ca, certificate, privateKey } = await this.client();
        return new Promise((resolve, reject) => {
            const socket = connectTls({
                ...{ host: this.network.guest, port: BUILDKIT_PORT, servername: this.settings.node },
                ...{ ca, cert: certificate, key: privateKey, ALPNProtocols: ["h2"] },
            });
            socket.once("error", reject).once("close", () => reject(new ConnectionClosed()));
            socket.once("secureConnect", () => {
                const { fingerprint256 } = socket.getPeerCertificate();
                resolve(`sha256:${fingerprint256.replaceAll(":", "").toLowerCase()}`);
                socket.destroy();
            });
        });
    }

    /** Whether the machine turns new connections away, which is not the same as not answering. */
    async refuses(): Promise<boolean> {
        try {
            await this.shownFingerprint();
            return false;
        } catch (error) {
            return error instanceof ConnectionClosed || (error as NodeJS.ErrnoException).code === "ECONNRESET";
        }
    }

    /** Writes the files of other settings onto the running machine, as its user data would have with them. */
    async reconfigure(change: Partial<Ec2HostSettings>): Promise<void> {
        const before = new Map(hostFiles(this.settings).map(({ path, content }) => [path, content]));
        for (const { path, content } of hostFiles({ ...this.settings, ...change })) {
            if (before.get(path) === content) continue;
            const encoded = Buffer.from(content).toString("base64");
            await this.machine.shell(`base64 --decode <<<'${encoded}' >'${path}'`);
        }
        await this.machine.shell("systemctl daemon-reload && systemctl restart 'buildfleet-*.timer'");
    }

    /** The events that arrived in the node's log stream. */
    async metrics(): Promise<Record<string, unknown>[]> {
        const { metrics, node } = this.settings;
        const request = { logGroupName: metrics?.logGroup, logStreamName: node, startFromHead: true };
        const { events } = (await this.aws("logs", "Logs_20140328.GetLogEvents", request)) as {
            events: { message: string }[];
        };
        return events.map(({ message }) => JSON.parse(message));
    }

    /** AWS as the fleet's owner calls it: the emulator, past the front. */
    private async aws(service: string, target: string, body: object): Promise<unknown> {
        const answer = await fetch(this.moto.url, {
            method: "POST",
            headers: {
                "content-type": "application/x-amz-json-1.1",
                "x-amz-target": target,
                authorization: `AWS4-HMAC-SHA256 Credential=AKIAOWNER/20260101/${REGION}/${service}/aws4_request, SignedHeaders=host, Signature=0`,
            },
            body: JSON.stringify(body),
        });
        if (!answer.ok) throw new Error(`${target}: ${answer.status} ${await answer.text()}`);
        return answer.json().catch(() => ({}));
    }

    async dispose(): Promise<void> {
        await this.machine.kill();
        await Promise.all([this.network.close(), this.moto.close(), this.registry.stop()]);
        rmSync(this.folder, { recursive: true, force: true });
    }
}

/** QEMU takes every connection; what the guest resets, it closes. */
class ConnectionClosed extends Error {}

/** What the fleet gives the machine of this architecture, with its default settings where the test sets none. */
function hostOf(
    architecture: Architecture,
    own: {
        artifact: Ec2HostSettings["buildkit"]["artifact"];
        parameter: string;
        logGroup: string;
        registry: string;
        awsEndpoint: string;
        timing: BuilderOptions["timing"];
    },
): Ec2HostSettings {
    const fleet = checkFleetSettings("Ec2Fleet", {
        access: { mode: "private", from: ["10.0.0.0/16"] },
        nodes: { [architecture]: {} },
        idle: { stopAfter: "30 minutes" },
    });
    const [node] = planNodes(fleet);
    if (!node) throw new Error("the fleet has no node");
    const settings = hostSettings(fleet, node, {
        fleet: fleetId(NAMES),
        artifact: own.artifact,
        volumeId: VOLUME,
        registries: { [own.registry]: { http: true } },
        authorities: {},
        parameter: own.parameter,
        logGroup: own.logGroup,
    });
    const { timing } = own;
    return {
        ...settings,
        awsEndpoint: own.awsEndpoint,
        tls: { ...settings.tls, pollSeconds: timing.pollSeconds },
        idle: { stopAfterSeconds: timing.stopAfterSeconds },
        drainTimeoutSeconds: timing.drainSeconds,
        metrics: settings.metrics && { ...settings.metrics, everySeconds: timing.metricsSeconds },
    };
}

/** `AmazonSSM.GetParameter` as policies name it. */
function iamAction(target: string): string {
    return target.replace(/^AmazonSSM\./, "ssm:").replace(/^Logs_20140328\./, "logs:");
}

/** ARN of what a request is about. */
function resourceOf(
    target: string,
    body: Record<string, unknown>,
    arn: (service: string, rest: string) => string,
): string {
    if (target.startsWith("AmazonSSM.")) return arn("ssm", `parameter${body.Name}`);
    return arn("logs", `log-group:${body.logGroupName}:log-stream:${body.logStreamName}`);
}
