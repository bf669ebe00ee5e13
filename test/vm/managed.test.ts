import { execFileSync } from "node:child_process";
import { mkdirSync, mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { setTimeout as wait } from "node:timers/promises";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { BUILDKIT_PORT } from "../../core/host";
import { probe } from "../../drivers/buildkit";
import { registerBuilder } from "../../drivers/buildx";
import { type Authority, createAuthority, issueCertificate } from "../../drivers/x509";
import { type Inputs, operations } from "../../resources/managed-host/operations";
import { hostArchitecture } from "../../tools/setup/context.mjs";
import { readArtifact } from "../../tools/vm/artifact.mjs";
import { machineArchitecture } from "../../tools/vm/recipe.mjs";
import { machineTrace } from "../support/machine-trace";
import { type RunningRegistry, startRegistry } from "../support/registry";
import { BareMachine, file } from "../support/vm/bare";
import { Gates, startBuild } from "../support/vm/builds";

// A machine with a kernel of its own, from bare to bare; all that can go wrong on the way is in test/resources/managed-host.test.ts.

const architecture = machineArchitecture();
const isOwn = architecture === hostArchitecture();
if (!isOwn)
    console.log(`skipped: the SSH server of the bare machine is this machine's, which is no ${architecture} one`);

/** The machine itself has more of both. */
const LIMITS = { memoryBytes: 400 * 2 ** 20, cpus: 0.5 };

/** What BuildKit says of a step that took too much memory; without root it does not see the step's control group. */
const KILLED = /ResourceExhausted: .* cannot allocate memory|exit code: 137|signal: killed|[Kk]illed/;
const ROOTLESS_PORT = 8373;

let bare: BareMachine;
let registry: RunningRegistry;
let authority: Authority;
let client: { ca: string; certificate: string; privateKey: string };
let folder: string;
let origin: string;
let inputs: Inputs;
let state: Awaited<ReturnType<typeof operations.create>>["outs"];
let before: string;
const gates = new Gates();
const store = process.env.BUILDX_CONFIG;

describe.skipIf(!isOwn)("a bare machine", () => {
    beforeAll(async () => {
        folder = mkdtempSync(join(tmpdir(), "buildfleet-vm-test-"));
        process.env.BUILDX_CONFIG = join(folder, "buildx");
        mkdirSync(process.env.BUILDX_CONFIG);
        const artifact = await readArtifact(architecture);
        if (!artifact) throw new Error("BuildKit's tarball is missing: npm run setup -- --tests");
        bare = await BareMachine.create(architecture, [BUILDKIT_PORT, ROOTLESS_PORT]);
        const programs = packPrograms(folder);
        [registry, authority, origin] = await Promise.all([
            startRegistry({ address: `${bare.network.host}:0` }),
            createAuthority({ name: "builders", days: 30 }),
            bare.network.serve((request, response) => {
                if (gates.handle(request.url ?? "", response)) return;
                file(request.url === "/programs.tar" ? programs : artifact.path)(request, response);
            }),
        ]);
        client = { ca: authority.certificate, ...(await issue("client")) };
        inputs = {
            ssh: bare.ssh,
            host: bare.ssh.host,
            owner: "tests/vm/room/x86-1",
            settings: {
                fleet: "room",
                node: "x86-1",
                architecture,
                buildkit: {
                    version: artifact.version,
                    artifact: { url: `${origin}/buildkit.tar.gz`, sha256: artifact.sha256 },
                },
                gc: { reservedSpace: "10%", maxUsedSpace: "60%", minFreeSpace: "5%" },
                pruneAbovePercent: 95,
                maxParallelism: 4,
                bridgeSubnet: "10.199.0.0/16",
                drainTimeoutSeconds: 120,
            },
            tls: await serverCertificate(),
            registries: { [registry.registry]: { http: true } },
        };
        await bare.boot(300);
        // What boots are made of has ended.
        await bare.machine.shell("systemctl is-system-running --wait || true", 180_000);
        await bare.machine.shell(`curl --fail --silent ${origin}/programs.tar | tar --extract --skip-old-files -C /`);
        before = await trace();
    }, 600_000);
    afterAll(async () => {
        await bare?.dispose();
        await registry?.stop();
        if (store === undefined) delete process.env.BUILDX_CONFIG;
        else process.env.BUILDX_CONFIG = store;
        rmSync(folder, { recursive: true, force: true });
    });

    test("is set up over SSH, and builds for who has the fleet's certificate", async () => {
        ({ outs: state } = await operations.create(inputs));
        expect(await answer()).toMatchObject({ nativePlatform: `linux/${architecture}` });
        await expect(probe({ endpoint: endpoint() }, 5_000)).rejects.toThrow();
        const registration = { name: "app", platform: `linux/${architecture}`, serverName: "x86-1", tls: client };
        await registerBuilder({ ...registration, endpoint: endpoint() });
        const { gate, build } = await running("first");
        gate.open();
        expect((await build.result).digest).toMatch(/^sha256:/);
        expect(await operations.diff("", state, inputs)).toMatchObject({ changes: false });
    });

    test("is changed once its build has ended, and loses none", async () => {
        const { gate, build } = await running("change");
        inputs = {
            ...inputs,
            settings: { ...inputs.settings, maxParallelism: 2, limits: LIMITS },
            tls: await serverCertificate(),
        };
        expect(await operations.diff("", state, inputs)).toMatchObject({ changes: true });
        const update = operations.update("", state, inputs);
        while (await answer().catch(() => undefined)) await wait(500);
        gate.open();
        await build.result;
        state = (await update).outs;
        await answer();
        expect(await bare.machine.shell("cat /etc/buildfleet/buildkitd.toml")).toContain("max-parallelism = 2");
    });

    test("takes no more memory and processor than it is to, build steps included", async () => {
        const { gate, build } = await running("limits");
        const groups = await bare.machine.shell("cat /proc/$(pgrep -x step)/cgroup /proc/$(pgrep -x buildkitd)/cgroup");
        expect(groups.trim().split("\n")).toEqual([
            expect.stringMatching(/^0::\/buildfleet\.slice\/buildkit\/\w+$/),
            expect.stringMatching(/^0::\/buildfleet\.slice\/buildkitd\.service\b/),
        ]);
        gate.open();
        await build.result;
        const slice = (file: string) => bare.machine.shell(`cat /sys/fs/cgroup/buildfleet.slice/${file}`);
        expect((await slice("memory.max")).trim()).toBe(`${LIMITS.memoryBytes}`);
        expect((await slice("memory.swap.max")).trim()).toBe("0");
        expect((await slice("cpu.max")).trim()).toBe("50000 100000");
        const pid = await bare.machine.shell("pgrep -x buildkitd");
        // The step ends, not BuildKit.
        await expect(fill(600)).rejects.toThrow(KILLED);
        expect(await slice("memory.events")).toMatch(/^oom_kill [1-9]/m);
        expect(await slice("cpu.stat")).toMatch(/^nr_throttled [1-9]/m);
        expect(await bare.machine.shell("pgrep -x buildkitd")).toBe(pid);
        expect((await fill(100)).log).toContain("filled 100 MiB");
    });

    test("has a second builder, without root, in namespaces and control groups of the machine's own kernel", async () => {
        const { settings } = inputs;
        const less: Inputs = {
            ...{ ...inputs, owner: "tests/vm/room/less" },
            settings: { ...settings, instance: "less", port: ROOTLESS_PORT, rootless: true },
        };
        const { outs } = await operations.create(less);
        expect(await operations.diff("", outs, less)).toMatchObject({ changes: false });
        const registration = { name: "less", platform: `linux/${architecture}`, serverName: "x86-1", tls: client };
        await registerBuilder({ ...registration, endpoint: `tcp://${bare.network.guest}:${ROOTLESS_PORT}` });
        const { gate, build } = await gates.running("less", origin, { ...request("less"), builder: "less" });
        const user = "$(id -u buildfleet_less)";
        expect(await bare.machine.shell(`ps -o comm= -p $(pgrep -x -d, -u ${user} 'buildkitd|step') | sort`)).toBe(
            "buildkitd\nstep\n",
        );
        expect(await bare.machine.shell(`cat /proc/$(pgrep -x step)/cgroup`)).toMatch(
            /^0::\/buildfleet_less\.slice\/buildkitd_less\.service/,
        );
        gate.open();
        await build.result;
        const filled = startBuild({ ...request("less-fill"), builder: "less", steps: [["fill", "600"]] });
        await expect(filled.result).rejects.toThrow(KILLED);
        await operations.delete("", outs);
        expect(await bare.machine.shell("id buildfleet_less 2>&1 || true")).toContain("no such user");
        await answer();
    });

    test("is mended where somebody has changed it", async () => {
        await bare.machine.shell(
            "rm /usr/local/libexec/buildfleet/prune.sh; systemctl stop buildfleet-prune.timer; echo '# mine' >>/etc/buildfleet/buildkitd.toml",
        );
        expect(await operations.diff("", state, inputs)).toMatchObject({ changes: true });
        state = (await operations.update("", state, inputs)).outs;
        expect(await operations.diff("", state, inputs)).toMatchObject({ changes: false });
        await answer();
    });

    test("is bare again when it is given back", async () => {
        await operations.delete("", state);
        expect(await trace()).toBe(before);
    });
});

async function issue(usage: "client" | "server") {
    const dnsNames = usage === "server" ? ["x86-1"] : [];
    const { certificate, privateKey } = await issueCertificate({
        ...{ authority, commonName: "x86-1", usage, dnsNames, days: 30 },
    });
    return { certificate, privateKey };
}

const serverCertificate = async () => ({ ...(await issue("server")), ca: authority.certificate });
const endpoint = () => `tcp://${bare.network.guest}:${BUILDKIT_PORT}`;
const answer = () => probe({ endpoint: endpoint(), tls: { ...client, serverName: "x86-1" } }, 15_000);

const request = (name: string) =>
    ({ builder: "app", architecture, folder, tag: `${registry.registry}/app:${name}` }) as const;

/** A build that runs until its gate opens. */
const running = (name: string) => gates.running(name, origin, request(name));

/** A build whose step takes so many MiB. */
const fill = (size: number) => startBuild({ ...request(`fill-${size}`), steps: [["fill", `${size}`]] }).result;

/** What a host needs for a builder without root: this machine's own programs, as its SSH server is, and their libraries. */
function packPrograms(folder: string): string {
    const programs = ["rootlesskit", "slirp4netns", "newuidmap", "newgidmap"].map((name) => `/usr/bin/${name}`);
    const libraries = programs.flatMap((path) =>
        [...execFileSync("ldd", [path], { encoding: "utf8" }).matchAll(/=> (\/\S+)/g)].map((match) => match[1] ?? ""),
    );
    const archive = join(folder, "programs.tar");
    execFileSync("tar", ["--create", "--file", archive, "--dereference", "-P", ...programs, ...new Set(libraries)]);
    return archive;
}

/** Files, units, devices, firewall, mounts, listeners and processes. */
const trace = () =>
    bare.machine.shell(
        `
        find / -xdev -not -path '/var/log/*' -not -path '/var/lib/systemd/*' -not -path '/var/cache/*' -not -path '/root/*' \\
            -not -path '/tmp/*' -not -path '/var/tmp/*' -not -path '/etc/*-' -not -path /etc/.pwd.lock \\
            -not -path '/var/backups/*' -not -path '/var/lib/logrotate/*' \\
            \\( -type f -printf '%p %m %s\\n' -o -printf '%p %m %y %l\\n' \\) | sort
        ${machineTrace("-e buildkit -e buildfleet")}
        ps -e -o comm= | { grep -i -e buildkit -e runc || true; } | sort`,
        300_000,
    );
