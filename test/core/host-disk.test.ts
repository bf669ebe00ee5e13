import { execFileSync } from "node:child_process";
import { createHash } from "node:crypto";
import { mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import type { RequestListener } from "node:http";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, beforeEach, describe, expect, it } from "vitest";
import type { HostSettings } from "../../core/host";
import { HostRoom } from "./host-room";
import { hostSettings } from "./host-settings";

let room: HostRoom;
let serve: RequestListener;
let requests = 0;
const folder = mkdtempSync(join(tmpdir(), "host-disk-"));

beforeAll(async () => {
    room = await new HostRoom().open(() => (request, response) => {
        requests++;
        serve(request, response);
    });
});

afterAll(async () => {
    await room?.close();
    rmSync(folder, { recursive: true, force: true });
});

beforeEach(async () => {
    requests = 0;
    await room.run("rm", "-rf", "/run/buildfleet", "/opt/buildfleet");
});

/** Linux lets nobody without CAP_SYS_RESOURCE (bit 24) resize a mounted file system; containers often lack it. */
const mayResize =
    (BigInt(`0x${/CapEff:\s*(\w+)/.exec(readFileSync("/proc/self/status", "utf8"))?.[1]}`) >> 24n) % 2n === 1n;

/** As after a reboot: /run is empty. */
const reboot = () => room.run("rm", "-rf", "/run/buildfleet");

const PROGRAMS = [
    "buildkitd",
    "buildctl",
    "buildkit-runc",
    ...["bridge", "loopback", "host-local", "firewall"].map((name) => `buildkit-cni-${name}`),
];

/** A release's layout, with small programs. */
function tarball(programs = [...PROGRAMS, "buildkit-qemu-aarch64"]): Buffer {
    const made = mkdtempSync(join(folder, "release-"));
    mkdirSync(join(made, "bin"));
    for (const name of programs) writeFileSync(join(made, "bin", name), `#!/bin/sh\necho ${name}\n`, { mode: 0o755 });
    execFileSync("tar", ["-czf", join(made, "release.tar.gz"), "-C", made, "bin"]);
    return readFileSync(join(made, "release.tar.gz"));
}

function artifact(content: Buffer, version = "0.33.1"): HostSettings["buildkit"] {
    const sha256 = createHash("sha256").update(content).digest("hex");
    return { version, artifact: { url: 'http://127.0.0.1/release.tar.gz?a="b"&c=\\d', sha256 } };
}

describe("artifact.sh", () => {
    const OPT = "/opt/buildfleet/buildkit";
    const listing = async () => (await room.run("find", OPT, "-printf", "%P %l %m %T@\n")).stdout.split("\n").sort();

    it("unpacks what was checked, without the emulators, and changes nothing the second time", async () => {
        const content = tarball();
        let asked = "";
        serve = (request, response) => {
            asked = request.url ?? "";
            response.end(content);
        };
        room.install(hostSettings({ buildkit: artifact(content) }));
        expect(await room.script("artifact.sh")).toMatchObject({ code: 0 });
        expect(asked).toBe('/release.tar.gz?a="b"&c=\\d');
        expect((await room.run("ls", `${OPT}/current/bin`)).stdout.trim().split("\n")).toEqual([...PROGRAMS].sort());
        expect((await room.run(`${OPT}/current/bin/buildctl`)).stdout).toBe("buildctl\n");
        const before = await listing();
        expect(await room.script("artifact.sh")).toMatchObject({ code: 0, stderr: "" });
        expect(await listing()).toEqual(before);
        expect(requests).toBe(1);
    });

    it("unpacks nothing of what has another sum, and says which", async () => {
        const content = tarball();
        serve = (_request, response) => void response.end(Buffer.concat([content, Buffer.from("x")]));
        room.install(hostSettings({ buildkit: artifact(content) }));
        const run = await room.script("artifact.sh");
        expect(run.code).toBe(1);
        const { sha256 } = artifact(content).artifact;
        expect(run.stderr).toMatch(
            new RegExp(`FAILED: .* has SHA-256 [0-9a-f]{64}, expected ${sha256}; nothing was unpacked`),
        );
        expect((await room.run("ls", OPT)).stdout).toBe("");
        expect((await room.run("cat", "/dev/console")).stdout).toMatch(/buildfleet: FAILED artifact on arm64: /);
    });

    it("refuses a tarball without a program that BuildKit will need", async () => {
        const content = tarball(PROGRAMS.filter((name) => name !== "buildkit-cni-firewall"));
        serve = (_request, response) => void response.end(content);
        room.install(hostSettings({ buildkit: artifact(content) }));
        expect((await room.script("artifact.sh")).stderr).toMatch(/has no bin\/buildkit-cni-firewall/);
    });

    it("asks again when the connection breaks", async () => {
        const content = tarball();
        serve = (_request, response) => {
            if (requests > 1) return void response.end(content);
            response.writeHead(200, { "content-length": content.length });
            response.write(content.subarray(0, 100), () => response.destroy());
        };
        room.install(hostSettings({ buildkit: artifact(content) }));
        expect(await room.script("artifact.sh")).toMatchObject({ code: 0 });
        expect(requests).toBe(2);
    });

    it("trusts what it unpacked only once all of it is on the disk", async () => {
        const content = tarball();
        serve = (_request, response) => void response.end(content);
        const buildkit = artifact(content);
        room.install(hostSettings({ buildkit }));
        await room.script("artifact.sh");
        await reboot();
        await room.script("artifact.sh");
        expect(requests).toBe(2);
        await room.run("touch", `${OPT}/0.33.1-${buildkit.artifact.sha256.slice(0, 12)}/complete`);
        await reboot();
        expect((await room.script("artifact.sh")).code).toBe(0);
        expect(requests).toBe(2);
    });

    it("switches to another version, and to another tarball of the same", async () => {
        for (const [version, extra] of [
            ["0.33.1", "a"],
            ["0.34.0", "a"],
            ["0.34.0", "b"],
        ] as const) {
            const content = tarball([...PROGRAMS, extra]);
            serve = (_request, response) => void response.end(content);
            const buildkit = artifact(content, version);
            room.install(hostSettings({ buildkit }));
            expect((await room.script("artifact.sh")).code).toBe(0);
            expect((await room.run("readlink", `${OPT}/current`)).stdout).toBe(
                `${version}-${buildkit.artifact.sha256.slice(0, 12)}\n`,
            );
            expect((await room.run("ls", `${OPT}/current/bin/${extra}`)).code).toBe(0);
        }
    });
});

