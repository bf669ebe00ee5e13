import type { RequestListener, ServerResponse } from "node:http";
import { afterAll, beforeAll, beforeEach, describe, expect, it, vi } from "vitest";
import { findTool } from "../../drivers/tools";
import { createAuthority, issueCertificate } from "../../drivers/x509";
import { HostRoom } from "./host-room";
import { hostSettings } from "./host-settings";

// A real BuildKit, started with the rendered buildkitd.toml (mutual TLS, CNI bridge), and real builds over TCP.

const BIN = "/opt/buildfleet/buildkit/current/bin";
const PORT = 8372;
let room: HostRoom;
let daemon: ReturnType<HostRoom["run"]>;
/** Answers to what builds are downloading, held until a test says so. */
const held: ServerResponse[] = [];
const serve: RequestListener = (_request, response) => void held.push(response);

const sh = async (command: string) => room.run("bash", "--norc", "-c", command);

beforeAll(async () => {
    room = await new HostRoom().open(() => serve);
    const programs = Object.entries({
        ...{ buildkitd: findTool("buildkitd"), buildctl: findTool("buildctl"), "buildkit-runc": findTool("runc") },
        ...Object.fromEntries(
            ["bridge", "loopback", "host-local", "firewall"].map((name) => [
                `buildkit-cni-${name}`,
                `/usr/lib/cni/${name}`,
            ]),
        ),
    });
    await sh(`mkdir -p ${BIN}; ${programs.map(([name, path]) => `ln -s ${path} ${BIN}/${name}`).join(";")}`);
    const authority = await createAuthority({ name: "builders", days: 10 });
    const server = await issueCertificate({
        authority,
        commonName: "arm64",
        usage: "server",
        days: 5,
        dnsNames: ["arm64"],
    });
    const client = await issueCertificate({ authority, commonName: "runner", usage: "client", days: 5 });
    for (const [name, content] of Object.entries({
        ...{ "key.pem": server.privateKey, "cert.pem": server.certificate, "ca.pem": authority.certificate },
        ...{ "client-key.pem": client.privateKey, "client.pem": client.certificate },
    })) {
        room.write(`/etc/buildfleet/tls/1/${name}`, content);
    }
    await sh("ln -s 1 /etc/buildfleet/tls/current");
    room.write("/build/Dockerfile", "FROM scratch\nARG NAME\nADD http://127.0.0.1/$NAME /\n");
    room.write("/usr/bin/systemctl", '#!/bin/sh\necho "$@" >>/run/systemctl\n', 0o755);
    await startDaemon();
});

afterAll(() => room?.close());

beforeEach(() => {
    room.install(hostSettings());
    return async () => {
        for (const response of held.splice(0)) response.end();
        await sh("rm -rf /run/buildfleet/refusing /run/systemctl; iptables --flush INPUT; ip6tables --flush INPUT");
    };
});

async function startDaemon(): Promise<void> {
    room.install(hostSettings());
    expect((await room.script("drain.sh", "start")).code).toBe(0);
    // In the background of a shell: nsenter would stop with a process that is stopped, and never see it end.
    daemon = sh(`PATH=${BIN}:$PATH; buildkitd --config /etc/buildfleet/buildkitd.toml & wait`);
    await vi.waitFor(async () => expect((await sh(`${local.join(" ")} debug workers`)).code).toBe(0), 20_000);
}

/** What systemd does: ExecStop with the main process's id. */
async function stopDaemon() {
    const pid = (await sh("pidof buildkitd")).stdout.trim();
    const stop = await sh(`MAINPID=${pid} /usr/local/libexec/buildfleet/drain.sh stop`);
    await daemon;
    return stop;
}

const client = [
    ...[`${BIN}/buildctl`, "--addr", `tcp://127.0.0.1:${PORT}`, "--tlsservername", "arm64"],
    ...["--tlscacert", "/etc/buildfleet/tls/1/ca.pem", "--tlscert", "/etc/buildfleet/tls/1/client.pem"],
    ...["--tlskey", "/etc/buildfleet/tls/1/client-key.pem"],
];

