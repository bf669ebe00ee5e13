import { createReadStream, readFileSync, statSync, writeFileSync } from "node:fs";
import { createServer, type Server } from "node:http";
import type { AddressInfo } from "node:net";
import { resolve } from "node:path";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { sha256 } from "../../core/digest";
import { RegistryClient, staticCredentials } from "../../drivers/registry";
import { findTool } from "../../drivers/tools";
import { readArtifact } from "../../tools/vm/artifact.mjs";
import { machineArchitecture } from "../../tools/vm/recipe.mjs";
import { writeAdvisories, writeAppContext } from "../support/app";
import { MachineRoom } from "../support/machine-room";
import { TestStack } from "../support/stack";
import { SystemdRoom } from "../support/systemd-room";

// The stack `onprem` on two bare hosts: BuildKit on both, the room's registry on the first, one image. From bare to bare, in this order.

const ONPREM = resolve(__dirname, "../../dist/stacks/onprem.js");
const PASSWORD = "a password of the room";
const STORAGE = "/var/lib/buildfleet-registry";
const architecture = machineArchitecture();
const platform = `linux/${architecture}`;

let room: MachineRoom;
let hosts: [SystemdRoom, SystemdRoom];
let files: Server;
let stack: TestStack;
let settings: { registryServer: Record<string, unknown> } & Record<string, unknown>;
let bare: string[];
// biome-ignore lint/suspicious/noExplicitAny: a stack's outputs are whatever its program exports
let outputs: any;

/** The web server of the room, which has what the hosts install. */
async function serve(paths: Record<string, string>): Promise<string> {
    files = createServer((request, response) => {
        const path = paths[request.url ?? ""];
        if (!path) return void response.writeHead(404).end();
        response.writeHead(200, { "content-length": statSync(path).size });
        createReadStream(path).pipe(response);
    });
    await new Promise<void>((done) => files.listen(0, room.address, done));
    return `http://${room.address}:${(files.address() as AddressInfo).port}`;
}

beforeAll(async () => {
    const archive = await readArtifact(architecture);
    if (!archive) throw new Error("BuildKit's tarball is missing: npm run setup -- --tests");
    const program = findTool("registry");
    room = await MachineRoom.create();
    hosts = [new SystemdRoom(await room.host()), new SystemdRoom(await room.host())];
    const origin = await serve({ "/buildkit.tar.gz": archive.path, "/registry": program });
    await Promise.all(hosts.map((host) => host.boot()));
    stack = new TestStack(`module.exports = () => require(${JSON.stringify(ONPREM)}).onprem(settings);`);
    writeAppContext(stack.path("app"));
    writeAdvisories(stack.path("advisories"), [
        { id: "BF-2026-0001", severity: "high", package: "openssl", affected: "< 3.0.2", fixed: "3.0.2" },
    ]);
    writeFileSync(stack.path("password"), `${PASSWORD}\n`, { mode: 0o600 });
    const managed = hosts.map(({ ssh: { privateKey = "", ...ssh } }, i) => {
        writeFileSync(stack.path(`key-${i}`), privateKey, { mode: 0o600 });
        return [`host-${i + 1}`, { architecture, ssh: { ...ssh, privateKeyFile: `key-${i}` } }] as const;
    });
    const artifacts = { [architecture]: { url: `${origin}/buildkit.tar.gz`, sha256: archive.sha256 } };
    settings = {
        registryServer: {
            ssh: "host-1",
            address: `${hosts[0].network.guest}:5000`,
            artifact: { url: `${origin}/registry`, sha256: sha256(readFileSync(program)).slice(7) },
            users: { ciFile: "password" },
        },
        builders: {
            managed: {
                hosts: Object.fromEntries(managed),
                buildkit: { version: archive.version, artifacts },
            },
        },
        image: { context: "app", repository: "team/app", version: "1.4.2", platforms: [platform] },
        scan: { advisories: "advisories" },
    };
    bare = hosts.map((host) => host.trace());
}, 300_000);
afterAll(async () => {
    await stack?.dispose();
    await Promise.all((hosts ?? []).map((host) => host.close()));
    await new Promise((done) => (files ? files.close(done) : done(undefined)));
    await room?.close();
});

