/** What programs that are not ours see of a release: skopeo, buildx, cosign, buildctl, and the registry's bare HTTP API. */
import { spawn } from "node:child_process";
import { mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { findTool } from "../../drivers/tools";
import type { TestStack } from "./stack";

export interface CommandResult {
    exitCode: number | null;
    stdout: string;
    stderr: string;
}

/** Runs a tool to its end, whatever its exit code. */
function command(
    tool: string,
    args: string[],
    options: { env?: Record<string, string>; input?: Buffer } = {},
): Promise<CommandResult> {
    return new Promise((resolve, reject) => {
        const child = spawn(findTool(tool), args, { env: { ...process.env, ...options.env } });
        let [stdout, stderr] = ["", ""];
        child.stdout.setEncoding("latin1").on("data", (text) => {
            stdout += text;
        });
        child.stderr.setEncoding("utf8").on("data", (text) => {
            stderr += text;
        });
        child.once("error", reject);
        child.once("close", (exitCode) => resolve({ exitCode, stdout, stderr }));
        child.stdin.end(options.input);
    });
}

async function succeed(tool: string, args: string[], options: Parameters<typeof command>[2] = {}): Promise<string> {
    const { exitCode, stdout, stderr } = await command(tool, args, options);
    if (exitCode !== 0) throw new Error(`${tool} ${args.join(" ")} exited with ${exitCode}:\n${stderr}`);
    return stdout;
}

/** `127.0.0.1:port/team/app@sha256:…` or `…:tag`. */
export const skopeoRaw = (reference: string) =>
    succeed("skopeo", ["inspect", "--raw", "--tls-verify=false", `docker://${reference}`]);

export const imagetoolsRaw = (reference: string) =>
    succeed("docker-buildx", ["imagetools", "inspect", "--raw", reference]);

/** Digest of the image that skopeo picks from an index for a platform. */
export async function skopeoPick(reference: string, architecture: string, variant = ""): Promise<string> {
    const folder = mkdtempSync(join(tmpdir(), "buildfleet-pick-"));
    try {
        const platform = ["--override-os", "linux", "--override-arch", architecture, "--override-variant", variant];
        const options = ["copy", "--src-tls-verify=false", "--insecure-policy", "--preserve-digests"];
        await succeed("skopeo", [...platform, ...options, `docker://${reference}`, `dir:${folder}`]);
        const [digest = ""] = (await succeed("sha256sum", [join(folder, "manifest.json")])).split(" ");
        return `sha256:${digest}`;
    } finally {
        rmSync(folder, { recursive: true, force: true });
    }
}

const MANIFESTS = [
    "application/vnd.oci.image.index.v1+json",
    "application/vnd.oci.image.manifest.v1+json",
    "application/vnd.docker.distribution.manifest.list.v2+json",
    "application/vnd.docker.distribution.manifest.v2+json",
].join(", ");

export interface StoredDescriptor {
    digest: string;
    size: number;
    mediaType: string;
    platform?: { os: string; architecture: string; variant?: string };
    annotations?: Record<string, string>;
}
export interface StoredManifest {
    mediaType: string;
    manifests: StoredDescriptor[];
    layers: StoredDescriptor[];
    config: StoredDescriptor;
    annotations?: Record<string, string>;
}

/** A repository through plain HTTP requests. */
export class RepositoryView {
    /**
     * @param repository `127.0.0.1:port/team/app`
     * @param authorization the header's value, where the registry asks for one
     */
    constructor(
        readonly repository: string,
        readonly authorization?: string,
    ) {}

    private async get(path: string): Promise<Buffer | undefined> {
        const slash = this.repository.indexOf("/");
        const url = `http://${this.repository.slice(0, slash)}/v2${this.repository.slice(slash)}/${path}`;
        const headers: Record<string, string> = { accept: MANIFESTS };
        if (this.authorization !== undefined) headers.authorization = this.authorization;
        const response = await fetch(url, { headers });
        if (response.status === 404) return undefined;
        if (!response.ok) throw new Error(`GET ${url} answered ${response.status}`);
        return Buffer.from(await response.arrayBuffer());
    }

    async manifestText(reference: string): Promise<string | undefined> {
        return (await this.get(`manifests/${reference}`))?.toString();
    }

    async manifest(reference: string): Promise<StoredManifest> {
        const text = await this.manifestText(reference);
        if (text === undefined) throw new Error(`${this.repository} has no ${reference}`);
        return JSON.parse(text);
    }

    async blob(digest: string): Promise<Buffer> {
        const bytes = await this.get(`blobs/${digest}`);
        if (!bytes) throw new Error(`${this.repository} has no ${digest}`);
        return bytes;
    }

    async tags(): Promise<string[]> {
        return JSON.parse((await this.get("tags/list"))?.toString() ?? "{}").tags ?? [];
    }

    /** Predicate types of all that cosign stored beside a digest, sorted; one that is there twice comes twice. */
    async attached(digest: string): Promise<string[]> {
        const index = await this.manifestText(digest.replace(":", "-"));
        const { manifests }: StoredManifest = index === undefined ? { manifests: [] } : JSON.parse(index);
        const stored = await Promise.all(manifests.map((entry) => this.manifest(entry.digest)));
        return stored.map(({ annotations }) => annotations?.["dev.sigstore.bundle.predicateType"] ?? "?").sort();
    }

    /** {@link attached} of several digests. */
    async allAttached(digests: string[]): Promise<Record<string, string[]>> {
        return Object.fromEntries(
            await Promise.all(digests.map(async (digest) => [digest, await this.attached(digest)] as const)),
        );
    }

    /** One file of an image, from the last layer that has it. */
    async file(imageDigest: string, path: string): Promise<Buffer> {
        const { layers } = await this.manifest(imageDigest);
        for (const { digest } of layers.reverse()) {
            const input = await this.blob(digest);
            const { exitCode, stdout } = await command("tar", ["-xzO", "-f", "-", path], { input });
            if (exitCode === 0) return Buffer.from(stdout, "latin1");
        }
        throw new Error(`no layer of ${imageDigest} has ${path}`);
    }
}

export const predicates = {
    signature: "https://sigstore.dev/cosign/sign/v1",
    sbom: "https://spdx.dev/Document",
    scan: "https://cosign.sigstore.dev/attestation/vuln/v1",
    provenance: "https://slsa.dev/provenance/v1",
} as const;

/** What is stored beside each digest of a release, once each. */
export const WHOLE_INDEX: string[] = [predicates.signature];
export const WHOLE_CHILD: string[] = Object.values(predicates).sort();

/** `cosign verify`, as whoever pulls the image runs it. */
export const cosignVerify = (reference: string, publicKey: string, more: string[] = []) =>
    cosignWithKey(["verify", "-o", "json", ...more], reference, publicKey);

/** `cosign verify-attestation`, with cosign's own short names of the types. */
export const cosignVerifyAttestation = (reference: string, publicKey: string, type: string) =>
    cosignWithKey(["verify-attestation", "--type", type], reference, publicKey);

async function cosignWithKey(args: string[], reference: string, publicKey: string): Promise<CommandResult> {
    const folder = mkdtempSync(join(tmpdir(), "buildfleet-verify-"));
    try {
        const file = join(folder, "key.pub");
        writeFileSync(file, publicKey);
        return await command("cosign", [...args, "--key", file, "--insecure-ignore-tlog", reference]);
    } finally {
        rmSync(folder, { recursive: true, force: true });
    }
}

export interface FleetNode {
    name: string;
    endpoint: string;
    serverName: string;
}

/** What a node's own history says it has built, asked by `buildctl` with the stack's client certificate. */
export async function builds(stack: TestStack, node: FleetNode): Promise<string[]> {
    const [builder = ""] = readdirSync(stack.path("buildx/buildfleet"));
    const certificates = stack.path("buildx/buildfleet", builder);
    const tls = ["--tlsdir", certificates, "--tlsservername", node.serverName];
    const output = await succeed("buildctl", [
        ...["--addr", node.endpoint, ...tls],
        ...["debug", "histories", "--format", "{{json .}}"],
    ]);
    return output.split("\n").filter((line) => line.trim());
}

/** How many builds each node has done. */
export async function buildCounts(stack: TestStack, nodes: FleetNode[]): Promise<Record<string, number>> {
    return Object.fromEntries(
        await Promise.all(nodes.map(async (node) => [node.name, (await builds(stack, node)).length] as const)),
    );
}

/** A builder's entry in the stack's buildx store. */
export function storeEntry(stack: TestStack, builder: string): { path: string; text: string } {
    const path = stack.path("buildx/instances", builder);
    return { path, text: readFileSync(path, "utf8") };
}
