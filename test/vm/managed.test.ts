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
import { type RunningRegistry, startRegistry } from "../support/registry";
import { BareMachine, file } from "../support/vm/bare";
import { type Build, Gate, startBuild } from "../support/vm/builds";

// A machine with a kernel of its own, from bare to bare; all that can go wrong on the way is in test/resources/managed-host.test.ts.

const architecture = machineArchitecture();
const isOwn = architecture === hostArchitecture();
if (!isOwn)
    console.log(`skipped: the SSH server of the bare machine is this machine's, which is no ${architecture} one`);

let bare: BareMachine;
let registry: RunningRegistry;
let authority: Authority;
let client: { ca: string; certificate: string; privateKey: string };
let folder: string;
let origin: string;
let inputs: Inputs;
let state: Awaited<ReturnType<typeof operations.create>>["outs"];
let before: string;
const gates = new Map<string, Gate>();
const store = process.env.BUILDX_CONFIG;

describe.skipIf(!isOwn)("a bare machine", () => {
    beforeAll(async () => {
        folder = mkdtempSync(join(tmpdir(), "buildfleet-vm-test-"));
        process.env.BUILDX_CONFIG = join(folder, "buildx");
        mkdirSync(process.env.BUILDX_CONFIG);
        const artifact = await readArtifact(architecture);
        if (!artifact) throw new Error("BuildKit's tarball is missing: npm run setup -- --tests");
        bare = await BareMachine.create(architecture, [BUILDKIT_PORT]);
        [registry, authority, origin] = await Promise.all([
            startRegistry({ address: `${bare.network.host}:0` }),
            createAuthority({ name: "builders", days: 30 }),
            bare.network.serve((request, response) => {
                const gate = gates.get(request.url ?? "");
                if (gate) gate.handle(response);
                else file(artifact.path)(request, response);
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
            settings: { ...inputs.settings, maxParallelism: 2 },
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

/** A build that runs until its gate opens. */
async function running(name: string): Promise<{ gate: Gate; build: Build }> {
    const gate = new Gate();
    gates.set(`/${name}`, gate);
    const build = startBuild({
        ...{ builder: "app", architecture, folder, tag: `${registry.registry}/app:${name}` },
        steps: [["wait", `${origin}/${name}`]],
    });
    await Promise.race([gate.entered, build.result.then(() => Promise.reject(new Error("it did not wait")))]);
    return { gate, build };
}

/** Files, units, devices, firewall, mounts, listeners and processes. */
const trace = () =>
    bare.machine.shell(
        `
        find / -xdev -not -path '/var/log/*' -not -path '/var/lib/systemd/*' -not -path '/var/cache/*' -not -path '/root/*' \\
            -not -path '/tmp/*' -not -path '/var/tmp/*' \\( -type f -printf '%p %m %s\\n' -o -printf '%p %m %y %l\\n' \\) | sort
        find /run -mindepth 1 -maxdepth 1 -printf '%p %m %y\\n' | sort
        systemctl list-units --all --plain --no-legend --no-pager --type=service,timer,slice,path,socket |
            awk '{ print $1, $2, $3 }' | grep -e buildkit -e buildfleet | sort
        systemctl list-unit-files --no-legend --no-pager --state=enabled | sort
        ip -brief link | awk '{ print $1 }' | sort
        for tables in iptables ip6tables; do for table in filter nat mangle; do
            $tables --wait --table $table --list-rules | sed "s/^/$tables $table /"
        done; done
        cat /proc/sys/net/ipv4/ip_forward
        awk '{ print $5 }' /proc/self/mountinfo | sort
        ss -H -l -t -n | awk '{ print $4 }' | sort
        ps -e -o comm= | grep -i -e buildkit -e runc | sort`,
        300_000,
    );
