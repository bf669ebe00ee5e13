import { type ChildProcess, execFileSync, spawn } from "node:child_process";
import { chmodSync, mkdirSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { setTimeout as delay } from "node:timers/promises";
import { type BuildkitdRegistry, buildkitdToml } from "../../core/buildkitd-toml";
import { unmountBelow } from "../../drivers/mounts";
import { findTool } from "../../drivers/tools";
import { createAuthority, issueCertificate } from "../../drivers/x509";
import type { RoomHost } from "./machine-room";
import { generateKeys } from "./ssh-keys";

/** What lets in to the hosts of a room: a certificate for `tcp://`, a key and an `ssh` that uses it for `ssh://`. */
export class RoomAccess {
    readonly folder = mkdtempSync(join(tmpdir(), "room-access-"));
    /** Goes first on the PATH: its `ssh` is OpenSSH's, with a configuration that is no user's. */
    readonly path = join(this.folder, "bin");
    private readonly keys = generateKeys(this.folder);
    private readonly authority = createAuthority({ name: "room", days: 2 });

    constructor() {
        const config = join(this.folder, "ssh_config");
        this.trust("");
        writeFileSync(
            config,
            [
                `IdentityFile ${join(this.folder, "client")}`,
                "IdentitiesOnly yes",
                `UserKnownHostsFile ${join(this.folder, "known_hosts")}`,
                "StrictHostKeyChecking yes",
                "LogLevel ERROR",
                "",
            ].join("\n"),
        );
        this.tool("ssh", `echo "$@" >> ${join(this.folder, "ssh.log")}\nexec ${findTool("ssh")} -F ${config} "$@"`);
    }

    /** Writes a program of the PATH. */
    tool(name: string, script: string): void {
        mkdirSync(this.path, { recursive: true });
        writeFileSync(join(this.path, name), `#!/bin/sh\n${script}\n`);
        chmodSync(join(this.path, name), 0o755);
    }

    /** Which addresses have the host key; none is an unknown host. */
    trust(...addresses: string[]): void {
        writeFileSync(
            join(this.folder, "known_hosts"),
            addresses
                .filter(Boolean)
                .map((address) => `${address} ${this.keys.hostKey}\n`)
                .join(""),
        );
    }

    /** Clients of another key are not let in. */
    get hostFiles() {
        return { hostKey: join(this.folder, "host"), authorizedKeys: join(this.folder, "client.pub") };
    }

    async client() {
        const authority = await this.authority;
        const issued = await issueCertificate({ authority, commonName: "client", usage: "client", days: 2 });
        return { ca: authority.certificate, certificate: issued.certificate, privateKey: issued.privateKey };
    }

    async server(name: string) {
        const authority = await this.authority;
        const issued = await issueCertificate({
            authority,
            commonName: name,
            usage: "server",
            dnsNames: [name],
            days: 2,
        });
        return { ca: authority.certificate, ...issued };
    }

    dispose(): void {
        rmSync(this.folder, { recursive: true, force: true });
    }
}

/** A host that somebody racked: BuildKit with mutual TLS and on a socket, and sshd. */
export class BuilderHost {
    private readonly folder = mkdtempSync(join(tmpdir(), "builder-host-"));
    private readonly children: ChildProcess[] = [];
    private log = "";

    private constructor(
        readonly name: string,
        readonly host: RoomHost,
    ) {}

    /** Both are up when it returns. Needs root, runc and openssh-server. */
    static async start(
        name: string,
        host: RoomHost,
        access: RoomAccess,
        registry: Record<string, BuildkitdRegistry> = {},
    ): Promise<BuilderHost> {
        const machine = new BuilderHost(name, host);
        try {
            await machine.startBuildkitd(access, registry);
            machine.startSshd(access);
            await machine.answers("1234");
            await machine.answers("22");
        } catch (error) {
            await machine.stop();
            throw error;
        }
        return machine;
    }

    get tcp(): string {
        return `tcp://${this.host.address}:1234`;
    }

    get ssh(): string {
        return `ssh://root@${this.host.address}`;
    }

    /** The same daemon on this machine's file system. */
    get socket(): string {
        return join(this.folder, "buildkitd.sock");
    }

    private spawn(command: string[]): void {
        const [file, args] = this.host.command(command);
        const child = spawn(file, args, { stdio: ["ignore", "pipe", "pipe"], cwd: this.folder });
        for (const stream of [child.stdout, child.stderr])
            stream.setEncoding("utf8").on("data", (text: string) => {
                this.log += text;
            });
        this.children.push(child);
    }

    private async startBuildkitd(access: RoomAccess, registry: Record<string, BuildkitdRegistry>): Promise<void> {
        const tls = await access.server(this.name);
        const write = (file: string, content: string) => {
            writeFileSync(join(this.folder, file), content, { mode: 0o600 });
            return join(this.folder, file);
        };
        const toml = buildkitdToml({
            root: join(this.folder, "root"),
            otel: { socketPath: join(this.folder, "otel.sock") },
            grpc: {
                address: [this.tcp, `unix://${this.socket}`],
                tls: {
                    ca: write("ca.pem", tls.ca),
                    cert: write("cert.pem", tls.certificate),
                    key: write("key.pem", tls.privateKey),
                },
            },
            worker: { networkMode: "host", maxParallelism: 4 },
            registry,
        });
        this.spawn([findTool("buildkitd"), "--config", write("buildkitd.toml", toml)]);
    }

    private startSshd(access: RoomAccess): void {
        const { hostKey, authorizedKeys } = access.hostFiles;
        // Debian's package leaves it to the unit.
        mkdirSync("/run/sshd", { recursive: true });
        const config = [
            `ListenAddress ${this.host.address}:22`,
            `HostKey ${hostKey}`,
            `AuthorizedKeysFile ${authorizedKeys}`,
            "StrictModes no",
            "UsePAM no",
            "PasswordAuthentication no",
            "PidFile none",
            // As a host's owner would: buildctl on the PATH, and where it finds the daemon.
            // A home of its own: what this machine's root does at every login is not the host's.
            `SetEnv HOME=${this.folder} BUILDKIT_HOST=unix://${this.socket} PATH=${dirname(findTool("buildctl"))}:/usr/bin:/bin`,
            "",
        ];
        writeFileSync(join(this.folder, "sshd_config"), config.join("\n"));
        this.spawn(["/usr/sbin/sshd", "-D", "-e", "-f", join(this.folder, "sshd_config")]);
    }

    private async answers(port: string): Promise<void> {
        const [file, args] = this.host.command(["bash", "-c", `: < /dev/tcp/${this.host.address}/${port}`]);
        for (const deadline = Date.now() + 20_000; ; await delay(50)) {
            try {
                execFileSync(file, args, { stdio: "ignore" });
                return;
            } catch (error) {
                if (this.children.some(({ exitCode }) => exitCode !== null) || Date.now() > deadline)
                    throw new Error(`${this.name} does not listen on port ${port}:\n${this.log}`, { cause: error });
            }
        }
    }

    async stop(): Promise<void> {
        await Promise.all(
            this.children.map(async (child) => {
                if (child.exitCode !== null || child.signalCode !== null) return;
                const ended = new Promise((resolve) => child.once("exit", resolve));
                child.kill("SIGTERM");
                const timer = setTimeout(() => child.kill("SIGKILL"), 5_000);
                await ended;
                clearTimeout(timer);
            }),
        );
        await unmountBelow(this.folder);
        rmSync(this.folder, { recursive: true, force: true });
    }
}