const local = [`${BIN}/buildctl`, "--addr", "unix:///run/buildkit/buildkitd.sock"];

/** A build that runs until {@link held} is answered; resolves once it does run. */
async function startBuild(
    name: string,
    through = client,
): Promise<{ done: ReturnType<HostRoom["run"]>; finish: () => void }> {
    const before = held.length;
    const context = ["--local", "context=/build", "--local", "dockerfile=/build"];
    const build = ["build", "--frontend", "dockerfile.v0", "--opt", `build-arg:NAME=${name}`, ...context];
    const [command = "", ...args] = [...through, ...build];
    const done = room.run(command, ...args);
    await expect.poll(() => held.length, { timeout: 20_000 }).toBeGreaterThan(before);
    return { done, finish: () => void held.splice(0).map((response) => response.end("content")) };
}

const connects = async () =>
    (await room.run(client[0] ?? "", ...client.slice(1), "--timeout", "3", "debug", "workers")).code === 0;
const running = async () => (await sh(". /usr/local/libexec/buildfleet/lib.sh; builds_running")).stdout.trim();
const poweredOff = async () => (await sh("cat /run/systemctl 2>/dev/null")).stdout.includes("poweroff");

describe("a drain", () => {
    it("refuses new clients at once and lets the running build end", async () => {
        const build = await startBuild("first");
        expect(await running()).toBe("1");
        const drain = room.script("drain.sh", "try", "rotation");
        await expect.poll(connects, { timeout: 20_000 }).toBe(false);
        // Nothing but the build keeps it waiting.
        expect(await Promise.race([drain.then(() => "over"), build.done.then(() => "build"), connects()])).toBe(false);
        build.finish();
        expect(await build.done).toMatchObject({ code: 0 });
        expect(await drain).toMatchObject({ code: 0 });
        expect(await connects()).toBe(false);
        expect((await room.script("drain.sh", "admit", "rotation")).code).toBe(0);
        expect(await connects()).toBe(true);
        expect(await running()).toBe("0");
    });

    it("goes on waiting while BuildKit is too busy to answer", async () => {
        room.install(hostSettings({ drainTimeoutSeconds: 300 }));
        const build = await startBuild("slow", local);
        const pid = (await sh("pidof buildkitd")).stdout.trim();
        await sh(`kill -STOP ${pid}`);
        const drain = room.start("/usr/local/libexec/buildfleet/drain.sh", "try", "rotation");
        await drain.says(/takes long to answer/);
        await sh(`kill -CONT ${pid}`);
        await drain.says(/waiting for 1 running build/);
        build.finish();
        expect(await build.done).toMatchObject({ code: 0 });
        expect(await drain.ended).toMatchObject({ code: 0 });
    });

    it("gives up what can wait when a build outlasts it: everybody is let in again and the build goes on", async () => {
        room.install(hostSettings({ drainTimeoutSeconds: 2 }));
        // Without a connection that could be waited for instead of the build.
        const build = await startBuild("second", local);
        expect(await room.script("drain.sh", "try", "rotation")).toMatchObject({ code: 1 });
        expect(await connects()).toBe(true);
        expect(await running()).toBe("1");
        build.finish();
        expect(await build.done).toMatchObject({ code: 0 });
    });

    it("refuses over IPv4 and IPv6, also when a rule of one of them got lost", async () => {
        const rules = async () =>
            (await sh("iptables -S INPUT; ip6tables -S INPUT")).stdout.match(/--dport 8372/g)?.length ?? 0;
        await room.script("drain.sh", "refuse", "rotation");
        await room.run("iptables", "--flush", "INPUT");
        await room.script("drain.sh", "refuse", "rotation");
        expect(await rules()).toBe(2);
        await room.script("drain.sh", "admit", "rotation");
        expect(await rules()).toBe(0);
    });

    it("of one reason does not end with another's", async () => {
        await room.script("drain.sh", "refuse", "power-off");
        await room.script("drain.sh", "refuse", "rotation");
        await room.script("drain.sh", "admit", "rotation");
        expect(await connects()).toBe(false);
        // A BuildKit that starts again meanwhile does not take builds either.
        await room.script("drain.sh", "start");
        expect(await connects()).toBe(false);
        await room.script("drain.sh", "admit", "power-off");
        expect(await connects()).toBe(true);
    });
});

