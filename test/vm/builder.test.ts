import { mkdirSync, mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { setTimeout as wait } from "node:timers/promises";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { METRICS } from "../../core/host";
import { probe } from "../../drivers/buildkit";
import { RegistryClient } from "../../drivers/registry/index";
import { createAuthority } from "../../drivers/x509";
import { operations } from "../../resources/buildx-builder/operations";
import { machineArchitecture } from "../../tools/vm/recipe.mjs";
import { BuilderMachine } from "../support/vm/builder";
import { type Build, Gate, startBuild } from "../support/vm/builds";

// One machine, booted twice with the user data of an Ec2Fleet's node: the tests go on from each other, in this order.

const architecture = machineArchitecture();
const platform = `linux/${architecture}`;
/** Emulated, on a machine that has other work: what takes 20 s on EC2 takes minutes. */
const READY_SECONDS = architecture === "arm64" ? 480 : 300;
const timing = { pollSeconds: 10, stopAfterSeconds: 3_600, metricsSeconds: 20, drainSeconds: 300 };

let builder: BuilderMachine;
let folder: string;
let origin: string;
let store: string | undefined;
let client: Awaited<ReturnType<BuilderMachine["client"]>>;
let asked = 0;
let firstDigest: string;
const gates = new Map<string, Gate>();

beforeAll(async () => {
    folder = mkdtempSync(join(tmpdir(), "buildfleet-vm-test-"));
    store = process.env.BUILDX_CONFIG;
    process.env.BUILDX_CONFIG = join(folder, "buildx");
    mkdirSync(process.env.BUILDX_CONFIG);
    builder = await BuilderMachine.create({ architecture, timing });
    client = await builder.client();
    origin = await builder.network.serve((request, response) => {
        const gate = gates.get(request.url ?? "");
        if (gate) return gate.handle(response);
        if (request.url === "/asked") asked++;
        response.end("here\n");
    });
});
afterAll(async () => {
    await builder?.dispose();
    if (store === undefined) delete process.env.BUILDX_CONFIG;
    else process.env.BUILDX_CONFIG = store;
    rmSync(folder, { recursive: true, force: true });
});

const answer = (tls = client, timeoutMs = 10_000) =>
    probe({ endpoint: builder.endpoint, tls: { ...tls, serverName: architecture } }, timeoutMs);

/** Starts the machine and waits until BuildKit lets a client in. */
async function boot(): Promise<void> {
    builder.machine.start();
    await builder.machine.waitFor(/buildfleet: phase=answering/, READY_SECONDS);
    await answer(client, 30_000);
}

const build = (tag: string, steps: string[][]): Build =>
    startBuild({ builder: "app", architecture, folder, tag: `${builder.registry.registry}/app:${tag}`, steps });

/** A build that runs until its gate opens. */
async function running(name: string): Promise<{ gate: Gate; build: Build }> {
    const gate = new Gate();
    gates.set(`/${name}`, gate);
    const started = build(name, [["wait", `${origin}/${name}`]]);
    // A build that fails would never come to the gate.
    await Promise.race([gate.entered, started.result.then(() => Promise.reject(new Error("it did not wait")))]);
    return { gate, build: started };
}

const firstBuild = () =>
    build("first", [
        ["get", `${origin}/asked`],
        ["metadata", "http://169.254.169.254/latest/api/token"],
    ]);

describe("the first boot", () => {
    test("BuildKit answers over mutual TLS, and only so", async () => {
        await boot();
        const info = await answer();
        expect(info).toMatchObject({ nativePlatform: platform, version: `v${builder.settings.buildkit.version}` });
        const stranger = await builder.client(await createAuthority({ name: "strangers", days: 2 }));
        await expect(answer(stranger)).rejects.toThrow();
        await expect(probe({ endpoint: builder.endpoint })).rejects.toThrow();
        // And the client, too, looks whom it talks to.
        const { certificate } = await createAuthority({ name: "others", days: 2 });
        await expect(answer({ ...client, ca: certificate })).rejects.toThrow(/certificate/);
    });

    test("a fleet's BuildxBuilder registers it, an image is built on it and pushed to a registry", async () => {
        const nodes = [
            { name: architecture, endpoint: builder.endpoint, platforms: [platform], serverName: architecture },
        ];
        const { outs } = await operations.create({
            ...{ name: "app", platform, emulation: "refuse", placementKey: "app" },
            ...{ nodes, client },
        });
        expect(outs).toMatchObject({ nodeName: architecture, nativePlatform: platform, emulated: false });
        const { digest, log } = await firstBuild().result;
        firstDigest = digest;
        expect(asked).toBe(1);
        expect(log).toMatch(/not reached: .*(refused|unreachable|prohibited)/);
        const registry = new RegistryClient({ registry: builder.registry.registry, plainHttp: true });
        try {
            expect((await registry.headManifest("app", "first"))?.digest).toBe(digest);
        } finally {
            await registry.close();
        }
    });

    test("the machine itself reaches the metadata that build steps do not", async () => {
        const get = `curl -sf -m 10 -X PUT -H "X-aws-ec2-metadata-token-ttl-seconds: 60" http://169.254.169.254/latest/api/token`;
        expect(await builder.machine.shell(get)).toMatch(/^[\w-]{20,}$/);
    });

    test("user data that runs a second time changes nothing", async () => {
        const state = () =>
            builder.machine.shell(`
                find /etc/buildfleet /etc/systemd/system /opt/buildfleet /usr/local/libexec/buildfleet \\
                    -path '*/.*' -prune -o -type f -printf '%p %m %s ' -exec sha256sum {} \\; -o -printf '%p %m %l\\n'
                systemctl show --property=MainPID,NRestarts,ActiveEnterTimestamp buildkitd.service
                systemctl list-units --failed --plain --no-legend
                blkid -s UUID -o value /dev/nvme0n1
                findmnt --noheadings /var/lib/buildkit
                iptables-save | grep -v '^[#:]' | sort`);
        // The first run has ended.
        for (const unit of ["cloud-final", "buildfleet-status"])
            await builder.machine.shell(`until systemctl --quiet is-active ${unit}; do sleep 1; done`, 180_000);
        const before = await state();
        // All of cloud-init that user data of ours has a part in; its other modules would be the distribution's again.
        const modules = ["bootcmd", "write_files", "runcmd", "scripts_user"];
        const again = modules.map((name) => `cloud-init single --name ${name} --frequency always`);
        await builder.machine.shell(["rm -r /var/lib/cloud/instance/sem", ...again].join(" && "), 600_000);
        expect(await state()).toBe(before);
        expect(before).toContain("/var/lib/buildkit");
        expect(before).not.toContain("failed");
        await answer();
    });

    test("a renewed certificate is taken over once the running build has ended", async () => {
        const old = await builder.shownFingerprint();
        const { gate, build } = await running("rotation");
        const { fingerprint } = await builder.issue();
        await until("new clients are refused", 180, () => builder.refuses());
        gate.open();
        await build.result;
        await until(
            "it answers again",
            180,
            async () => (await builder.shownFingerprint().catch(() => "")) === fingerprint,
        );
        expect(fingerprint).not.toBe(old);
        await answer(client, 30_000);
    });

    test("metrics arrive in CloudWatch's embedded format, and every request was signed and allowed", async () => {
        await until("metrics", 120, async () => (await builder.metrics().catch(() => [])).length > 0);
        const events = await builder.metrics();
        for (const event of events) expect(event).toEqual(embeddedMetrics(event));
        expect(events.map((event) => event[METRICS.buildkitAnswers])).toContain(1);
        expect(events.some((event) => Object.values(METRICS).every((name) => name in event))).toBe(true);
        expect(builder.front.requests.filter(({ refused }) => refused)).toEqual([]);
        expect(builder.front.passed("AmazonSSM.GetParameter").length).toBeGreaterThan(1);
    });

    test("tagged to drain, it ends its build first, and powers off", async () => {
        const { gate, build } = await running("drain");
        builder.metadata.tags["buildfleet:drain"] = "true";
        await until("new clients are refused", 120, () => builder.refuses());
        await stays();
        gate.open();
        await build.result;
        await builder.machine.poweredOff(180);
        delete builder.metadata.tags["buildfleet:drain"];
    });
});

describe("the machine that was stopped", () => {
    test("answers again on the same volume, and the same build is all cache hits", async () => {
        await boot();
        // It answers before cloud-init is through, which must not cost a running build its connections.
        const { gate, build } = await running("boot");
        const { digest, log } = await firstBuild().result;
        expect(digest).toBe(firstDigest);
        // The step itself would have asked again.
        expect(asked).toBe(1);
        // Each of its three; what it shares with the build that runs is told once more.
        expect(log.match(/^#\d+ CACHED/gm)?.length).toBeGreaterThanOrEqual(3);
        const journal = await builder.machine.shell("journalctl -u buildfleet-cache.service -o cat");
        expect(journal.match(/making a file system/g)).toHaveLength(1);
        await builder.machine.shell("until systemctl --quiet is-active cloud-init.service; do sleep 1; done", 180_000);
        gate.open();
        await build.result;
    });

    test("without builds it powers itself off, while one runs it does not", async () => {
        const { gate, build } = await running("idle");
        await builder.reconfigure({ idle: { stopAfterSeconds: 8 } });
        const looks = () =>
            builder.machine
                .shell("journalctl -b -u buildfleet-idle.service -o cat | grep -c Finished || true")
                .then(Number);
        await until("three looks", 120, async () => (await looks()) >= 3);
        await stays();
        gate.open();
        await build.result;
        await builder.machine.poweredOff(180);
        expect(builder.machine.console).toMatch(/powers off: no build for/);
    });
});

/** Nothing happens for so long that something would have. */
async function stays(): Promise<void> {
    await wait(8_000);
    expect(builder.machine.running).toBe(true);
}

async function until(what: string, seconds: number, holds: () => Promise<boolean>): Promise<void> {
    const deadline = Date.now() + seconds * 1000;
    while (!(await holds())) {
        if (Date.now() > deadline)
            throw new Error(`waited ${seconds} s for: ${what}; the console:\n${builder.machine.lastLines()}`);
        await wait(1_000);
    }
}

/** CloudWatch's "Specification: Embedded metric format": what an event declares as a metric is a member of it, a number. */
function embeddedMetrics(event: Record<string, unknown>): Record<string, unknown> {
    const units = {
        [METRICS.diskUsedPercent]: "Percent",
        [METRICS.cacheBytes]: "Bytes",
        [METRICS.buildsRunning]: "Count",
        [METRICS.certificateDaysLeft]: "Count",
        [METRICS.buildkitAnswers]: "Count",
    };
    const names = Object.keys(units).filter((name) => name in event);
    return {
        _aws: {
            Timestamp: expect.any(Number),
            CloudWatchMetrics: [
                {
                    Namespace: "Buildfleet",
                    Dimensions: [["Fleet", "Node"]],
                    Metrics: names.map((Name) => ({ Name, Unit: units[Name as keyof typeof units] })),
                },
            ],
        },
        Fleet: builder.settings.fleet,
        Node: architecture,
        ...Object.fromEntries(names.map((name) => [name, expect.any(Number)])),
    };
}
