import { createHash } from "node:crypto";
import { once } from "node:events";
import { readFileSync } from "node:fs";
import { createServer, type Server } from "node:http";
import { type AddressInfo, connect, createServer as createPort, type Server as Port } from "node:net";
import { afterAll, beforeAll, beforeEach, describe, expect, it } from "vitest";
import { withHost } from "../../drivers/host-session";
import { listenToProgress } from "../../drivers/progress";
import { operations } from "../../resources/binfmt-handlers/operations";
import { BareHost } from "../support/bare-host";
import { freePort } from "../support/port";

const EMULATOR = readFileSync("/usr/bin/qemu-riscv64-static");
const sha256 = (bytes: Buffer) => createHash("sha256").update(bytes).digest("hex");
const NO_EMULATOR = Buffer.from("#!/bin/sh\nexit 3\n");

const host = new BareHost();
/** Another one, which looks like a copy of the first: its disk was the same, and so is its board. */
const copy = new BareHost();
let mirror: Server;
let served = 0;

beforeAll(async () => {
    mirror = createServer((request, response) => {
        served++;
        response.end(request.url === "/qemu" ? EMULATOR : NO_EMULATOR);
    }).listen(0, "127.0.0.1");
    // One after the other: two that ask at once may be told the same free port.
    await host.open(await freePort(), { emulation: true });
    await copy.open(await freePort(), { emulation: true });
});
afterAll(async () => {
    await Promise.all([host.close(), copy.close()]);
    mirror.close();
});

const inputs = (changed: object = {}) => ({
    ssh: host.ssh,
    platforms: ["linux/arm64"],
    emulators: {},
    owner: "shop-dev-room",
    ...changed,
});
const fetched = (path = "qemu", sum = sha256(EMULATOR)) => ({
    platforms: ["linux/riscv64"],
    emulators: {
        "linux/riscv64": { url: `http://127.0.0.1:${(mirror.address() as AddressInfo).port}/${path}`, sha256: sum },
    },
});
const shell = (script: string) => host.shell(script);
const handlers = async () => (await shell("ls /proc/sys/fs/binfmt_misc")).split("\n").filter((n) => /-/.test(n));
/** Everything of ours that a host could have left. */
const traces = () =>
    shell("ls -d /opt/buildfleet* /var/lib/buildfleet* /etc/binfmt.d/buildfleet* /proc/sys/fs/binfmt_misc/buildfleet*");
const reset = "echo -1 >/proc/sys/fs/binfmt_misc/status; rm -rf /opt/buildfleet* /var/lib/buildfleet* /etc/binfmt.d/*";

