import { createHash } from "node:crypto";
import { readFileSync } from "node:fs";
import { createServer, type Server } from "node:http";
import type { AddressInfo } from "node:net";
import { afterAll, beforeAll, beforeEach, describe, expect, it } from "vitest";
import { freePort } from "../../drivers/daemon";
import { withHost } from "../../drivers/host-session";
import { operations } from "../../resources/binfmt-handlers/operations";
import { BareHost } from "../support/bare-host";

const EMULATOR = readFileSync("/usr/bin/qemu-riscv64-static");
const sha256 = (bytes: Buffer) => createHash("sha256").update(bytes).digest("hex");
const NO_EMULATOR = Buffer.from("#!/bin/sh\nexit 3\n");

const host = new BareHost();
let mirror: Server;
let served = 0;

beforeAll(async () => {
    mirror = createServer((request, response) => {
        served++;
        response.end(request.url === "/qemu" ? EMULATOR : NO_EMULATOR);
    }).listen(0, "127.0.0.1");
    await host.open(await freePort(), { emulation: true });
});
afterAll(async () => {
    await host.close();
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

describe("this machine as the host", () => {
    it("runs scripts with their input, and its errors name it", async () => {
        const said = await withHost(undefined, ({ run }) => run("tr a-z A-Z", { input: "hello" }));
        expect(said.stdout).toBe("HELLO");
        await expect(withHost(undefined, ({ run }) => run("echo no >&2; exit 3"))).rejects.toThrow(
            /3 \(this machine\)\n.*no/,
        );
    });
});