describe("idle.sh", () => {
    it("powers off after so long without a build, the last one included", async () => {
        room.install(hostSettings({ idle: { stopAfterSeconds: 3600 } }));
        const build = await startBuild("fourth");
        build.finish();
        await build.done;
        const { stdout } = await sh(". /usr/local/libexec/buildfleet/lib.sh; builds");
        expect(stdout).toMatch(/^COMPLETE \d{10}$/m);
        expect(await room.script("idle.sh")).toMatchObject({ code: 0 });
        expect(await poweredOff()).toBe(false);
        expect(await connects()).toBe(true);
        room.install(hostSettings({ idle: { stopAfterSeconds: 1 } }));
        await expect
            .poll(async () => (await room.script("idle.sh")).stderr, { timeout: 20_000 })
            .toMatch(/powering off: no build for \d+ s/);
        expect(await poweredOff()).toBe(true);
        expect(await connects()).toBe(false);
    });

    it("never powers off while a build runs, however long", async () => {
        room.install(hostSettings({ idle: { stopAfterSeconds: 1 } }));
        const build = await startBuild("fifth");
        expect(await room.script("idle.sh")).toMatchObject({ code: 0, stderr: "" });
        expect(await poweredOff()).toBe(false);
        build.finish();
        expect(await build.done).toMatchObject({ code: 0 });
    });

    it("fails rather than powers off when BuildKit does not say what it does", async () => {
        room.install(hostSettings({ idle: { stopAfterSeconds: 1 } }));
        await sh("mv /run/buildkit/buildkitd.sock /run/buildkit/away");
        const run = await room.script("idle.sh");
        await sh("mv /run/buildkit/away /run/buildkit/buildkitd.sock");
        expect(run.code).toBe(1);
        expect(run.stderr).toContain("FAILED: BuildKit does not say what it builds");
        expect(await poweredOff()).toBe(false);
    });
});

describe("prune.sh", () => {
    it("prunes only when the disk is fuller than it may be", async () => {
        room.install(hostSettings({ pruneAbovePercent: 99 }));
        expect(await room.script("prune.sh")).toMatchObject({ code: 0, stderr: "" });
        const build = await startBuild("sixth");
        build.finish();
        await build.done;
        const cached = async () => (await sh(`${BIN}/buildctl du --verbose`)).stdout.includes("sixth");
        expect(await cached()).toBe(true);
        room.install(hostSettings({ pruneAbovePercent: 1 }));
        const run = await room.script("prune.sh");
        expect(run).toMatchObject({ code: 0 });
        expect(run.stderr).toMatch(/the disk is \d+ % full, more than 1 %: pruning until \d+ MB are free/);
        expect(await cached()).toBe(false);
    });
});