describe("emulation on a host over SSH", () => {
    beforeEach(() => shell(reset));

    it("registers the package's emulator so that containers can use it, and takes every trace away", async () => {
        const { outs } = await operations.create(inputs({ platforms: ["linux/arm64", "linux/s390x"] }));
        expect(outs.handlers).toEqual({
            "linux/arm64": {
                handler: "buildfleet-aarch64",
                interpreter: "/usr/libexec/qemu-binfmt/aarch64-binfmt-P",
                ours: true,
            },
            "linux/s390x": {
                handler: "buildfleet-s390x",
                interpreter: "/usr/libexec/qemu-binfmt/s390x-binfmt-P",
                ours: true,
            },
        });
        expect(await handlers()).toEqual(["buildfleet-aarch64", "buildfleet-s390x"]);
        expect(await operations.diff("", outs, inputs({ platforms: ["linux/arm64", "linux/s390x"] }))).toMatchObject({
            changes: false,
        });
        const { outs: fewer } = await operations.update("", outs, inputs());
        expect(await handlers()).toEqual(["buildfleet-aarch64"]);
        await operations.delete("", fewer);
        expect(await traces()).toBe("");
    });

    it("sees that a handler is gone, and mends it; a boot brings it back by itself", async () => {
        const { outs } = await operations.create(inputs());
        await shell("echo -1 >/proc/sys/fs/binfmt_misc/buildfleet-aarch64");
        expect(await operations.diff("", outs, inputs())).toMatchObject({ changes: true, replaces: [] });
        const mended = (await operations.update("", outs, inputs())).outs;
        expect(await operations.diff("", mended, inputs())).toMatchObject({ changes: false });
        // What systemd-binfmt.service does with the handlers, of all files in binfmt.d(5).
        await shell("echo -1 >/proc/sys/fs/binfmt_misc/status; /lib/systemd/systemd-binfmt buildfleet-aarch64.conf");
        expect(await operations.diff("", mended, inputs())).toMatchObject({ changes: false });
    });

    it("uses a handler that somebody else has put there, and leaves it behind", async () => {
        await shell("cat /usr/lib/binfmt.d/qemu-aarch64.conf >/proc/sys/fs/binfmt_misc/register");
        const { outs } = await operations.create(inputs());
        expect(outs.handlers["linux/arm64"]).toMatchObject({ handler: "qemu-aarch64", ours: false });
        await operations.delete("", outs);
        expect(await handlers()).toEqual(["qemu-aarch64"]);
        expect(await traces()).toBe("");
    });

    it("keeps a handler until its last user is gone", async () => {
        const mine = (await operations.create(inputs())).outs;
        const theirs = (await operations.create(inputs({ owner: "other" }))).outs;
        await operations.delete("", mine);
        expect(await handlers()).toEqual(["buildfleet-aarch64"]);
        expect(await operations.diff("", theirs, inputs({ owner: "other" }))).toMatchObject({ changes: false });
        await operations.delete("", theirs);
        expect(await traces()).toBe("");
    });

    it("goes on from where a run was killed, before or after the handler was registered", async () => {
        await shell("mkdir -p /var/lib/buildfleet-emulation/buildfleet-aarch64");
        await shell(": >/var/lib/buildfleet-emulation/buildfleet-aarch64/shop-dev-room");
        await operations.create(inputs());
        const { outs } = await operations.create(inputs());
        await operations.delete("", outs);
        expect(await traces()).toBe("");
    });

    it("fetches an emulator, checks it, and does so once", async () => {
        served = 0;
        const { outs } = await operations.create(inputs(fetched()));
        expect(outs.handlers["linux/riscv64"]?.interpreter).toMatch(
            /^\/opt\/buildfleet-emulation\/.*\/qemu-[0-9a-f]{16}$/,
        );
        await shell("echo -1 >/proc/sys/fs/binfmt_misc/buildfleet-riscv64");
        await operations.update("", outs, inputs(fetched()));
        expect(served).toBe(1);
        await operations.delete("", outs);
        expect(await traces()).toBe("");
    });

    it.each([
        [
            "bytes that are not the ones that were named",
            () => fetched("qemu", sha256(NO_EMULATOR)),
            /SHA-256 .* expected/,
        ],
        [
            "a program that emulates nothing",
            () => fetched("other", sha256(NO_EMULATOR)),
            /does not run under buildfleet-riscv64/,
        ],
        [
            "a mirror that does not answer",
            () => ({
                ...fetched(),
                emulators: { "linux/riscv64": { url: "http://127.0.0.1:9/q", sha256: sha256(EMULATOR) } },
            }),
            /could not be fetched from http:\/\/127\.0\.0\.1:9\/q/,
        ],
        ["the host's own platform", () => ({ platforms: ["linux/arm64", "linux/amd64"] }), /needs no emulation/],
    ])("refuses %s and leaves nothing behind", async (_what, changed, message) => {
        await expect(operations.create(inputs(changed()))).rejects.toThrow(message);
        expect(await traces()).toBe("");
    });
});

