import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import {
    existsSync,
    mkdirSync,
    mkdtempSync,
    readdirSync,
    readFileSync,
    rmdirSync,
    rmSync,
    writeFileSync,
} from "node:fs";
import { basename, join } from "node:path";
import { removedSoon } from "./files";
import { generateKeys, type HostKeys } from "./ssh-keys";

/** What a command left. */
export interface Ended {
    /** Exit code, or the signal that ended it. */
    code: number | string;
    stdout: string;
    stderr: string;
}

/**
 * A bare Linux host without a machine: this one's file system under an overlay, a real systemd as its first process, and a real
 * sshd that is a unit of it. It shares this machine's loopback device, so what its services listen on can be asked from here;
 * and it can have handlers of binfmt_misc of its own. What happens to its files is thrown away with it.
 */
export class BareHost {
    readonly folder = mkdtempSync("/tmp/buildfleet-host-");
    /** Of the host's first process. */
    private pid = "";
    private holder: ChildProcess | undefined;
    /** Named as the folder, which is nobody else's: a pid comes back, and may find what a killed run left. */
    private readonly group = basename(this.folder);
    private keys: HostKeys | undefined;
    private sshPort = 0;
    /** Whether it is a user namespace of its own. */
    private hasUsers = false;

    /**
     * @param port a free one, for sshd
     * @param emulation whether it has handlers of binfmt_misc of its own (a user namespace, Linux 6.7); none, else
     */
    async open(port: number, { emulation = false } = {}): Promise<this> {
        for (const name of ["upper", "work", "root", "outer"]) mkdirSync(join(this.folder, name));
        this.keys = generateKeys(join(this.folder, "outer"));
        this.sshPort = port;
        this.hasUsers = emulation;
        const unshare = ["--mount", "--pid", "--uts", "--ipc", "--cgroup", "--fork", "--kill-child"];
        if (emulation) {
            unshare.push("--user", "--map-users=0,0,65536", "--map-groups=0,0,65536");
            for (const map of ["uid", "gid"])
                this.program(`new${map}map`, `#!/bin/sh\necho "$2 $3 $4" >/proc/$1/${map}_map\n`);
        }
        // The kernel ends the host when this process ends, however it ends.
        this.holder = spawn("setpriv", ["--pdeathsig", "KILL", "bash", "-euc", ENTER, "bash", ...unshare], {
            cwd: this.folder,
            env: {
                ...process.env,
                ...{ GROUP: this.group, PORT: `${port}`, EMULATION: emulation ? "yes" : "", OVERLAY, SETUP },
            },
            stdio: ["ignore", "ignore", "inherit"],
        });
        const ended = once(this.holder, "exit").then(() => Promise.reject(new Error("the host could not be made")));
        ended.catch(() => undefined);
        try {
            await Promise.race([this.started(), ended]);
        } catch (error) {
            await this.close();
            throw error;
        }
        return this;
    }

    /** How it is reached: as its root, by the key that was made for it. */
    get ssh() {
        if (!this.keys) throw new Error("the host is not open");
        const { privateKey, hostKey } = this.keys;
        return { host: "127.0.0.1", port: this.sshPort, user: "root", privateKey, hostKey };
    }

    /** Runs a command on it past SSH, to its end. */
    async run(command: string, ...args: string[]): Promise<Ended> {
        const namespaces = ["--mount", "--pid", "--uts", "--ipc", "--cgroup", ...(this.hasUsers ? ["--user"] : [])];
        const child = spawn(
            "nsenter",
            ["--target", this.pid, ...namespaces, "--root", "--wdns=/", "--", command, ...args],
            {
                env: { PATH: "/usr/sbin:/usr/bin:/sbin:/bin", LANG: "C.UTF-8" },
                stdio: ["ignore", "pipe", "pipe"],
            },
        );
        const output = { stdout: "", stderr: "" };
        for (const stream of ["stdout", "stderr"] as const)
            child[stream].setEncoding("utf8").on("data", (text: string) => {
                output[stream] += text;
            });
        const [code, signal] = await once(child, "close");
        if (output.stderr.startsWith("nsenter")) throw new Error(output.stderr);
        return { code: code ?? `${signal}`, ...output };
    }

    /** What a script prints, whatever it ends with. */
    async shell(script: string): Promise<string> {
        return (await this.run("bash", "-c", script)).stdout.trim();
    }

    async close(): Promise<void> {
        if (this.holder && this.holder.exitCode === null && this.holder.signalCode === null) {
            this.holder.kill("SIGKILL");
            await once(this.holder, "exit");
            const { pid } = this;
            if (pid) await until(() => !existsSync(`/proc/${pid}`));
        }
        const root = "/sys/fs/cgroup";
        const folders = [root, ...readdirSync(root).map((name) => join(root, name))];
        await removedSoon(() => {
            for (const folder of folders) removeGroups(join(folder, this.group));
            rmSync(this.folder, { recursive: true, force: true });
        });
    }