/** The registry as a client of the room asks it, with what the stack's outputs say. */
async function released(reference: string): Promise<string | undefined> {
    const credentials = staticCredentials({ username: "ci", password: PASSWORD });
    const client = new RegistryClient({ registry: outputs.registry.address, ca: outputs.registry.ca, credentials });
    try {
        return (await client.headManifest("team/app", reference))?.digest;
    } finally {
        await client.close();
    }
}

/** What a host has beyond what it had, by path: folders of what is stored count once. */
function left(host: number): string[] {
    const before = new Set(bare[host]?.split("\n"));
    const after = hosts[host]?.trace().split("\n") ?? [];
    const gone = [...before].filter((line) => !after.includes(line));
    const paths = [...gone, ...after.filter((line) => !before.has(line))].map((line) => line.split(" ")[0] ?? "");
    return [...new Set(paths.map((path) => (path.startsWith(STORAGE) ? STORAGE : path)))].sort();
}

/** How useradd and userdel leave a system's lists of accounts. */
const ACCOUNTS = ["group", "group-", "gshadow", "gshadow-", "passwd", "passwd-", "shadow", "shadow-"].map(
    (name) => `./etc/${name}`,
);

describe("two bare hosts of a machine room", () => {
    it("become builders and a registry, and an image is built natively and released to it, by one `up`", async () => {
        ({ outputs } = await stack.up(settings));
        expect(outputs.ref).toBe(`${hosts[0].network.guest}:5000/team/app@${outputs.digest}`);
        expect(outputs.platforms).toMatchObject({
            [platform]: { node: expect.stringMatching(/^host-[12]$/), emulated: false },
        });
        expect(outputs.tags).toEqual(["1.4.2", "1.4", "1", "latest"]);
        expect(await released("1.4.2")).toBe(outputs.digest);
        expect(hosts.map((host) => host.shell("systemctl is-active buildkitd"))).toEqual(["active\n", "active\n"]);
        // The password is on no host.
        for (const host of hosts)
            expect(host.shell(`grep -rlF "${PASSWORD}" /etc /opt /run/systemd /var/lib || true`)).toBe("");
    }, 180_000);

    it("have nothing to do the second time", async () => {
        expect((await stack.up(settings)).did).toEqual([]);
    }, 300_000);

    it("are mended where somebody changed them, and nothing is built anew", async () => {
        hosts[0].shell("systemctl stop buildfleet-registry-registry buildfleet-prune.timer");
        hosts[1].shell("echo '# mine' >>/etc/buildfleet/buildkitd.toml");
        const { did } = await stack.up(settings);
        expect(did.sort()).toEqual(["update builders-host-1", "update builders-host-2", "update registry-service"]);
        expect(await released("1.4.2")).toBe(outputs.digest);
        expect((await stack.run("preview", settings)).did).toEqual([]);
    }, 180_000);

    it("are not another stack's: its registry of the same name is refused, and this one serves on", async () => {
        const other = new TestStack('new buildfleet.RegistryServer("registry", settings); module.exports = {};', {
            name: "other",
        });
        const [host] = hosts;
        const args = { ...settings.registryServer, ssh: host.ssh, users: {}, plainHttp: true };
        const run = await other.run("up", args);
        await other.dispose();
        expect(run.errors.map(({ message }) => message).join("\n")).toMatch(
            /is managed by e2e\/test\/registry, and this is e2e\/other\/registry; nothing was changed/,
        );
        expect(await released("1.4.2")).toBe(outputs.digest);
    }, 300_000);

    it("are bare again after `destroy`, but for the images", async () => {
        const run = await stack.run("destroy", settings);
        expect(run.errors).toEqual([]);
        expect(left(0)).toEqual([...ACCOUNTS, STORAGE]);
        expect(left(1)).toEqual([]);
    }, 300_000);
});
