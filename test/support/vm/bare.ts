import { createReadStream, mkdirSync, mkdtempSync, readFileSync, rmSync, statSync } from "node:fs";
import type { RequestListener } from "node:http";
import { tmpdir } from "node:os";
import { join } from "node:path";
import type { SshTarget } from "../../../core/ssh-target";
import { generateKeys } from "../ssh-keys";
import { type Architecture, VirtualMachine } from "./machine";
import { MetadataService } from "./metadata";
import { GuestNetwork, METADATA_ADDRESS } from "./network";

const SSHD = "/usr/sbin/sshd";

/**
 * A machine that somebody racked: a Linux with an SSH server, and nothing of ours. It gets that server, which is this machine's own
 * program, as user data: so both have one architecture and one release of Debian.
 */
export class BareMachine {
    private constructor(
        readonly machine: VirtualMachine,
        readonly network: GuestNetwork,
        readonly ssh: SshTarget,
        private readonly folder: string,
    ) {}

    /** @param ports of the machine that are reached at `network.guest`, besides SSH's */
    static async create(architecture: Architecture, ports: number[]): Promise<BareMachine> {
        const folder = mkdtempSync(join(process.env.BUILDFLEET_VM_FOLDER ?? tmpdir(), "buildfleet-vm-"));
        mkdirSync(join(folder, "keys"));
        const { privateKey, hostKey } = generateKeys(join(folder, "keys"));
        const network = await GuestNetwork.create();
        const program = await network.serve(file(SSHD));
        const read = (name: string) => readFileSync(join(folder, "keys", name), "utf8");
        const identity = {
            instanceId: "i-0fedcba9876543210",
            region: "eu-central-1",
            availabilityZone: "eu-central-1a",
            instanceType: "none",
            architecture,
            macAddress: "02:00:00:00:00:02",
            privateIp: "10.0.3.15",
            role: "none",
            userData: Buffer.from(userData(program, read("host"), read("client.pub"))),
        };
        await network.serve(new MetadataService(identity).handle, METADATA_ADDRESS, 80);
        const machine = new VirtualMachine({ identity, network, folder, ports: [22, ...ports] });
        return new BareMachine(machine, network, { host: network.guest, user: "root", privateKey, hostKey }, folder);
    }

    /** Up when it returns. */
    async boot(seconds: number): Promise<void> {
        this.machine.start();
        await this.machine.waitFor(/room: ssh is up/, seconds);
    }

    async dispose(): Promise<void> {
        await this.machine.kill();
        await this.network.close();
        rmSync(this.folder, { recursive: true, force: true });
    }
}

/** Serves one file, whatever is asked for. */
export function file(path: string): RequestListener {
    return (_request, response) => {
        response.writeHead(200, { "content-length": statSync(path).size });
        createReadStream(path).pipe(response);
    };
}

/** YAML's flow style is JSON. */
function userData(program: string, hostKey: string, authorizedKey: string): string {
    const options = ["PermitRootLogin=yes", "UsePAM=no", "PidFile=none", "UseDNS=no"].flatMap((one) => ["-o", one]);
    const server = ["/usr/local/sbin/sshd", "-D", "-e", "-f", "/dev/null", "-h", "/etc/ssh/room_host_key", ...options];
    return `#cloud-config\n${JSON.stringify({
        write_files: [
            { path: "/etc/ssh/room_host_key", permissions: "0600", content: hostKey },
            { path: "/root/.ssh/authorized_keys", permissions: "0600", content: authorizedKey },
        ],
        runcmd: [
            ["curl", "--fail", "--silent", "--show-error", "--output", "/usr/local/sbin/sshd", program],
            ["chmod", "0755", "/usr/local/sbin/sshd"],
            ["sh", "-c", "id -u sshd || useradd --system --no-create-home --home-dir /run/sshd sshd"],
            ["systemd-run", "--unit=room-sshd", "--property=RuntimeDirectory=sshd", ...server],
            ["bash", "-c", "until : </dev/tcp/127.0.0.1/22; do sleep 0.2; done; echo 'room: ssh is up' >/dev/console"],
        ],
    })}\n`;
}
