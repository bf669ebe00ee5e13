import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { limitedCommand } from "../../core/limits";
import { hostArchitecture } from "../../tools/setup/context.mjs";
import { readArtifact } from "../../tools/vm/artifact.mjs";
import { machineArchitecture } from "../../tools/vm/recipe.mjs";
import { BareMachine, file } from "../support/vm/bare";

// Control groups of version 2, which this machine may not have: those of a machine with a kernel and a systemd of its own.

const architecture = machineArchitecture();
const isOwn = architecture === hostArchitecture();
const MIB = 2 ** 20;
const LIMITS = { memory: 256 * MIB, cpus: 0.5 };
const SCRIPT = join(__dirname, "../../core/limits/files/enter.sh");

let bare: BareMachine;
const shell = (script: string) => bare.machine.shell(`set -euo pipefail\ncd /opt/limits\n${script}`, 180_000);

/** The words that start a command with limits, there. */
const limited = (group: string, limits = LIMITS) =>
    limitedCommand(group, limits)
        .map((word) => (word === SCRIPT ? "/opt/limits/enter.sh" : `'${word}'`))
        .join(" ");
/** As on a machine without systemd, whose files are hidden. */
const WITHOUT_SYSTEMD = 'unshare --mount bash -euc \'mount -t tmpfs tmpfs /run/systemd; exec "$0" "$@"\'';

describe.skipIf(!isOwn)("limits on a machine with control groups of version 2", () => {
    beforeAll(async () => {
        const artifact = await readArtifact(architecture);
        if (!artifact) throw new Error("BuildKit's tarball is missing: npm run setup -- --tests");
        bare = await BareMachine.create(architecture, []);
        const [buildkit, script] = await Promise.all([
            bare.network.serve(file(artifact.path)),
            bare.network.serve(file(SCRIPT)),
        ]);
        await bare.boot(300);
        await bare.machine.shell(
            `set -euo pipefail
            mkdir -p /opt/limits && cd /opt/limits
            curl -fsS ${buildkit}/ | tar -xz
            curl -fsS -o enter.sh ${script}/
            mkdir -p context/root/{bin,dev,proc,sys,tmp}
            cp /usr/bin/{dash,head,tail} context/root/bin/ && mv context/root/bin/{da,}sh
            for program in dash head tail; do ldd /usr/bin/$program; done | grep -o '/[^ ]*' | sort -u |
                while read -r library; do install -D "$(realpath "$library")" "context/root$library"; done`,
            180_000,
        );
    }, 600_000);
    afterAll(async () => {
        await bare?.dispose();
    });

    it.each([
        ["by systemd", "", "buildfleet-one.scope"],
        ["by hand, where there is no systemd", WITHOUT_SYSTEMD, "buildfleet-two.scope"],
    ])("hold for BuildKit and its steps: %s", async (_how, through, group) => {
        const folder = `/sys/fs/cgroup/${group}`;
        await shell(`
            mkdir ${group}
            printf '%s\\n' 'root = "/opt/limits/${group}/data"' '[grpc]' 'address = ["unix:///opt/limits/${group}/socket"]' \\
                '[worker.oci]' 'networkMode = "host"' 'defaultCgroupParent = "/${group}"' >${group}/buildkitd.toml
            export PATH=/opt/limits/bin:$PATH
            setsid ${through} ${limited(group)} buildkitd --config ${group}/buildkitd.toml >${group}/log 2>&1 </dev/null &
            until buildctl --addr unix:///opt/limits/${group}/socket debug workers >/dev/null 2>&1; do
                kill -0 $! || { cat ${group}/log; exit 1; }
                sleep 0.5
            done`);
        const build = (step: string) => {
            const dockerfile = `FROM scratch\\nCOPY root /\\nRUN ${step}\\n`;
            return shell(`
                printf '${dockerfile}' >context/Dockerfile
                bin/buildctl --addr unix:///opt/limits/${group}/socket build --no-cache --progress plain --frontend dockerfile.v0 \\
                    --local context=context --local dockerfile=context 2>&1`);
        };
        const take = (mebibytes: number) =>
            build(`head -c ${2 * mebibytes}M /dev/zero | tail -c ${mebibytes}M >/dev/null`);
        const daemon = await shell(`pgrep -f '^buildkitd --config ${group}'`);
        expect(await shell(`cat /proc/${daemon.trim()}/cgroup`)).toBe(`0::/${group}\n`);
        expect(await shell(`cat ${folder}/memory.max ${folder}/memory.swap.max ${folder}/cpu.max`)).toBe(
            `${LIMITS.memory}\n0\n50000 100000\n`,
        );
        await take(16);
        await expect(take(300)).rejects.toThrow(/exit code: 137|[Kk]illed|cannot allocate/);
        expect(await shell(`cat ${folder}/memory.events`)).toMatch(/^oom_kill [1-9]/m);
        expect(await shell(`cat ${folder}/cpu.stat`)).toMatch(/^nr_throttled [1-9]/m);
        expect(await shell(`pgrep -f '^buildkitd --config ${group}'`)).toBe(daemon);
        await shell(`kill ${daemon.trim()}; tail --pid=${daemon.trim()} -f /dev/null`);
    });

    it("are refused where they can't be, and the command does not run", async () => {
        const hidden = (how: string) =>
            `unshare --mount bash -euc 'mount -t tmpfs tmpfs /run/systemd; ${how}; exec "$0" "$@"'`;
        const refused = (how: string) =>
            shell(`! ${hidden(how)} ${limited("buildfleet-three.scope")} touch /opt/limits/ran 2>&1; ls`);
        for (const [how, reason] of [
            ["mount -o remount,bind,ro /sys/fs/cgroup", "can't be made"],
            ["mount -t tmpfs tmpfs /sys/fs/cgroup", "no control groups for memory"],
        ] as const) {
            const said = await refused(how);
            expect(said).toContain(reason);
            expect(said.split("\n")).not.toContain("ran");
        }
    });
});
