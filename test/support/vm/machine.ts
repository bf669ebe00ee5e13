import { type ChildProcess, execFileSync, spawn } from "node:child_process";
import { appendFileSync, existsSync, mkdirSync, rmSync, truncateSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { readMachineImage } from "../../../tools/vm/image.mjs";
import { ARM_FIRMWARE } from "../../../tools/vm/recipe.mjs";
import { GuestAgent, type GuestResult } from "./guest-agent";
import type { MachineIdentity } from "./metadata";
import type { GuestNetwork } from "./network";

export type Architecture = "amd64" | "arm64";

export interface MachineSettings {
    identity: MachineIdentity;
    network: GuestNetwork;
    /** Holds the disks, the consoles' logs and sockets. */
    folder: string;
    /** A second disk, as EC2 shows an EBS volume: NVMe, with the volume's id as serial number. It outlives the root disk. */
    volume?: { id: string; gigabytes: number };
    /** Ports that are reached at `network.guest`. */
    ports: number[];
    /** In MiB; default 3072. */
    memory?: number;
}

/** Processors by measurement: docs/virtual-machine.md. KVM is not used even where it is there: it hangs on machines like CI's. */
const EMULATORS = {
    amd64: { program: "qemu-system-x86_64", machine: ["-machine", "q35", "-cpu", "max"], console: "ttyS0" },
    arm64: {
        program: "qemu-system-aarch64",
        machine: ["-machine", "virt", "-cpu", "max,pauth=off,sve=off", "-bios", ARM_FIRMWARE],
        console: "ttyAMA0",
    },
} as const;

const EXIT_MS = 10_000;

/** One machine with its disks: started, powered off by itself, started again, as an EC2 instance is. */
export class VirtualMachine {
    /** What the console said in this boot. */
    console = "";
    /** When QEMU was started, `performance.now()`. */
    startedAt = 0;
    private boots = 0;
    private qemu: ChildProcess | undefined;
    private ended: Promise<void> = Promise.resolve();
    private agent: Promise<GuestAgent> | undefined;
    private readonly watchers = new Set<() => void>();

    constructor(private readonly settings: MachineSettings) {
        const { folder, volume } = settings;
        mkdirSync(folder, { recursive: true });
        if (volume && !existsSync(this.volumePath)) {
            writeFileSync(this.volumePath, "");
            truncateSync(this.volumePath, volume.gigabytes * 1024 ** 3);
        }
    }

    get running(): boolean {
        return this.qemu !== undefined;
    }

    private get volumePath(): string {
        return join(this.settings.folder, `${this.settings.volume?.id}.raw`);
    }

    private get rootDisk(): string {
        return join(this.settings.folder, `${this.settings.identity.instanceId}.qcow2`);
    }

    /** Powers the machine on; its root disk is new at the first time. */
    start(): void {
        if (this.qemu) throw new Error("the machine runs already");
        const { architecture } = this.settings.identity;
        const image = readMachineImage(architecture);
        if (!image) throw new Error(`there is no ${architecture} image: npm run setup -- --tests`);
        if (!existsSync(this.rootDisk))
            execFileSync("qemu-img", ["create", "-q", "-f", "qcow2", "-b", image.disk, "-F", "raw", this.rootDisk]);
        this.console = "";
        this.boots++;
        rmSync(this.agentPath, { force: true });
        const [command, args] = this.settings.network.command(this.commandLine(image));
        this.startedAt = performance.now();
        const qemu = spawn(command, args, { stdio: ["ignore", "pipe", "pipe"] });
        this.qemu = qemu;
        const log = process.env.BUILDFLEET_VM_LOGS ?? this.settings.folder;
        mkdirSync(log, { recursive: true });
        const file = join(log, `console-${this.settings.identity.instanceId}-${this.boots}.log`);
        for (const stream of [qemu.stdout, qemu.stderr])
            stream.setEncoding("utf8").on("data", (text: string) => {
                this.console += text;
                appendFileSync(file, text);
                this.notify();
            });
        this.ended = new Promise((resolve, reject) => {
            qemu.once("error", reject);
            qemu.once("close", () => {
                this.qemu = undefined;
                this.forgetAgent();
                resolve();
                this.notify();
            });
        });
    }

    private commandLine({ kernel, initrd }: { kernel: string; initrd: string }): string[] {
        const { identity, network, volume, ports, memory = 3072 } = this.settings;
        const { program, machine, console } = EMULATORS[identity.architecture];
        // EC2 says so in its DMI tables: cloud-init knows it by them.
        const serial = `ec2${identity.instanceId.slice(-5)}-0000-4000-8000-${identity.instanceId.slice(-12)}`;
        const forwards = ports.map((port) => `hostfwd=tcp:${network.guest}:${port}-:${port}`);
        const subnet = identity.privateIp.replace(/\d+$/, "");
        const user = [`net=${subnet}0/24`, `host=${subnet}1`, `dhcpstart=${identity.privateIp}`, "ipv6=off"];
        return [
            program,
            ...machine,
            ...["-accel", "tcg,thread=multi", "-smp", "2", "-m", String(memory)],
            ...["-nodefaults", "-display", "none", "-no-reboot", "-serial", "stdio", "-monitor", "none"],
            ...["-uuid", serial, "-smbios", `type=1,manufacturer=Amazon EC2,serial=${serial}`],
            ...["-kernel", kernel, "-initrd", initrd],
            ...["-append", `root=/dev/vda ro console=${console} loglevel=4`],
            ...["-drive", `file=${this.rootDisk},if=virtio,format=qcow2,cache=unsafe,discard=unmap`],
            ...(volume
                ? [
                      ...["-drive", `file=${this.volumePath},if=none,id=volume,format=raw,cache=unsafe,discard=unmap`],
                      ...["-device", `nvme,drive=volume,serial=${volume.id.replace("-", "")}`],
                  ]
                : []),
            ...["-netdev", ["user", "id=net", ...user, ...forwards].join(",")],
            ...["-device", `virtio-net-pci,netdev=net,romfile=,mac=${identity.macAddress}`],
            ...["-device", "virtio-rng-pci", "-device", "virtio-serial-pci"],
            ...["-chardev", `socket,id=agent,path=${this.agentPath},server=on,wait=off`],
            ...["-device", "virtserialport,chardev=agent,name=org.qemu.guest_agent.0"],
        ];
    }

    private get agentPath(): string {
        return join(this.settings.folder, "agent.sock");
    }

    /**
     * Waits until the console of this boot says something.
     *
     * @throws with the console's last lines, when it does not in time, or the machine ends before
     */
    async waitFor(pattern: RegExp, seconds: number): Promise<RegExpExecArray> {
        let found: RegExpExecArray | null = null;
        await this.until(`the console to say ${pattern}`, seconds, () => {
            found = pattern.exec(this.console);
            if (!found && !this.qemu) throw new Error(`the machine ended; its console:\n${this.lastLines()}`);
            return found !== null;
        });
        return found as unknown as RegExpExecArray;
    }

    /** Waits until the machine has powered itself off. */
    async poweredOff(seconds: number): Promise<void> {
        await this.until("the machine to power off", seconds, () => !this.qemu);
        await this.ended;
    }

    /** Runs a command in the guest, as root. */
    async run(command: string[], timeoutMs?: number): Promise<GuestResult> {
        this.agent ??= GuestAgent.connect(this.agentPath, 120_000);
        return (await this.agent).run(command, timeoutMs);
    }

    /** The same with a shell; throws unless the command ends with 0. */
    async shell(script: string, timeoutMs?: number): Promise<string> {
        const { exitCode, stdout, stderr } = await this.run(["bash", "-c", script], timeoutMs);
        if (exitCode !== 0) throw new Error(`in the guest, exit code ${exitCode}:\n${script}\n${stdout}${stderr}`);
        return stdout;
    }

    /** Has the machine shut down in order, as EC2 does when it stops one; {@link poweredOff} waits for the end. */
    async powerOff(): Promise<void> {
        this.agent ??= GuestAgent.connect(this.agentPath, 120_000);
        (await this.agent).powerOff();
    }

    /** Pulls the plug, when it runs. */
    async kill(): Promise<void> {
        const { qemu } = this;
        if (!qemu) return;
        const late = setTimeout(() => qemu.kill("SIGKILL"), EXIT_MS);
        qemu.kill("SIGTERM");
        await this.ended;
        clearTimeout(late);
    }

    private until(what: string, seconds: number, done: () => boolean): Promise<void> {
        return new Promise((resolve, reject) => {
            const settle = (action: () => void) => {
                clearTimeout(timer);
                this.watchers.delete(look);
                action();
            };
            const look = () => {
                try {
                    if (done()) settle(resolve);
                } catch (error) {
                    settle(() => reject(error));
                }
            };
            const timer = setTimeout(() => {
                const message = `waited ${seconds} s for ${what}; its console:\n${this.lastLines()}`;
                settle(() => reject(new Error(message)));
            }, seconds * 1000);
            this.watchers.add(look);
            look();
        });
    }

    private notify(): void {
        for (const look of [...this.watchers]) look();
    }

    private forgetAgent(): void {
        void this.agent?.then((agent) => agent.close()).catch(() => undefined);
        this.agent = undefined;
    }

    lastLines(count = 60): string {
        return this.console.split("\n").slice(-count).join("\n");
    }
}
