import { execFileSync } from "node:child_process";
import { existsSync, writeFileSync } from "node:fs";
import { resolve } from "node:path";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { RegistryClient } from "../../drivers/registry";
import { writeAdvisories, writeAppContext } from "../support/app";
import { BuilderHost, RoomAccess } from "../support/builder-host";
import { MachineRoom, type RoomHost } from "../support/machine-room";
import { isSigned } from "../support/machines";
import { pushIndex } from "../support/mirror-images";
import { type RunningRegistry, startRegistry } from "../support/registry";
import { pushSmallImage } from "../support/small-image";
import { TestStack } from "../support/stack";

// What the two sides of examples/airgap do: one with a way to the registries of the world, and the stack `onprem` without any.

const ONPREM = resolve(__dirname, "../../dist/stacks/onprem.js");
const COLLECT = `
const mirror = new buildfleet.ImageMirror("collect", settings);
module.exports = { contents: mirror.contents, digests: mirror.digests };
`;
const platforms = ["linux/amd64", "linux/arm64"];

/** Gives a host ways out that lead nowhere, one for each version of IP, and returns how many packets took them. */
function countedExit(host: RoomHost): () => { v4: number; v6: number } {
    const run = (...command: string[]) => execFileSync(...host.command(command), { encoding: "utf8" });
    for (const [end, peer] of [
        ["out", "nowhere"],
        ["out6", "nowhere6"],
    ] as const) {
        run("ip", "link", "add", end, "type", "veth", "peer", "name", peer);
        // The kernel itself sends over IPv6 as soon as the cable is in, and looks for neighbours.
        for (const name of end === "out" ? [end, peer] : [peer])
            run("sysctl", "--quiet", "--write", `net.ipv6.conf.${name}.disable_ipv6=1`);
        for (const name of [end, peer]) run("ip", "link", "set", name, "arp", "off", "up");
    }
    run("ip", "route", "add", "default", "dev", "out");
    run("ip", "-6", "address", "add", "2001:db8:ffff::2/64", "dev", "out6", "nodad");
    run("ip", "-6", "route", "add", "default", "dev", "out6");
    // All but the kernel's own: multicast listeners and neighbours.
    const counted = [
        ["!", "--protocol", "ipv6-icmp"],
        ["--protocol", "ipv6-icmp", "--icmpv6-type", "echo-request"],
    ];
    for (const match of counted)
        run("ip6tables", "--table", "mangle", "--append", "POSTROUTING", "--out-interface", "out6", ...match);
    return () => {
        const rules = run(
            "ip6tables",
            "--table",
            "mangle",
            "--verbose",
            "--exact",
            "--numeric",
            "--list",
            "POSTROUTING",
        );
        const packets = [...rules.matchAll(/^\s*(\d+)\s+\d+\s.*\bout6\b/gm)].map(([, count]) => Number(count));
        if (packets.length !== counted.length) throw new Error(`no counters in:\n${rules}`);
        return {
            v4: JSON.parse(run("ip", "--json", "--statistics", "link", "show", "out"))[0].stats64.tx.packets,
            v6: packets.reduce((sum, count) => sum + count, 0),
        };
    };
}

