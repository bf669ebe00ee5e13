import { execFileSync } from "node:child_process";
import { join } from "node:path";
import { setTimeout as wait } from "node:timers/promises";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { probe } from "../../drivers/buildkit";
import { listenToProgress } from "../../drivers/progress";
import { type Inputs, operations } from "../../resources/managed-host/operations";
import { kill } from "../support/kills";
import { ManagedRoom } from "../support/managed-room";
import type { SystemdRoom } from "../support/systemd-room";

// One machine from bare to bare: the tests go on from each other, in this order.

const machine = new ManagedRoom();
const { architecture } = machine;
let room: SystemdRoom;
let inputs: Inputs;
let state: Awaited<ReturnType<typeof operations.create>>["outs"];
let bare: string;

beforeAll(async () => {
    ({ room } = await machine.open());
    inputs = await machine.inputs("arm-1");
    room.shell(NEIGHBOURS);
    await wait(500);
    bare = room.trace();
}, 300_000);

afterAll(() => machine.close());

/**
 * What else runs on the machine, and is to be left alone: a registry of RegistryServer's names, a bridge, and an administrator's
 * rules that look much like those of a builder.
 */
const NEIGHBOURS = `
    set -e
    cd /etc/systemd/system
    printf '[Service]\\nExecStart=sleep infinity\\n[Install]\\nWantedBy=multi-user.target\\n' >buildfleet-registry-room.service
    printf '[Service]\\nExecStart=true\\n' >buildfleet-registry-room-gc.service
    printf '[Timer]\\nOnCalendar=yearly\\n[Install]\\nWantedBy=timers.target\\n' >buildfleet-registry-room-gc.timer
    mkdir -p buildfleet-registry-room.service.d other.service.d build.d/empty /etc/buildfleet-registry/room /run/buildfleet-registry
    echo mine >/etc/buildfleet-registry/room/config.yml
    systemctl daemon-reload
    systemctl --quiet enable --now buildfleet-registry-room.service buildfleet-registry-room-gc.timer
    ip link add neighbour type bridge
    iptables -A INPUT -s 10.0.0.0/8 -p tcp --dport 8372 -j ACCEPT
    iptables -A INPUT -s 203.0.113.0/24 -p tcp --dport 8372 --syn -j REJECT --reject-with tcp-reset
    iptables -t mangle -A OUTPUT -d 169.254.169.254 -j MARK --set-mark 7
    iptables -t mangle -A POSTROUTING -s 192.0.2.0/24 -d 169.254.169.254 -j DROP
    iptables -A FORWARD -i buildfleet01 -j ACCEPT
`;

/** What the network plugins leave of a build step that was killed together with BuildKit. */
const KILLED_STEP = `
    set -e
    touch /var/lib/cni/networks/buildkit/10.198.0.250
    iptables -A CNI-FORWARD -s 10.198.0.250/32 -j ACCEPT
    iptables -t nat -N CNI-0123456789abcdef01234567
    iptables -t nat -A CNI-0123456789abcdef01234567 -d 10.198.0.0/16 -j ACCEPT
    iptables -t nat -A POSTROUTING -s 10.198.0.250/32 -m comment --comment 'name: "buildkit" id: "killed"' \\
        -j CNI-0123456789abcdef01234567
`;

const answer = () => machine.answer(inputs);
const refusesNewBuilds = () => machine.refuses(inputs);
const running = (name: string) => machine.running("arm-1", name);
const serverCertificate = () => machine.serverCertificate("arm-1");

/** What the user is told while something runs. */
async function told<T>(work: () => Promise<T>): Promise<{ result: T; lines: string[] }> {
    const lines: string[] = [];
    const stop = listenToProgress((line) => lines.push(line));
    try {
        return { result: await work(), lines };
    } finally {
        stop();
    }
}

const mainPid = () => room.shell("systemctl show --property=MainPID buildkitd.service");
const changes = (wanted = inputs) => operations.diff("", state, wanted);