describe("cache.sh", () => {
    const STATE = "/var/lib/buildkit";
    const LINK = "/dev/disk/by-id/nvme-Amazon_Elastic_Block_Store_vol0123456789abcdef0";
    let device = "";

    const sh = async (command: string) => {
        const run = await room.run("bash", "--norc", "-c", command);
        expect(run.code, run.stderr).toBe(0);
        return run.stdout.trim();
    };

    /** A disk of the room's own, as udev would name it. */
    async function attach(size = "64M", prepare = ":"): Promise<void> {
        device = await sh(`truncate -s ${size} /disk && losetup --find --show /disk`);
        await sh(`disk=${device}; ${prepare}`);
        await sh(`mkdir -p /dev/disk/by-id && ln -s ${device} ${LINK}`);
    }

    const mounted = () => sh(`findmnt --noheadings --output UUID,FSTYPE,OPTIONS ${STATE}`);

    beforeEach(async () => {
        room.install(hostSettings());
        return async () => {
            await sh(
                `umount ${STATE} 2>/dev/null; rm -rf /dev/disk; [ -z "${device}" ] || losetup --detach ${device}; rm -f /disk`,
            );
            device = "";
        };
    });

    it("formats a blank volume, mounts it by its UUID, and changes nothing the second time", async () => {
        await attach();
        const run = await room.script("cache.sh");
        expect(run).toMatchObject({ code: 0 });
        expect(run.stderr).toContain("is blank: making a file system");
        const first = await mounted();
        expect(first).toMatch(/^[0-9a-f-]{36} ext4 .*noatime/);
        await sh(`echo kept >${STATE}/file`);
        expect((await room.script("cache.sh")).stderr).not.toMatch(/blank|mounted/);
        expect(await mounted()).toBe(first);
    });

    it("keeps what is on it over a reboot and over a move to another machine", async () => {
        await attach();
        await room.script("cache.sh");
        const first = await mounted();
        await sh(`echo kept >${STATE}/file; umount ${STATE}`);
        await reboot();
        const run = await room.script("cache.sh");
        expect(run.stderr).not.toContain("blank");
        expect(await mounted()).toBe(first);
        expect(await sh(`cat ${STATE}/file`)).toBe("kept");
    });

    it("grows the file system with the volume", async () => {
        await attach();
        await room.script("cache.sh");
        const size = async () => Number(await sh(`df --block-size=1M --output=size ${STATE} | tail -1`));
        expect(await size()).toBeLessThan(64);
        await sh(`umount ${STATE}; truncate -s 256M /disk; losetup --set-capacity ${device}`);
        const run = await room.script("cache.sh");
        expect(run).toMatchObject({ code: 0 });
        if (mayResize) {
            expect(await size()).toBeGreaterThan(180);
        } else {
            expect(run.stderr).toContain(`the file system on ${device} could not be grown`);
            expect(await size()).toBeLessThan(64);
        }
    });

    it.each([
        ["swap space", 'mkswap "$disk"'],
        [
            "a partition table",
            String.raw`printf '\x80\0\0\0\x83\0\0\0\0\x08\0\0\xe8\x03\0\0' | dd of=$disk bs=1 seek=446 status=none
                printf '\x55\xaa' | dd of=$disk bs=1 seek=510 status=none`,
        ],
        ["an encrypted disk", String.raw`printf 'LUKS\xba\xbe\0\x02' | dd of=$disk status=none`],
    ])("never formats a volume that holds %s", async (_what, prepare) => {
        await attach("64M", prepare);
        const before = await sh(`sha256sum <${device}`);
        const run = await room.script("cache.sh");
        expect(run.code).toBe(1);
        expect(run.stderr).toMatch(/FAILED: .* it is not formatted: use a blank volume/);
        expect(await sh(`sha256sum <${device}`)).toBe(before);
        expect((await room.run("mountpoint", "-q", STATE)).code).not.toBe(0);
    });

    it("waits for a volume that is attached after the boot, and takes no other", async () => {
        await attach();
        await sh(`mv ${LINK} ${LINK.replace("vol0", "vol1")}`);
        const run = room.start("/usr/local/libexec/buildfleet/cache.sh");
        await run.says(/looking for the volume vol-0123456789abcdef0/);
        await expect
            .poll(() => sh("cat /proc/[0-9]*/cmdline | tr '\\0' ' '"), { timeout: 20_000 })
            .toContain("sleep 0.2");
        expect((await room.run("mountpoint", "-q", STATE)).code).not.toBe(0);
        await sh(`mv ${LINK.replace("vol0", "vol1")} ${LINK}`);
        expect(await run.ended).toMatchObject({ code: 0 });
        expect(await mounted()).toContain("ext4");
    });

    it("leaves the root file system's folder as it is when there is no volume", async () => {
        room.install(hostSettings({ cache: { kind: "folder" } }));
        expect((await room.script("cache.sh")).code).toBe(0);
        expect((await room.run("mountpoint", "-q", STATE)).code).not.toBe(0);
    });
});
