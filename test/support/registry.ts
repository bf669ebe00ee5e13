import { spawn } from "node:child_process";
import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { stringify } from "yaml";
import { findTool } from "../../drivers/tools";

/** An account for `htpasswd`; the hash is bcrypt, the only one that distribution takes. */
export const account = {
    username: "alice",
    password: "correct-horse",
    htpasswd: "alice:$2y$05$abcdefghijklmnopqrstuuZ0Fx87Pb/Aqb0E90lfvCwzXnaFKUHpS\n",
};

export interface RegistrySettings {
    /** Folder for the blobs; default a new one that `stop` removes. */
    storage?: string;
    /** Content of an htpasswd file; asks for basic authentication. */
    htpasswd?: string;
    /** Takes only tokens of this service; `authority` is the PEM of who signed the certificates in its tokens. */
    token?: { realm: string; service: string; issuer: string; authority: string };
    /** Address of the registry that it is a pull-through cache of. */
    proxyOf?: string;
    /** PEM texts; `clientCa` asks for client certificates. */
    tls?: { certificate: string; privateKey: string; clientCa?: string };
    /** `host:port` to listen on; default a free port of 127.0.0.1. */
    address?: string;
    /** Whether manifests may be deleted; default true. */
    deletable?: boolean;
    /** What starts a command elsewhere: in another network namespace. */
    through?: (command: string[]) => [string, string[]];
}

export interface RunningRegistry {
    /** `127.0.0.1:port`. */
    registry: string;
    pid: number;
    /** What it printed so far, access log included. */
    log(): string;
    /** Replaces the accounts; it was started with some. */
    setHtpasswd(content: string): Promise<void>;
    stop(): Promise<void>;
}

async function tokenAuth(
    { authority, ...auth }: NonNullable<RegistrySettings["token"]>,
    file: (name: string, content: string) => Promise<string>,
) {
    return { ...auth, rootcertbundle: await file("token-authority.crt", authority) };
}

/**
 * Starts distribution's `registry` and waits until it listens.
 *
 * @throws when it is not installed, or ends before it listens; the message has its log.
 */
export async function startRegistry(settings: RegistrySettings = {}): Promise<RunningRegistry> {
    const binary = findTool("registry");
    const folder = await mkdtemp(join(tmpdir(), "registry-test-"));
    const file = async (name: string, content: string) => {
        await writeFile(join(folder, name), content, { mode: 0o600 });
        return join(folder, name);
    };
    const { tls, htpasswd, token, proxyOf } = settings;
    const config = {
        version: 0.1,
        log: { level: "info" },
        storage: {
            filesystem: { rootdirectory: settings.storage ?? join(folder, "storage") },
            delete: { enabled: settings.deletable ?? true },
        },
        http: {
            addr: settings.address ?? "127.0.0.1:0",
            secret: "for tests only",
            ...(tls && {
                tls: {
                    certificate: await file("server.crt", tls.certificate),
                    key: await file("server.key", tls.privateKey),
                    ...(tls.clientCa && { clientcas: [await file("client-ca.crt", tls.clientCa)] }),
                },
            }),
        },
        ...(htpasswd !== undefined && {
            auth: { htpasswd: { realm: "test", path: await file("htpasswd", htpasswd) } },
        }),
        ...(token && { auth: { token: await tokenAuth(token, file) } }),
        ...(proxyOf && { proxy: { remoteurl: `http://${proxyOf}` } }),
    };
    const { through = ([first = "", ...rest]): [string, string[]] => [first, rest] } = settings;
    const child = spawn(...through([binary, "serve", await file("config.yml", stringify(config))]), {
        stdio: ["ignore", "pipe", "pipe"],
        env: { ...process.env, OTEL_TRACES_EXPORTER: "none" },
    });
    const killWithUs = () => child.kill("SIGKILL");
    process.once("exit", killWithUs);
    let log = "";
    const ended = new Promise<void>((resolve) => child.once("close", () => resolve()));
    const listening = new Promise<string>((resolve, reject) => {
        const onData = (chunk: Buffer) => {
            log += chunk.toString();
            const address = /listening on ([^\s",]+)/.exec(log)?.[1];
            if (address) resolve(address);
        };
        child.stdout.on("data", onData);
        child.stderr.on("data", onData);
        child.once("error", reject);
        void ended.then(() => reject(new Error(`registry ended before it listened:\n${log}`)));
    });
    const stop = async () => {
        process.removeListener("exit", killWithUs);
        if (child.exitCode === null && child.signalCode === null) child.kill("SIGKILL");
        await ended;
        await rm(folder, { recursive: true, force: true });
    };
    try {
        // It reads the file again when its time of change is another one.
        const setHtpasswd = async (content: string) => void (await file("htpasswd", content));
        return { registry: await listening, pid: child.pid ?? 0, log: () => log, setHtpasswd, stop };
    } catch (error) {
        await rm(folder, { recursive: true, force: true });
        throw error;
    }
}