describe("firewall.sh", () => {
    /** A build step's place in the network, and the metadata service beyond this machine, as on EC2. */
    const NETWORK = `
        set -e
        ip address delete 169.254.169.254/32 dev lo
        ip netns add metadata
        ip link add uplink type veth peer name eth0 netns metadata
        ip address add 169.254.169.1/24 dev uplink
        ip link set uplink up
        ip -n metadata address add 169.254.169.254/24 dev eth0
        ip -n metadata address add 169.254.169.253/24 dev eth0
        ip -n metadata link set lo up
        ip -n metadata link set eth0 up
        ip -n metadata route add 10.201.0.0/16 via 169.254.169.1
        ip netns add step
        ip link add stepside type veth peer name eth0 netns step
        ip link set stepside master buildfleet0 up
        ip -n step address add 10.201.200.2/16 dev eth0
        ip -n step link set eth0 up
        ip -n step route add default via 10.201.0.1
        mkdir -p /served
        (cd /served && exec setsid ip netns exec metadata python3 -m http.server 80 >/dev/null 2>&1) &
        until ip netns exec metadata curl --silent --max-time 1 http://127.0.0.1/ >/dev/null; do sleep 0.1; done`;
    /** curl's exit code, in a build step: 0 reached, 7 refused, 28 no answer. */
    const reach = async (address: string) =>
        (await room.run("ip", "netns", "exec", "step", "curl", "--silent", "--max-time", "2", `http://${address}/`))
            .code;

    beforeAll(async () => {
        const network = await sh(NETWORK);
        expect(network.code, network.stderr).toBe(0);
    });

    it("keeps build steps from the metadata service, twice, and from nothing else", async () => {
        expect(await reach("169.254.169.254")).toBe(0);
        expect(await room.script("firewall.sh")).toMatchObject({ code: 0 });
        expect(await reach("169.254.169.254")).toBe(7);
        expect(await reach("169.254.169.253")).toBe(0);
        await sh("iptables --flush CNI-ADMIN");
        expect(await reach("169.254.169.254")).toBe(28);
        await room.script("firewall.sh");
        expect(await reach("169.254.169.254")).toBe(7);
    });

    it("adds nothing the second time, and stays when BuildKit's network starts again", async () => {
        const rules = async () =>
            (await sh("for t in filter mangle; do iptables -t $t -S; ip6tables -t $t -S; done")).stdout;
        const own = (text: string) => text.split("\n").filter((line) => /169\.254|fd00/.test(line));
        await room.script("firewall.sh");
        const before = await rules();
        await room.script("firewall.sh");
        expect(await rules()).toBe(before);
        expect(own(before)).toEqual([
            "-A CNI-ADMIN -d 169.254.169.254/32 -i buildfleet0 -j REJECT --reject-with icmp-port-unreachable",
            "-A POSTROUTING -s 10.201.0.0/16 -d 169.254.169.254/32 -j DROP",
            "-A FORWARD -d fd00:ec2::254/128 -i buildfleet0 -j DROP",
        ]);
        await stopDaemon();
        await startDaemon();
        // The bridge is a new one.
        await sh("ip link set stepside master buildfleet0 up");
        expect(own(await rules())).toEqual(own(before));
        expect(await reach("169.254.169.254")).toBe(7);
    });
});

describe("buildkitd", () => {
    it("lets in nobody who has no certificate", async () => {
        const plain = await room.run(
            `${BIN}/buildctl`,
            "--addr",
            `tcp://127.0.0.1:${PORT}`,
            "--timeout",
            "3",
            "debug",
            "workers",
        );
        expect(plain.code).not.toBe(0);
        const [command = "", ...rest] = client.filter((word) => !/^--tls(cert|key)$|client/.test(word));
        const nameless = await room.run(command, ...rest, "--timeout", "3", "debug", "workers");
        expect(nameless.code).not.toBe(0);
        // The very same with its certificate: it is that which was missing.
        expect(await connects()).toBe(true);
    });

    it("ends at once when it is told to, though a client keeps its connection", async () => {
        const build = await startBuild("seventh");
        room.install(hostSettings({ drainTimeoutSeconds: 1 }));
        const stop = await stopDaemon();
        expect(stop).toMatchObject({ code: 0 });
        expect(stop.stderr).toContain("ending builds that ran longer than 1 s");
        expect((await build.done).code).not.toBe(0);
        await startDaemon();
        expect(await connects()).toBe(true);
    });

    it("is killed when it does not end by itself", async () => {
        const script = "(trap '' TERM; echo ready >&2; while :; do sleep 1; done) & echo $! >/run/deaf; wait $!";
        const deaf = room.start("bash", "--norc", "-c", script);
        await deaf.says(/ready/);
        const pid = (await sh("cat /run/deaf")).stdout.trim();
        const stop = await sh(`MAINPID=${pid} /usr/local/libexec/buildfleet/drain.sh stop`);
        expect(stop.code, stop.stderr).toBe(0);
        expect((await deaf.ended).code).toBe(137);
    });
});