describe("a host that is reached elsewhere", () => {
    /** Another way to the host's SSH server, as another name or port is. */
    let way: Port;
    beforeAll(async () => {
        way = createPort((socket) => {
            const there = connect(host.ssh.port, "127.0.0.1");
            socket.on("error", () => there.destroy()).pipe(there);
            there.on("error", () => socket.destroy()).pipe(socket);
        }).listen(0, "127.0.0.1");
        await once(way, "listening");
    });
    afterAll(() => void way.close());
    const identity = "echo 11111111111111111111111111111111 >/etc/machine-id";
    beforeEach(() => Promise.all([host, copy].map((one) => one.shell(`${reset}; ${identity}`))));
    const renamed = () => inputs({ ssh: { ...host.ssh, port: (way.address() as AddressInfo).port } });
    const FILE = "/var/lib/buildfleet-emulation/buildfleet-aarch64/shop-dev-room";
    /** Changes when the handler is registered anew, and when the owner's name is. */
    const trace = () =>
        shell(
            `stat -c '%i %y' /proc/sys/fs/binfmt_misc/buildfleet-aarch64 /etc/binfmt.d/buildfleet-aarch64.conf ${FILE}`,
        );

    it("is the same one: nothing on it is touched, though its old address leads nowhere", async () => {
        const { outs } = await operations.create(inputs());
        expect(outs.machine).toMatch(/^[0-9a-f]{64}$/);
        const before = await trace();
        const gone = { ...outs, ssh: { ...host.ssh, port: 9 } };
        expect(await operations.diff("", gone, renamed())).toMatchObject({ changes: true, replaces: [] });
        const said: string[] = [];
        const stop = listenToProgress((line) => said.push(line));
        const { outs: same } = await operations.update("", gone, renamed());
        stop();
        expect(said).toEqual([]);
        expect(await trace()).toBe(before);
        expect(await operations.diff("", same, renamed())).toMatchObject({ changes: false });
        await operations.delete("", same);
        expect(await traces()).toBe("");
    });

    it("is known by its old address where the state is of an older release, which shows no change by itself", async () => {
        const { machine: _, ...older } = (await operations.create(inputs())).outs;
        expect(await operations.diff("", older, inputs())).toMatchObject({ changes: false });
        const before = await trace();
        const { outs } = await operations.update("", older, renamed());
        expect(await trace()).toBe(before);
        expect(outs.machine).toMatch(/^[0-9a-f]{64}$/);
    });

    it.each<[string, string]>([
        ["another one", "echo 0123456789abcdef0123456789abcdef >/etc/machine-id"],
        ["a copy that says the same of itself", "true"],
    ])("is %s: its handlers are put there, and the old one's go", async (_what, prepare) => {
        await copy.shell(prepare);
        const { outs } = await operations.create(inputs());
        const { outs: moved } = await operations.update("", outs, inputs({ ssh: copy.ssh }));
        expect(await traces()).toBe("");
        expect(await copy.shell("ls /proc/sys/fs/binfmt_misc | grep buildfleet")).toBe("buildfleet-aarch64");
        expect(await operations.diff("", moved, inputs({ ssh: copy.ssh }))).toMatchObject({ changes: false });
    });

    it("is another one, and the old one is dead: that is told, and holds up nobody", async () => {
        const { outs } = await operations.create(inputs({ ssh: copy.ssh }));
        const said: string[] = [];
        const stop = listenToProgress((line) => said.push(line));
        const dead = { ...outs, machine: "of another", ssh: { ...host.ssh, port: 9 } };
        await operations.update("", dead, inputs({ ssh: copy.ssh }));
        stop();
        expect(said.join("\n")).toContain("could not be reached; its emulators are left there");
    });
});

describe("this machine as the host", () => {
    it("runs scripts with their input, and its errors name it", async () => {
        const said = await withHost(undefined, ({ run }) => run("tr a-z A-Z", { input: "hello" }));
        expect(said.stdout).toBe("HELLO");
        await expect(withHost(undefined, ({ run }) => run("echo no >&2; exit 3"))).rejects.toThrow(
            /3 \(this machine\)\n.*no/,
        );
    });
});