    /** Until systemd has started sshd, which it tells through a file. */
    private async started(): Promise<void> {
        const at = (name: string) => join(this.folder, name);
        await until(() => existsSync(at("pid")) && existsSync(at("outer/ready")));
        const outer = readFileSync(at("pid"), "utf8").trim();
        this.pid = readFileSync(`/proc/${outer}/task/${outer}/children`, "utf8").trim();
    }

    private program(name: string, content: string): void {
        writeFileSync(join(this.folder, name), content, { mode: 0o755 });
    }
}

/** Looks every 20 ms: neither the kernel nor that systemd tells a process outside. */
async function until(isTrue: () => boolean, withinMs = 30_000): Promise<void> {
    const end = Date.now() + withinMs;
    while (!isTrue()) {
        if (Date.now() > end) throw new Error("the host's systemd did not come up, or down");
        await new Promise((done) => setTimeout(done, 20));
    }
}

/** Empty groups that systemd made, the inner ones first. */
export function removeGroups(folder: string): void {
    if (!existsSync(folder)) return;
    for (const entry of readdirSync(folder, { withFileTypes: true }))
        if (entry.isDirectory()) removeGroups(join(folder, entry.name));
    rmdirSync(folder);
}

/** Into groups of its own first, so that its systemd has nothing to do with this machine's. */
const ENTER = `
for root in /sys/fs/cgroup/*/ /sys/fs/cgroup/; do
    [ -e "$root/cgroup.procs" ] || continue
    mkdir "$root/$GROUP"
    # A group of CPUs needs to be told which.
    for file in cpuset.cpus cpuset.mems; do
        [ ! -e "$root/$GROUP/$file" ] || cat "$root/$file" >"$root/$GROUP/$file" || true
    done
    echo $$ >"$root/$GROUP/cgroup.procs"
done
echo $$ >pid
PATH=$PWD:$PATH
# By this machine's root: a user namespace's own may not.
exec unshare --mount --propagation private bash -euc "$OVERLAY" bash "$@" --propagation private bash -euc "$SETUP"
`;

const OVERLAY = `
mount -t overlay overlay -o lowerdir=/,upperdir=$PWD/upper,workdir=$PWD/work root
exec unshare "$@"
`;

const SETUP = `
outer=$PWD
cd root
mount -t proc proc proc
# The kernel's settings are this machine's: nobody there is to touch them.
mount --bind proc/sys proc/sys
mount -o remount,bind,ro proc/sys
[ -z "$EMULATION" ] || mount -t binfmt_misc binfmt_misc proc/sys/fs/binfmt_misc
mount --rbind /sys sys
mount -o remount,bind,ro sys
mount -t tmpfs tmpfs sys/fs/cgroup
if [ -e /sys/fs/cgroup/cgroup.procs ]; then
    mount -t cgroup2 cgroup2 sys/fs/cgroup
else
    mkdir sys/fs/cgroup/{unified,systemd}
    mount -t cgroup2 cgroup2 sys/fs/cgroup/unified
    mount -t cgroup -o none,name=systemd cgroup sys/fs/cgroup/systemd
fi
mount -t tmpfs tmpfs dev
for node in null zero full random urandom tty ptmx; do touch dev/$node; mount --bind /dev/$node dev/$node; done
ln -s /proc/self/fd dev/fd
mkdir dev/pts dev/shm
mount -t devpts devpts dev/pts
touch dev/console
mount -t tmpfs tmpfs run
mount -t tmpfs tmpfs tmp
mkdir -p run/outer run/sshd
mount --bind "$outer/outer" run/outer
rm -rf etc/systemd/system etc/systemd/system.control
# What this machine's root does at every login is not a host's.
rm -f root/.bashrc root/.bash_profile root/.profile
mkdir -p etc/systemd/system
printf '%s\\n' '[Unit]' 'DefaultDependencies=no' 'Wants=host-ssh.service systemd-journald.service' 'AllowIsolate=yes' \\
    >etc/systemd/system/host.target
printf '%s\\n' '[Unit]' 'DefaultDependencies=no' '[Service]' 'Type=simple' \\
    "ExecStart=/usr/sbin/sshd -D -e -p $PORT -o ListenAddress=127.0.0.1 -o HostKey=/run/outer/host -o PidFile=none -o UsePAM=no \\
    -o AuthorizedKeysFile=/run/outer/client.pub -o StrictModes=no -o PermitRootLogin=yes -f /dev/null" \\
    'ExecStartPost=/bin/bash -c "until : </dev/tcp/127.0.0.1/'$PORT'; do sleep 0.02; done 2>/dev/null; touch /run/outer/ready"' \\
    >etc/systemd/system/host-ssh.service
exec env -i container=room PATH=/usr/sbin:/usr/bin:/sbin:/bin chroot . /lib/systemd/systemd --system --unit=host.target \\
    --log-target=null --show-status=no
`;
