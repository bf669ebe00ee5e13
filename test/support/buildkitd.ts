import { spawn } from "node:child_process";
import { writeFileSync } from "node:fs";
import { mkdtemp, rm } from "node:fs/promises";
import { connect } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { unmountBelow } from "../../drivers/mounts";
import { findTool } from "../../drivers/tools";
import { freePort } from "./port";

export interface RunningBuildkitd {
    /** `tcp://127.0.0.1:port`. */
    endpoint: string;
    pid: number;
    /** What it printed so far. */
    log(): string;
    stop(): Promise<void>;
}

function answers(port: number): Promise<boolean> {
    return new Promise((resolve) => {
        const socket = connect(port, "127.0.0.1");
        socket.once("connect", () => resolve(true)).once("error", () => resolve(false));
        socket.once("connect", () => socket.destroy());
    });
}

/**
 * Starts a buildkitd with a store of its own (needs root and runc), and waits until it listens.
 *
 * @param tls PEM texts; it then asks for a client certificate by the authority. Default: no TLS.
 * @param wantedPort of 127.0.0.1; default any that is free.
 * @param platforms that it is told to claim, its own first; default those it finds out.
 * @throws when it is not installed, or ends before it listens; the message has its log.
 */
export async function startBuildkitd(
    tls?: { ca: string; certificate: string; privateKey: string },
    wantedPort?: number,
    platforms: string[] = [],
): Promise<RunningBuildkitd> {
    const binary = findTool("buildkitd");
    findTool("runc");
    const folder = await mkdtemp(join(tmpdir(), "buildkitd-test-"));
    const port = wantedPort ?? (await freePort());
    const endpoint = `tcp://127.0.0.1:${port}`;
    const files = tls ? { cacert: tls.ca, cert: tls.certificate, key: tls.privateKey } : {};
    const tlsArguments = Object.entries(files).flatMap(([name, pem]) => {
        const path = join(folder, `${name}.pem`);
        writeFileSync(path, pem, { mode: 0o600 });
        return [`--tls${name}`, path];
    });
    const child = spawn(
        binary,
        [
            ...tlsArguments,
            "--root",
            folder,
            "--addr",
            endpoint,
            "--containerd-worker=false",
            ...platforms.flatMap((platform) => ["--oci-worker-platform", platform]),
            "--config",
            join(folder, "none.toml"),
            // Its default is one path for all daemons of a machine, where two that start at once collide.
            "--otel-socket-path",
            join(folder, "otel.sock"),
        ],
        { stdio: ["ignore", "ignore", "pipe"], env: { ...process.env, OTEL_TRACES_EXPORTER: "none" } },
    );
    const killWithUs = () => child.kill("SIGKILL");
    process.once("exit", killWithUs);
    let log = "";
    child.stderr.on("data", (chunk) => {
        log += chunk;
    });
    const ended = new Promise<void>((resolve) => child.once("close", () => resolve()));
    const deadline = Date.now() + 30_000;
    while (!(await answers(port))) {
        if (child.exitCode !== null || Date.now() > deadline) {
            child.kill("SIGKILL");
            throw new Error(`buildkitd does not listen on ${endpoint}:\n${log}`);
        }
        await new Promise((resolve) => setTimeout(resolve, 50));
    }
    return {
        endpoint,
        pid: child.pid as number,
        log: () => log,
        async stop() {
            child.kill("SIGTERM");
            await ended;
            process.removeListener("exit", killWithUs);
            // One that was killed leaves its mounts behind.
            await unmountBelow(folder);
            await rm(folder, { recursive: true, force: true });
        },
    };
}
