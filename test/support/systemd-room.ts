import { type ChildProcess, execFileSync, spawn, spawnSync } from "node:child_process";
import { once } from "node:events";
import { mkdirSync, mkdtempSync, readdirSync, readFileSync, readlinkSync, rmSync } from "node:fs";
import { basename, join } from "node:path";
import { setTimeout as wait } from "node:timers/promises";
import type { SshTarget } from "../../core/ssh-target";
import { removeGroups } from "./bare-host";
import { removedSoon } from "./files";
import { machineTrace } from "./machine-trace";
import type { GuestNetwork } from "./vm/network";

/**
 * A machine with systemd and an SSH server, without a machine: this one's file system under an overlay, with namespaces of its own.
 * It has real units, real control over its network and a user who becomes root by sudo; only the kernel is shared. It lives in a
 * guest's network, and the kernel ends it when this process ends, however it ends.
 */
export class SystemdRoom {
    readonly folder = mkdtempSync("/tmp/buildfleet-systemd-");
    private init: ChildProcess | undefined;
    private pid = "";
    private readonly group = basename(this.folder);

    constructor(readonly network: Pick<GuestNetwork, "command" | "guest" | "answers">) {}

    async boot(): Promise<this> {
        for (const name of ["upper", "work", "root"]) mkdirSync(join(this.folder, name));
        for (const name of ["host", "user"]) {
            execFileSync("ssh-keygen", ["-q", "-t", "ed25519", "-N", "", "-f", join(this.folder, name)]);
        }
        const unshare = ["unshare", "--mount", "--pid", "--uts", "--ipc", "--cgroup", "--fork", "--kill-child"];
        const [command, args] = this.network.command([
            ...["bash", "-c", ENTER, this.group],
            ...[...unshare, "bash", "-c", SETUP],
        ]);
        this.init = spawn(command, args, { cwd: this.folder, stdio: ["ignore", "ignore", "pipe"] });
        let said = "";
        this.init.stderr?.setEncoding("utf8").on("data", (text: string) => {
            said += text;
        });
        const { pid } = this.init;
        for (let tries = 0; !(await this.network.answers(22)); tries++) {
            if (tries > 600 || this.init.exitCode !== null)
                throw new Error(`the room does not answer by SSH:\n${said}`);
            await wait(50);
        }
        this.pid = readFileSync(`/proc/${pid}/task/${pid}/children`, "utf8").trim();
        // SSH answers before the boot's last units have ended.
        this.shell("timeout 30 systemctl is-system-running --wait || true");
        return this;
    }

    /** How the room is reached; its user is root by sudo. */
    get ssh(): SshTarget {
        const read = (name: string) => readFileSync(join(this.folder, name), "utf8");
        return {
            host: this.network.guest,
            user: "builder",
            privateKey: read("user"),
            hostKey: read("host.pub"),
            sudo: true,
        };
    }

    /** Runs a script in the room, as root and past SSH, for a test to look in; throws unless it ends with 0. */
    shell(script: string): string {
        const enter = ["--target", this.pid, "--mount", "--net", "--pid", "--uts", "--ipc", "--cgroup", "--root"];
        const { stdout, stderr, status } = spawnSync("nsenter", [...enter, "--wdns=/", "--", "bash", "-c", script], {
            encoding: "utf8",
            env: { PATH: "/usr/sbin:/usr/bin:/sbin:/bin", LANG: "C.UTF-8" },
            timeout: 60_000,
        });
        if (status !== 0) throw new Error(`in the room, exit code ${status}:\n${script}\n${stdout}${stderr}`);
        return stdout;
    }

    /** The processes that hold its open SSH connections, by this machine's numbers. */
    sshServers(): number[] {
        const namespace = (pid: string) => readlinkSync(`/proc/${pid}/ns/pid`);
        const own = namespace(this.pid);
        const pids = readdirSync("/proc").filter((name) => /^\d+$/.test(name));
        return pids.filter((pid) => isConnection(pid, () => namespace(pid) === own)).map(Number);
    }

