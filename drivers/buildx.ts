import { mkdirSync, readFileSync, rmSync, statSync } from "node:fs";
import { homedir } from "node:os";
import { join, resolve } from "node:path";
import { writeFileAtomic } from "./files";
import { type RunOptions, run } from "./process";
import { inTemporaryFolder } from "./temporary-folder";

/** buildx's store: `$BUILDX_CONFIG`, else `buildx` in Docker's configuration folder (buildx util/confutil). */
export function storeFolder(env: NodeJS.ProcessEnv = process.env): string {
    if (env.BUILDX_CONFIG) return resolve(env.BUILDX_CONFIG);
    return resolve(env.DOCKER_CONFIG || join(env.HOME || homedir(), ".docker"), "buildx");
}

/** PEM texts that let a client in. */
export interface ClientCertificate {
    ca: string;
    certificate: string;
    privateKey: string;
}

export interface Registration {
    name: string;
    /** `linux/arm64` */
    platform: string;
    /** See core/endpoint.ts. */
    endpoint: string;
    serverName?: string | undefined;
    tls?: ClientCertificate | undefined;
}

const CERTIFICATE_FILES = { ca: "ca.pem", certificate: "cert.pem", privateKey: "key.pem" } as const;

/** Folder of a builder's client certificate: beside buildx's own files, so whoever loses one loses both. */
export function certificateFolder(name: string): string {
    return join(storeFolder(), "buildfleet", name);
}

/** Writes the client certificate, files 0600 in a folder 0700; unchanged files are left alone. */
function writeCertificate(name: string, tls: ClientCertificate): Record<keyof ClientCertificate, string> {
    const folder = certificateFolder(name);
    mkdirSync(folder, { recursive: true, mode: 0o700 });
    const paths = { ca: "", certificate: "", privateKey: "" };
    for (const key of ["ca", "certificate", "privateKey"] as const) {
        paths[key] = join(folder, CERTIFICATE_FILES[key]);
        writeFileAtomic(paths[key], tls[key], 0o600);
    }
    return paths;
}

/** The client certificate on disk, or nothing where a file of it is missing or open to others. */
export function readCertificate(name: string): ClientCertificate | undefined {
    try {
        const read = (key: keyof ClientCertificate) => {
            const path = join(certificateFolder(name), CERTIFICATE_FILES[key]);
            if ((statSync(path).mode & 0o077) !== 0) throw new Error("open to others");
            return readFileSync(path, "utf8");
        };
        return { ca: read("ca"), certificate: read("certificate"), privateKey: read("privateKey") };
    } catch {
        return undefined;
    }
}

/** A builder's only node as the store has it. */
export interface StoredNode {
    name: string;
    endpoint: string;
    platforms: string[];
    driverOptions: Record<string, string>;
    /** Names of the files that the driver is given. */
    files: string[];
}

/** The only node of a builder of one driver; nothing for a builder of another one, or of several nodes, or an unreadable entry. */
export function readNode(builder: string, driver: "remote" | "docker-container"): StoredNode | undefined {
    try {
        const entry = JSON.parse(readFileSync(join(storeFolder(), "instances", builder), "utf8"));
        const [node, ...others] = entry.Nodes;
        if (others.length > 0 || entry.Driver !== driver) return undefined;
        return {
            name: node.Name,
            endpoint: node.Endpoint,
            platforms: (node.Platforms ?? []).map((p: { os: string; architecture: string; variant?: string }) =>
                [p.os, p.architecture, p.variant].filter(Boolean).join("/"),
            ),
            driverOptions: node.DriverOpts ?? {},
            files: Object.keys(node.Files ?? {}),
        };
    } catch {
        return undefined;
    }
}

/** The node of a builder with the remote driver. */
export const readBuilder = (name: string) => readNode(name, "remote");

/**
 * Registers one pinned remote node under a name, or points the name at another node. An entry that is not ours to
 * mend in place (other driver, several nodes, unreadable) is removed first.
 */
export async function registerBuilder(registration: Registration, options: RunOptions = {}): Promise<void> {
    const { name, platform, endpoint, tls, serverName } = registration;
    const paths = tls ? writeCertificate(name, tls) : undefined;
    const driverOptions = paths ? [`cacert=${paths.ca}`, `cert=${paths.certificate}`, `key=${paths.privateKey}`] : [];
    if (serverName) driverOptions.push(`servername=${serverName}`);
    const node = `${name}0`;
    const existing = readBuilder(name);
    // An empty set of options leaves those of the node before in place (buildx: store.NodeGroup.Update).
    const leftover = driverOptions.length === 0 && Object.keys(existing?.driverOptions ?? {}).length > 0;
    if (!existing || leftover) await forgetBuilder(name, !tls);
    await run(
        "docker-buildx",
        [
            ...["create", "--name", name, "--driver", "remote", "--node", node, "--platform", platform],
            ...driverOptions.flatMap((option) => ["--driver-opt", option]),
            endpoint,
        ],
        { timeoutMs: 30_000, where: endpoint, ...options },
    );
}

/** Takes a builder out of the store, with its certificate; the node itself is not touched. */
export async function forgetBuilder(name: string, withCertificate = true): Promise<void> {
    rmSync(join(storeFolder(), "instances", name), { force: true });
    if (withCertificate) rmSync(certificateFolder(name), { recursive: true, force: true });
}

/** What a Dockerfile given on stdin is built with. */
export interface DockerfileBuild {
    builder: string;
    platform: string;
    dockerfile: string;
    /** Where the result's files go; nothing is exported when absent. */
    outputFolder?: string;
    noCache?: boolean;
}

/** Builds a Dockerfile without a context on a registered builder. */
export async function buildDockerfile(build: DockerfileBuild, options: RunOptions = {}) {
    // buildx puts what it gets on stdin into a file, and the folder of that outlives one that is killed.
    return inTemporaryFolder((folder) =>
        run(
            "docker-buildx",
            [
                ...["build", "--builder", build.builder, "--platform", build.platform, "--progress", "plain"],
                ...["--provenance=false", "--sbom=false"],
                ...(build.noCache ? ["--no-cache"] : []),
                ...["--output", build.outputFolder ? `type=local,dest=${build.outputFolder}` : "type=cacheonly"],
                "-",
            ],
            {
                input: build.dockerfile,
                where: `builder ${build.builder}`,
                ...options,
                env: { TMPDIR: folder, ...options.env },
            },
        ),
    );
}