describe("what is refused", () => {
    const declined = async (change: Partial<Inputs>) => operations.create({ ...inputs, ...change });

    test("another architecture, an unknown key, a machine that is not there: one error each, nothing changed", async () => {
        const other = architecture === "amd64" ? "arm64" : "amd64";
        await expect(declined({ settings: { ...inputs.settings, architecture: other } })).rejects.toThrow(
            /is (x86_64|aarch64), and is declared as/,
        );
        const wrongKey = execFileSync("cat", [join(room.folder, "user.pub")], { encoding: "utf8" });
        await expect(declined({ ssh: { ...room.ssh, hostKey: wrongKey } })).rejects.toThrow(/hostKey is not the key/);
        await expect(declined({ ssh: { ...room.ssh, port: 23 } })).rejects.toThrow(/on and reached from here by SSH/);
        await expect(declined({ ssh: { ...room.ssh, user: "stranger" } })).rejects.toThrow(/does not let stranger in/);
        expect(room.trace()).toBe(bare);
    });

    test("a BuildKit of somebody else's, and an address that has no BuildKit", async () => {
        room.shell("mkdir /var/lib/buildkit");
        await expect(declined({})).rejects.toThrow(/somebody else's: \/var\/lib\/buildkit/);
        room.shell("rmdir /var/lib/buildkit");
        const { buildkit } = inputs.settings;
        const artifact = { ...buildkit.artifact, url: `${machine.origin}/nothing` };
        await expect(
            declined({ settings: { ...inputs.settings, buildkit: { ...buildkit, artifact } } }),
        ).rejects.toThrow(/does not get BuildKit from .*404.*nothing was changed/);
        expect(room.trace()).toBe(bare);
    });
});

describe("a bare machine", () => {
    test("becomes a builder that lets in only the fleet's clients, and builds", async () => {
        ({ outs: state } = await operations.create(inputs));
        expect(state.system).toMatch(/\w/);
        expect(await answer()).toMatchObject({ nativePlatform: `linux/${architecture}` });
        await expect(probe({ endpoint: machine.endpoint(inputs) }, 3_000)).rejects.toThrow();
        await machine.register(inputs);
        const { gate, build } = await running("first");
        gate.open();
        expect((await build.result).digest).toMatch(/^sha256:/);
        // Asked once whether it is there, and got once.
        expect(machine.downloads).toBe(2);
    });

    test("is as it should be: nothing to do, and its key is root's alone", async () => {
        expect(await changes()).toMatchObject({ changes: false });
        expect(room.shell("stat -Lc '%a %U' /etc/buildfleet/tls/current/key.pem")).toBe("600 root\n");
        const before = mainPid();
        state = (await operations.update("", state, inputs)).outs;
        expect(mainPid()).toBe(before);
    });
});

describe("a change", () => {
    test("of what BuildKit reads waits for the running build, turns new clients away, and loses nothing", async () => {
        const { gate, build } = await running("change");
        const wanted = {
            ...inputs,
            settings: { ...inputs.settings, maxParallelism: 2, bridgeSubnet: "10.198.0.0/16" },
            tls: await serverCertificate(),
        };
        expect(await changes(wanted)).toMatchObject({ changes: true, replaces: [] });
        const update = operations.update("", state, wanted);
        await refusesNewBuilds();
        gate.open();
        await build.result;
        state = (await update).outs;
        inputs = wanted;
        await answer();
        expect(room.shell("cat /etc/buildfleet/buildkitd.toml")).toContain("max-parallelism = 2");
        expect(room.shell("ls /etc/buildfleet/tls | wc -l")).toBe("2\n");
        // The rule for the network of before is gone with it; an administrator's is not.
        const shut = room.shell("iptables --table mangle --list-rules POSTROUTING");
        expect(shut.match(/-s \S+/g)?.sort()).toEqual(["-s 10.198.0.0/16", "-s 192.0.2.0/24"]);
        expect(await changes()).toMatchObject({ changes: false });
    });

    test("that a build outlasts is given up: the build goes on, all is as before", async () => {
        const { gate, build } = await running("long");
        const hasty = { ...inputs.settings, drainTimeoutSeconds: 3, maxParallelism: 3 };
        const before = room.shell("cat /etc/buildfleet/host.env /etc/buildfleet/buildkitd.toml");
        await expect(operations.update("", state, { ...inputs, settings: hasty })).rejects.toThrow(
            /ran longer than the drain's time-out: they go on/,
        );
        expect(room.shell("cat /etc/buildfleet/host.env /etc/buildfleet/buildkitd.toml")).toBe(before);
        await answer();
        gate.open();
        await build.result;
        expect(await changes()).toMatchObject({ changes: false });
    });

    test("goes on when the connection is cut, and the next update finds it done", async () => {
        const { gate, build } = await running("cut");
        const wanted = { ...inputs, settings: { ...inputs.settings, maxParallelism: 5 } };
        const update = operations.update("", state, wanted);
        const failed = expect(update).rejects.toThrow(/builder@/);
        await refusesNewBuilds();
        for (const pid of room.sshServers()) kill(pid);
        await failed;
        gate.open();
        await build.result;
        // It waits for what still runs there; then there is nothing left to do, and BuildKit is not started once more.
        room.shell("while systemctl -q is-active buildfleet-change; do sleep 0.2; done");
        const pid = mainPid();
        state = (await operations.update("", state, wanted)).outs;
        inputs = wanted;
        expect(mainPid()).toBe(pid);
        expect(await changes()).toMatchObject({ changes: false });
        await answer();
    });
});

describe("drift", () => {
    const harmed = async (harms: [harm: string, expected: RegExp][]) => {
        room.shell(harms.map(([harm]) => harm).join("\n"));
        const { result, lines } = await told(() => changes());
        expect(result).toMatchObject({ changes: true, replaces: [] });
        for (const [, expected] of harms) expect(lines.join("\n")).toMatch(expected);
        state = (await operations.update("", state, inputs)).outs;
        expect(await changes()).toMatchObject({ changes: false });
        await answer();
    };
    test("that BuildKit does not feel is seen and mended under its builds", async () => {
        const pid = mainPid();
        await harmed([
            ["rm /usr/local/libexec/buildfleet/prune.sh", /prune\.sh is missing/],
            ["chmod 600 /usr/local/libexec/buildfleet/status.sh", /status\.sh has the permissions 0600, not 0755/],
            ["echo '# mine' >>/etc/systemd/system/buildfleet-prune.timer", /prune\.timer has another content/],
            ["systemctl stop buildfleet-prune.timer", /prune\.timer is inactive/],
            ["systemctl --quiet disable buildkitd.service", /buildkitd\.service is not started at boot/],
        ]);
        expect(mainPid()).toBe(pid);
    });

    test("of what BuildKit reads, and of BuildKit itself, is seen and mended", async () => {
        await harmed([
            ["echo '# mine' >>/etc/buildfleet/buildkitd.toml", /buildkitd\.toml has another content/],
            ["chmod 644 /etc/buildfleet/tls/*/key.pem", /key\.pem has the permissions 0644, not 0600/],
            [
                "printf '[Service]\\nNice=5\\n' >/etc/systemd/system/buildkitd.service.d/override.conf",
                /override\.conf is not ours/,
            ],
            ["rm /opt/buildfleet/buildkit/current", /another BuildKit is current/],
        ]);
        await harmed([["systemctl stop buildkitd.service", /buildkitd\.service is (inactive|failed)/]]);
    });

    test("of a machine that is away changes nothing, and is told", async () => {
        const away = { ...inputs, ssh: { ...inputs.ssh, port: 23 } };
        const { result, lines } = await told(() => operations.diff("", { ...state, ssh: away.ssh }, away));
        expect(result).toMatchObject({ changes: false });
        expect(lines.join("\n")).toMatch(/could not be looked at, and is left as it is/);
    });

    test("of the owner is not mended: two would undo each other's work", async () => {
        await expect(operations.create({ ...inputs, owner: "tests/other/room/arm-1" })).rejects.toThrow(
            `is managed by ${inputs.owner}; nothing was changed`,
        );
        await operations.delete("", { ...state, owner: "tests/other/room/arm-1" });
        await answer();
    });
});

describe("the machine that is given back", () => {
    test("for another port of its address is left, and keeps what a network that came meanwhile needs", async () => {
        const behind = { ...inputs, ssh: { ...inputs.ssh, port: 23 } };
        expect(await changes(behind)).toMatchObject({ changes: true, replaces: [] });
        room.shell(`ip link add newcomer type bridge\n${KILLED_STEP}`);
        await expect(operations.update("", state, behind)).rejects.toThrow(/is on and reached from here by SSH/);
        expect(room.shell("cat /proc/sys/net/ipv4/ip_forward")).toBe("1\n");
        room.shell("ip link delete newcomer; echo 0 >/proc/sys/net/ipv4/ip_forward");
        expect(room.trace()).toBe(bare);
    });

    test("does not hold up its successor when it is dead, and is not given up without one", async () => {
        const dead = { ...state, ssh: { ...inputs.ssh, port: 23 } };
        const { result, lines } = await told(() => operations.update("", dead, inputs));
        state = result.outs;
        expect(lines.join("\n")).toMatch(/could not be reached; its builder is left there/);
        expect(await changes()).toMatchObject({ changes: false });
        await expect(operations.delete("", dead)).rejects.toThrow(/pulumi state delete/);
    });

    test("is bare again, once its build has ended", async () => {
        const { gate, build } = await running("last");
        const removal = operations.delete("", state);
        await refusesNewBuilds();
        gate.open();
        await build.result;
        await removal;
        expect(room.trace()).toBe(bare);
        // Again: a run that was killed after it deletes once more.
        await operations.delete("", state);
    });
});
