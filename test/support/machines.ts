import { execFile } from "node:child_process";
import { writeFileSync } from "node:fs";
import { promisify } from "node:util";
import { parseReference } from "../../core/reference";
import { daemonOf, readPidFile, stopDaemon } from "../../drivers/daemon";
import { RegistryClient } from "../../drivers/registry";
import { findTool } from "../../drivers/tools";
import { writeAdvisories, writeAppContext } from "./app";
import { freePort } from "./port";
import { type Run, TestStack } from "./stack";

const MACHINES = `
const registry = new buildfleet.LocalRegistry("registry", settings.registry);
const fleet = new buildfleet.LocalFleet("builders", { registries: registry.nodeSettings, ...settings.fleet });
const key = new buildfleet.SigningKey("key");
const { privateKey, password, publicKey } = key;
module.exports = { registry: registry.address, nodes: fleet.nodes, client: fleet.client, key: { privateKey, password, publicKey } };
`;

/**
 * One image on machines that another stack runs: nothing it does starts or stops a node. `settings.image` is merged over the
 * image's arguments, `settings.verifier` replaces the public key that verification reads the signatures back with.
 */
const IMAGE = `
const { registry, nodes, client, key } = JSON.parse(require("node:fs").readFileSync("machines.json", "utf8"));
const image = new buildfleet.MultiPlatformImage("app", {
    fleet: { nodes: settings.nodes ?? nodes, client },
    repository: { name: registry + "/team/app", connection: { plainHttp: true } },
    context: "app",
    platforms: ["linux/amd64", "linux/arm64"],
    tags: ["stable"],
    emulation: "allow",
    scan: { advisories: "advisories" },
    sign: { key: { ...key, ...settings.key } },
    ...(settings.verifier && { transform: { verification: (args) => ({ ...args, verifier: settings.verifier }) } }),
    ...settings.image,
});
module.exports = { ref: image.ref, digest: image.digest, tags: image.tags, platforms: image.platforms, signature: image.signature };
`;

/** A node as the fleet's output describes it. */
export interface MachineNode {
    name: string;
    endpoint: string;
    platforms: string[];
    serverName: string;
}

/** Registry, nodes and key of a stack of their own, for image stacks beside it. */
export class Machines {
    readonly stack = new TestStack(MACHINES);
    private settings: object | undefined;
    private outputs: Run["outputs"];

    async start(settings: { fleet?: object } = {}): Promise<this> {
        await this.settle(settings);
        await this.restart();
        return this;
    }

    /** Fixes the settings, once; for a test that starts the stack itself. */
    async settle(settings: { fleet?: object } = {}): Promise<object> {
        this.settings ??= { registry: { port: await freePort() }, ...settings };
        return this.settings;
    }

    /** `up` again: what was stopped runs again, on the port it had. */
    async restart(): Promise<void> {
        const run = await this.stack.run("up", this.settings, ["--show-secrets"]);
        if (run.exitCode !== 0) throw new Error(`the machines do not start:\n${run.stderr}`);
        this.outputs = run.outputs;
    }

    get nodes(): MachineNode[] {
        return this.outputs.nodes;
    }

    get publicKey(): string {
        return this.outputs.key.publicKey;
    }

    /** A stack that releases one image, its context and its advisories beside it. */
    imageStack(env?: Record<string, string>): TestStack {
        const stack = new TestStack(IMAGE, env ? { env } : {});
        writeFileSync(stack.path("machines.json"), JSON.stringify(this.outputs), { mode: 0o600 });
        writeAppContext(stack.path("app"));
        writeAdvisories(stack.path("advisories"), [
            { id: "BF-2026-0001", severity: "high", package: "openssl", affected: "< 3.0.2", fixed: "3.0.2" },
        ]);
        return stack;
    }

    /** Stops a node's daemon, as an operator or a failure would. */
    async stopNode(name: string): Promise<void> {
        const daemon = readPidFile(this.stack.path(`.buildfleet/fleet/builders/${name}/process.pid`));
        if (!daemon || !daemonOf(daemon.pid)) throw new Error(`node ${name} does not run`);
        await stopDaemon(daemon);
    }

    /** Number of builds in a node's own history, as buildctl tells it. */
    async buildsOn(name: string): Promise<number> {
        const node = this.nodes.find((one) => one.name === name);
        if (!node) throw new Error(`no node ${name}`);
        const folder = this.stack.path(`.buildfleet/fleet/builders/${name}`);
        const { client } = this.outputs;
        const files = { cacert: client.ca, cert: client.certificate, key: client.privateKey };
        const tls = Object.entries(files).flatMap(([flag, pem]) => {
            const path = `${folder}/test-${flag}.pem`;
            writeFileSync(path, pem, { mode: 0o600 });
            return [`--tls${flag}`, path];
        });
        const args = ["--addr", node.endpoint, "--tlsservername", node.serverName, ...tls, "debug", "histories"];
        const { stdout } = await promisify(execFile)(findTool("buildctl"), [...args, "--format", "{{.Record.Ref}}"]);
        return stdout.split("\n").filter((line) => line.trim()).length;
    }

    /** What the tags of the released repository point at, asked of the registry. */
    async tagged(...tags: string[]): Promise<Record<string, string | undefined>> {
        return this.withClient(async (client, path) => {
            const heads = await Promise.all(tags.map((tag) => client.headManifest(path, tag)));
            return Object.fromEntries(tags.map((tag, i) => [tag, heads[i]?.digest]));
        });
    }

    /** Every manifest digest that the repository's index names, and its own. */
    async digestsOf(digest: string): Promise<string[]> {
        return this.withClient(async (client, path) => {
            const { manifests } = JSON.parse((await client.getManifest(path, digest)).bytes.toString());
            return [digest, ...manifests.map((child: { digest: string }) => child.digest)];
        });
    }

    get repository(): string {
        return `${this.outputs.registry}/team/app`;
    }

    private async withClient<T>(use: (client: RegistryClient, path: string) => Promise<T>): Promise<T> {
        const { registry, repository } = parseReference(this.repository);
        const client = new RegistryClient({ registry, plainHttp: true });
        try {
            return await use(client, repository);
        } finally {
            await client.close();
        }
    }

    dispose(): Promise<void> {
        return this.stack.dispose();
    }
}

/** Whether cosign accepts a signature (no other statement) of this digest by this key. */
export async function isSigned(reference: string, publicKey: string): Promise<boolean> {
    const digest = reference.slice(reference.indexOf("@") + 1);
    const args = [
        "verify",
        "--key",
        "env://PUBLIC_KEY",
        "--insecure-ignore-tlog",
        "--allow-http-registry",
        "-o",
        "json",
    ];
    try {
        const env = { ...process.env, PUBLIC_KEY: publicKey };
        const { stdout } = await promisify(execFile)(findTool("cosign"), [...args, reference], { env });
        return JSON.parse(stdout).some(
            ({ critical }: { critical: { type: string; image: Record<string, string> } }) =>
                critical.type === "https://sigstore.dev/cosign/sign/v1" &&
                critical.image["docker-manifest-digest"] === digest,
        );
    } catch (error) {
        if (typeof (error as { code?: unknown }).code === "number") return false;
        throw error;
    }
}
