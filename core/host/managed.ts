import { createHash } from "node:crypto";
import { type NodeRegistrySettings, nodeRegistries } from "../node-registries";
import { type HostFile, hostFiles, hostUnits, UNITS } from "./files";
import { type HostNames, hostNames } from "./names";
import type { HostSettings } from "./settings";

/** What makes a machine that is managed over SSH a builder, its secrets apart. */
export type ManagedSettings = Omit<
    HostSettings,
    "tls" | "idle" | "metrics" | "awsEndpoint" | "authorities" | "registries" | "cache" | "release"
>;

/** Secrets among it: private keys. PEM. */
export interface ManagedSecrets {
    tls: { certificate: string; privateKey: string; ca: string };
    /** By `host[:port]`. */
    registries: Record<string, NodeRegistrySettings>;
}

/** All that is to be on a machine. */
export interface ManagedHostPlan {
    names: HostNames;
    /** Whether BuildKit runs as a user of its own. */
    rootless: boolean;
    files: HostFile[];
    /** One line per file: SHA-256, permissions, path. */
    manifest: string;
    /** Paths of what BuildKit reads when it starts: it has to be started again when one changes. */
    readAtStart: string[];
    /** Of all that BuildKit is started with. */
    startDigest: string;
    /** Units that a boot starts. */
    enabled: string[];
    /** Units that run, or have run and count as active. */
    active: string[];
    /** Name of the folder of this certificate and key. */
    tlsVersion: string;
    /** Name of BuildKit's folder. */
    artifact: string;
}

const sha256 = (text: string) => createHash("sha256").update(text).digest("hex");

/**
 * Plans a machine: the same files as EC2's user data carries, certificate and keys besides.
 *
 * @throws FormatError or SettingsError for settings that can't be.
 */
export function planManagedHost(settings: ManagedSettings, secrets: ManagedSecrets): ManagedHostPlan {
    const names = hostNames(settings);
    const folder = `${names.configuration}/registries`;
    const { registry, files: registryFiles } = nodeRegistries(secrets.registries, folder);
    const host: HostSettings = {
        ...settings,
        release: "",
        cache: { kind: "folder" },
        registries: registry,
        tls: { kind: "files" },
    };
    const { tls } = secrets;
    const tlsVersion = sha256(JSON.stringify([tls.certificate, tls.privateKey, tls.ca])).slice(0, 16);
    const pem = (name: string, content: string, mode: HostFile["mode"]) =>
        ({
            path: `${names.configuration}/tls/${tlsVersion}/${name}.pem`,
            mode,
            content: `${content.trim()}\n`,
        }) as const;
    const files: HostFile[] = [
        ...hostFiles(host),
        ...registryFiles.map(({ name, content, secret }) => ({
            path: `${folder}/${name}`,
            mode: secret ? ("0600" as const) : ("0644" as const),
            content,
        })),
        pem("key", tls.privateKey, "0600"),
        pem("cert", tls.certificate, "0644"),
        pem("ca", tls.ca, "0644"),
    ];
    const { version, artifact } = settings.buildkit;
    const atStart = files.filter(({ path }) => isReadAtStart(path, names));
    const lines = (some: readonly HostFile[]) =>
        some.map(({ path, mode, content }) => `${sha256(content)} ${mode} ${path}\n`).join("");
    return {
        names,
        rootless: settings.rootless ?? false,
        files,
        manifest: lines(files),
        readAtStart: atStart.map(({ path }) => path),
        startDigest: sha256(`${lines(atStart)}${version} ${artifact.sha256} ${settings.bridgeSubnet}`),
        ...hostUnits(host),
        tlsVersion,
        artifact: `${version}-${artifact.sha256.slice(0, 12)}`,
    };
}

/** Not what only says when it is stopped. */
function isReadAtStart(path: string, { configuration, scripts, rename }: HostNames): boolean {
    if (path === `${configuration}/host.env` || path.startsWith(`${scripts}/`)) return false;
    if (path.startsWith(`${configuration}/`)) return true;
    const service = `${UNITS}/${rename("buildkitd.service")}`;
    return [service, `${service}.d/limits.conf`, `${service}.d/rootless.conf`].includes(path);
}
