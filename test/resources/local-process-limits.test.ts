import { spawn, spawnSync } from "node:child_process";
import { once } from "node:events";
import { existsSync, mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { limitedCommand } from "../../core/limits";
import { buildDockerfile, type ClientCertificate, registerBuilder } from "../../drivers/buildx";
import { removeGroup } from "../../drivers/cgroup";
import { isAlive } from "../../drivers/daemon";
import { type CertificateWithKey, createAuthority, issueCertificate } from "../../drivers/x509";
import { LocalFleet, type LocalFleetArgs } from "../../index";
import { type Inputs, operations } from "../../resources/local-process/operations";
import { BareHost } from "../support/bare-host";
import { layerOf, librariesOf, pushLayer } from "../support/buildkit-image";
import { declare, find } from "../support/declared";
import { freePort } from "../support/port";
import { type RunningRegistry, startRegistry } from "../support/registry";

const MIB = 2 ** 20;
const platform = process.arch === "arm64" ? "linux/arm64" : "linux/amd64";
const NODE = platform.slice("linux/".length);
const before = process.env.BUILDX_CONFIG;

let root: string;
let registry: RunningRegistry;
let base: string;
let server: CertificateWithKey;
let client: ClientCertificate;

beforeAll(async () => {
    const authority = await createAuthority({ name: "builders", days: 1 });
    const issue = (usage: "client" | "server") =>
        issueCertificate({ authority, commonName: NODE, usage, dnsNames: usage === "server" ? [NODE] : [], days: 1 });
    server = await issue("server");
    const { certificate, privateKey } = await issue("client");
    client = { ca: authority.certificate, certificate, privateKey };
    root = mkdtempSync(join(tmpdir(), "buildfleet-limits-"));
    process.env.BUILDX_CONFIG = join(root, "buildx");
    registry = await startRegistry();
    const programs = ["/usr/bin/dash", "/usr/bin/head", "/usr/bin/tail"];
    const layer = layerOf((copy, folder) => {
        for (const program of programs) copy(program, program.replace("/usr/bin/dash", "/bin/sh"));
        for (const library of programs.flatMap(librariesOf)) copy(library, library);
        for (const name of ["dev", "proc", "sys", "tmp"]) mkdirSync(join(folder, name), { recursive: true });
    });
    const digest = await pushLayer(registry.registry, "base", "test", layer, { Env: ["PATH=/usr/bin"] });
    base = `${registry.registry}/base@${digest}`;
});
afterAll(async () => {
    await registry?.stop();
    if (before === undefined) delete process.env.BUILDX_CONFIG;
    else process.env.BUILDX_CONFIG = before;
    rmSync(root, { recursive: true, force: true });
});

/** A node as a `LocalFleet` declares it, with certificates that are real. */
async function inputs(limits: Pick<LocalFleetArgs, "memory" | "cpus"> = {}): Promise<Inputs> {
    const registries = { [registry.registry]: { http: true } };
    const args = { platforms: [platform], folder: join(root, "fleet"), registries, ...limits };
    const { resources } = await declare(() => void new LocalFleet("builders", args));
    const { files, ...node } = find(resources, `builders-${NODE}`).inputs as Inputs;
    const { certificate, privateKey } = server;
    return { ...node, files: { ...files, "ca.pem": client.ca, "cert.pem": certificate, "key.pem": privateKey } };
}

/** Where the kernel keeps a controller's groups of this machine. */
const controller = (name: string) =>
    existsSync("/sys/fs/cgroup/cgroup.controllers") ? "/sys/fs/cgroup" : `/sys/fs/cgroup/${name}`;
const groups = () =>
    readdirSync(controller("memory")).filter((name) => /^buildfleet-[0-9a-f]{16}\.scope$/.test(name) && isOurs(name));
/** Other programs on this machine may have theirs. */
const isOurs = (name: string) => name === ours;
let ours = "";
const cpuTime = () => {
    const folder = join(controller("cpu"), ours);
    const file = ["cpu.max", "cpu.cfs_quota_us"].map((name) => join(folder, name)).find(existsSync) ?? "";
    return readFileSync(file, "utf8").trim();
};

/** Takes as much memory as it is told, in a step. */
const take = (mebibytes: number) => step(`head -c ${2 * mebibytes}M /dev/zero | tail -c ${mebibytes}M >/dev/null`);
const step = (script: string) =>
    buildDockerfile({ builder: "limited", platform, dockerfile: `FROM ${base}\nRUN ${script}\n`, noCache: true });

describe("a daemon with limits", () => {
    it("holds them, its build steps too; ends what takes more; changes and loses them; leaves no group", async () => {
        const first = await inputs({ memory: "256 MiB", cpus: 0.5 });
        let state = (await operations.create(first)).outs;
        try {
            const self = readFileSync(`/proc/${state.pid}/cgroup`, "utf8");
            ours = /buildfleet-[0-9a-f]{16}\.scope/.exec(self)?.[0] ?? "";
            expect(groups()).toHaveLength(1);
            const endpoint = `tcp://${state.address}`;
            await registerBuilder({ name: "limited", platform, endpoint, serverName: NODE, tls: client });
            await take(16);
            await expect(take(300)).rejects.toThrow(/137|Killed|cannot allocate/);
            expect(isAlive(state)).toBe(true);
            expect(cpuTime()).toMatch(/^50000( 100000)?$/);
            await step("i=0; while [ $i -lt 300000 ]; do i=$((i+1)); done");
            const stat = readFileSync(join(controller("cpu"), ours, "cpu.stat"), "utf8");
            expect(Number(/^nr_throttled (\d+)$/m.exec(stat)?.[1])).toBeGreaterThan(0);
            expect(await operations.diff("", state, first)).toMatchObject({ changes: false });

            const more = await inputs({ memory: "1 GiB" });
            expect(await operations.diff("", state, more)).toMatchObject({ changes: true, replaces: [] });
            state = (await operations.update("", state, more)).outs;
            await take(300);
            expect(cpuTime()).toMatch(/^(-1|max 100000)$/);

            const none = await inputs();
            expect(await operations.diff("", state, none)).toMatchObject({ changes: true, replaces: [] });
            state = (await operations.update("", state, none)).outs;
            expect(readFileSync(`/proc/${state.pid}/cgroup`, "utf8")).not.toContain(ours);
        } finally {
            await operations.delete("", state);
        }
        expect(groups()).toEqual([]);
    });

    it("leaves no process behind that outlived it", async () => {
        const group = "buildfleet-0123456789abcdef.scope";
        const [shell = "", ...words] = limitedCommand(group, { memory: 64 * MIB });
        const child = spawn(shell, [...words, "tail", "-f", "/dev/null"], { stdio: "inherit" });
        const ended = once(child, "exit");
        const cgroup = () => readFileSync(`/proc/${child.pid}/cgroup`, "utf8");
        await expect.poll(cgroup, { timeout: 20_000 }).toContain(group);
        await removeGroup(group);
        expect(await ended).toEqual([null, "SIGKILL"]);
        expect(existsSync(join(controller("memory"), group))).toBe(false);
    });

    it("is refused where the kernel does not take them, and nothing is left", async () => {
        await expect(operations.create({ ...(await inputs()), limits: { cpus: 0.001 } })).rejects.toThrow(
            /buildkitd ended .*no limits: \/sys\/fs\/cgroup\/\S+ can't be written/s,
        );
        expect(existsSync(join(controller("cpu"), ours))).toBe(false);
    });

    it("is refused on a machine without control groups, and does not run", () => {
        const [shell = "", ...words] = limitedCommand("buildfleet-none.scope", { memory: 256 * MIB });
        const hidden = 'mount -t tmpfs tmpfs /sys/fs/cgroup; exec "$0" "$@"';
        const ran = join(root, "ran");
        const command = ["--mount", "bash", "-euc", hidden, shell, ...words, "touch", ran];
        const { status, stderr } = spawnSync("/usr/bin/unshare", command, { encoding: "utf8" });
        expect({ status, stderr }).toEqual({
            status: 1,
            stderr: "no limits: there is no /sys/fs/cgroup/memory: no control groups for memory\n",
        });
        expect(existsSync(ran)).toBe(false);
    });

    it("is given its limits by systemd where there is one, and refused where that one takes them and does not hold them", async () => {
        const host = await new BareHost().open(await freePort());
        const [shell = "", script = "", ...words] = limitedCommand("buildfleet-none.scope", { memory: 256 * MIB });
        // This machine's /tmp, where a checkout may be, is not the host's.
        const limited = (...command: string[]) => host.run(shell, "/opt/enter.sh", ...words, ...command);
        try {
            await host.shell(`cat >/opt/enter.sh <<'END_OF_SCRIPT'\n${readFileSync(script, "utf8")}END_OF_SCRIPT\n`);
            expect(await limited("cat", "/proc/self/cgroup")).toMatchObject({
                code: 0,
                stdout: expect.stringContaining("/buildfleet-none.scope"),
            });
            // From here on its systemd reaches no controller; it says nothing of that.
            await host.shell("umount --lazy /sys/fs/cgroup/memory");
            expect(await limited("touch", "/tmp/ran")).toMatchObject({
                code: 1,
                stderr: "no limits: this machine's control groups have no controller for memory\n",
            });
            expect(await host.shell("ls /tmp")).not.toContain("ran");
        } finally {
            await host.close();
        }
    });
});