    /** All that can be told of the machine: files that are not this machine's own, units, network, the kernel's settings. */
    trace(): string {
        return this.shell(`
            cd /run/outer-upper && find . -not -path './var/log/*' -not -path './root/*' -not -path './tmp/*' \\
                -not -path ./opt -not -path ./root -not -path ./usr -not -path ./usr/local \\( -type f -printf '%p %m %s\\n' -o -printf '%p %m %y %l\\n' \\) | sort
            find /var/lib -mindepth 1 -not -path '/var/lib/systemd/*' -printf '%p %m %y %l\\n' | sort
            ${machineTrace("-v -e '^user' -e '^session' -e 'systemd-' -e 'modprobe@'")}
            ps -e -o comm= | grep -v -e '^bash' -e '^ps' -e '^awk' -e '^sort' -e '^sshd' -e '^sudo' -e '^(sd-' -e '^grep' -e '^uniq' -e systemd | sort | uniq
        `);
    }

    async close(): Promise<void> {
        if (this.init && this.init.exitCode === null && this.init.signalCode === null) {
            const ended = once(this.init, "exit");
            this.init.kill("SIGKILL");
            await ended;
        }
        await removedSoon(() => {
            for (const root of ["/sys/fs/cgroup", "/sys/fs/cgroup/unified"]) removeGroups(join(root, this.group));
            rmSync(this.folder, { recursive: true, force: true });
        });
    }
}

/** Into a control group of its own first: units of one name in two rooms would share theirs, and outlive each other. */
const ENTER = `
for root in /sys/fs/cgroup /sys/fs/cgroup/unified; do
    [ -e $root/cgroup.procs ] || continue
    mkdir $root/$0
    echo $$ >$root/$0/cgroup.procs
done
exec "$@"
`;

function isConnection(pid: string, isOurs: () => boolean): boolean {
    try {
        // What sshd calls itself once somebody has logged in.
        return /^sshd: builder/.test(readFileSync(`/proc/${pid}/cmdline`, "utf8")) && isOurs();
    } catch {
        return false;
    }
}

const SSHD_UNIT = `[Unit]
Description=SSH of the tests
[Service]
ExecStart=/usr/sbin/sshd -D -e -f /etc/room/sshd_config
RuntimeDirectory=sshd
[Install]
WantedBy=multi-user.target`;

const SSHD = `Port 22
HostKey /etc/room/host
AuthorizedKeysFile /etc/room/authorized_keys
PidFile none
UsePAM no
StrictModes no
UseDNS no
PasswordAuthentication no`;

const SETUP = `
set -e
mount --make-rprivate /
mount -t overlay overlay -o lowerdir=/,upperdir=$PWD/upper,workdir=$PWD/work root
cd root
mount -t proc proc proc
mount -t sysfs sysfs sys
mount -t cgroup2 cgroup2 sys/fs/cgroup
mount -t tmpfs tmpfs dev
cp -a /dev/{null,zero,full,random,urandom,tty,ptmx} dev
ln -s /proc/self/fd dev/fd
mkdir dev/pts dev/shm dev/net
# As udev makes it.
mknod -m 666 dev/net/tun c 10 200
mount -t devpts devpts dev/pts
mount -t tmpfs tmpfs run
mount -t tmpfs tmpfs tmp
mount -t tmpfs tmpfs var/lib
rm -rf etc/systemd/system var/log/journal opt/buildfleet usr/local/libexec
# What this machine's root does at every login is not the host's.
rm -f root/.bashrc root/.bash_profile root/.profile
mkdir -p etc/systemd/system/multi-user.target.wants etc/room run/outer-upper
mount --bind ../upper run/outer-upper
cp ../host etc/room/host
cp ../user.pub etc/room/authorized_keys
chmod 600 etc/room/host
cat >etc/room/sshd_config <<'END'
${SSHD}
END
cat >etc/systemd/system/test-sshd.service <<'END'
${SSHD_UNIT}
END
ln -s ../test-sshd.service etc/systemd/system/multi-user.target.wants
echo 0123456789abcdef0123456789abcdef >etc/machine-id
echo 'builder:x:4711:4711::/tmp:/bin/sh' >>etc/passwd
echo 'builder:*:19000::::::' >>etc/shadow
echo 'builder ALL=(ALL) NOPASSWD: ALL' >etc/sudoers.d/builder
chmod 440 etc/sudoers.d/builder
echo 0 >/proc/sys/net/ipv4/ip_forward
# A chroot would do for all but user namespaces, which the kernel does not give in one.
mkdir run/outside
pivot_root . run/outside
cd /
umount -l run/outside
rmdir run/outside
exec env -i container=room PATH=/usr/sbin:/usr/bin:/sbin:/bin /lib/systemd/systemd \\
    --system --log-target=null --show-status=false --unit=multi-user.target
`;