describe("a machine room without internet", () => {
    let world: RunningRegistry;
    let room: MachineRoom;
    let access: RoomAccess;
    let runner: RoomHost;
    let registry: RunningRegistry;
    let hosts: BuilderHost[] = [];
    let exits: ReturnType<typeof countedExit>[] = [];
    let collect: TestStack;
    let onprem: TestStack;

    /** A base image as a distribution would publish it: two platforms, with a database of packages. */
    async function publishBase(): Promise<void> {
        const client = new RegistryClient({ registry: world.registry, plainHttp: true });
        const release = 'PRETTY_NAME="Debian GNU/Linux 12"\nNAME="Debian GNU/Linux"\nVERSION_ID="12"\nID=debian\n';
        const children = [];
        for (const architecture of ["amd64", "arm64"]) {
            const status = `Package: base-files\nStatus: install ok installed\nMaintainer: T <t@example.com>\nArchitecture: ${architecture}\nVersion: 12.4\nDescription: base\n`;
            const platform = { os: "linux", architecture };
            const files = { "etc/os-release": release, "var/lib/dpkg/status": status };
            const { mediaType, digest, size } = await pushSmallImage(client, "library/debian", platform, { files });
            children.push({ mediaType, digest, size, platform });
        }
        await pushIndex(client, "library/debian", children, "12");
        await client.close();
    }

    beforeAll(async () => {
        world = await startRegistry();
        await publishBase();
        room = await MachineRoom.create();
        access = new RoomAccess();
        runner = await room.host();
        const storage = await room.host();
        registry = await startRegistry({
            address: `${storage.address}:5000`,
            through: (command) => storage.command(command),
        });
        const http = { [registry.registry]: { http: true } };
        const places = [await room.host(), await room.host()];
        exits = [runner, storage, ...places].map(countedExit);
        hosts = await Promise.all(
            places.map((place, i) => BuilderHost.start(i === 0 ? "x86-1" : "arm-1", place, access, http)),
        );
        collect = new TestStack(COLLECT);
        onprem = new TestStack(`module.exports = () => require(${JSON.stringify(ONPREM)}).onprem(settings);`, {
            through: (command) => runner.command(command),
        });
        writeAppContext(onprem.path("app"));
        const dockerfile = [
            // biome-ignore lint/suspicious/noTemplateCurlyInString: the Dockerfile's own variable
            "ARG BASE\nFROM ${BASE}\nARG TARGETARCH",
            // biome-ignore lint/suspicious/noTemplateCurlyInString: the Dockerfile's own variable
            'COPY app-${TARGETARCH} /app\nRUN ["/app"]\nENTRYPOINT ["/app"]\n',
        ];
        writeFileSync(onprem.path("app/Dockerfile"), dockerfile.join("\n"));
        writeAdvisories(onprem.path("advisories"), [
            { id: "BF-2026-0001", severity: "high", package: "openssl", affected: "< 3.0.2", fixed: "3.0.2" },
        ]);
        const { ca, certificate, privateKey } = await access.client();
        writeFileSync(onprem.path("ca.pem"), ca);
        writeFileSync(onprem.path("client.pem"), certificate);
        writeFileSync(onprem.path("client-key.pem"), privateKey, { mode: 0o600 });
    }, 300_000);
    afterAll(async () => {
        await onprem?.dispose();
        await collect?.dispose();
        await Promise.all(hosts.map((host) => host.stop()));
        await registry?.stop();
        await room?.close();
        access?.dispose();
        await world?.stop();
    });

    const collected = (more: Record<string, string> = {}) => ({
        images: { base: `${world.registry}/library/debian:12`, ...more },
        platforms,
        to: { archive: "images.tar" },
        connections: { [world.registry]: { plainHttp: true } },
    });

    it("is told by the collector what can't be had, before anything is carried", async () => {
        const absent = `${world.registry}/library/absent:1`;
        const run = await collect.run("up", collected({ absent, other: `${world.registry}/other:2` }));
        expect(run.exitCode).toBe(1);
        const text = run.errors.map(({ message }) => message).join("\n");
        expect(text).toContain("2 of 3 images can't be mirrored; nothing was copied");
        expect(text).toMatch(/absent: .*library\/absent.*404[\s\S]*other: .*\/other\/.*404/);
        expect(existsSync(collect.path("images.tar"))).toBe(false);
    });

    it("releases from what was carried in, and nothing tries to leave", async () => {
        const { contents } = (await collect.up(collected())).outputs;
        execFileSync("cp", [collect.path("images.tar"), onprem.path("images.tar")]);
        const settings = {
            registry: { address: registry.registry, plainHttp: true },
            mirror: {
                images: { base: { source: `${world.registry}/library/debian:12`, name: "base/debian:12" } },
                from: { archive: "images.tar", contents },
            },
            builders: {
                external: {
                    nodes: [
                        { name: "x86-1", endpoint: hosts[0]?.tcp, serverName: "x86-1", platforms: ["linux/amd64"] },
                        { name: "arm-1", endpoint: hosts[1]?.tcp, serverName: "arm-1", platforms: ["linux/arm64"] },
                    ],
                    client: { caFile: "ca.pem", certificateFile: "client.pem", privateKeyFile: "client-key.pem" },
                },
            },
            emulation: "allow",
            image: { context: "app", repository: "team/app", version: "1.4.2", mirrored: { BASE: "base" } },
            scan: { advisories: "advisories" },
        };
        const first = await onprem.up(settings);
        expect(first.outputs.ref).toBe(`${registry.registry}/team/app@${first.outputs.digest}`);
        expect(first.outputs.tags).toEqual(["1.4.2", "1.4", "1", "latest"]);
        expect(first.outputs.platforms).toMatchObject({
            "linux/amd64": { node: "x86-1" },
            "linux/arm64": { node: "arm-1" },
        });
        expect(await isSigned(first.outputs.ref, first.outputs.signature.publicKey)).toBe(true);
        expect((await onprem.up(settings)).did).toEqual([]);
        expect(exits.map((packets) => packets())).toEqual(Array(4).fill({ v4: 0, v6: 0 }));

        // And what does try is counted.
        for (const address of ["192.0.2.1", "2001:db8::1"]) {
            const [file, args] = runner.command(["bash", "-c", `! timeout 3 bash -c ': < /dev/tcp/${address}/443'`]);
            execFileSync(file, args, { stdio: "ignore" });
        }
        const { v4 = 0, v6 = 0 } = exits[0]?.() ?? {};
        expect([v4 > 0, v6 > 0]).toEqual([true, true]);
    }, 180_000);
});
