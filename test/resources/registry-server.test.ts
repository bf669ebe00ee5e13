import { once } from "node:events";
import { readFileSync } from "node:fs";
import { createServer, type Server } from "node:http";
import type { AddressInfo } from "node:net";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { sha256 } from "../../core/digest";
import { RegistryClient, staticCredentials } from "../../drivers/registry";
import { findTool } from "../../drivers/tools";
import { createAuthority, issueCertificate } from "../../drivers/x509";
import { type Inputs, operations } from "../../resources/registry-service/operations";
import { plainClient, pushImage } from "../registry/support";
import { BareHost } from "../support/bare-host";
import { freePort } from "../support/port";

const PROGRAM = readFileSync(findTool("registry"));
const OTHER = Buffer.from("#!/bin/sh\nexit 126\n");
const QUIET = "buildfleet-registry-room";
const OWNER = "tests/first/room";

const host = new BareHost();
let mirror: Server;
let port: number;

beforeAll(async () => {
    mirror = createServer((request, response) => {
        response.end(request.url === "/registry" ? PROGRAM : OTHER);
    }).listen(0, "127.0.0.1");
    port = await freePort();
    await host.open(await freePort());
});
afterAll(async () => {
    await host.close();
    mirror.close();
});

const url = (path: string) => `http://127.0.0.1:${(mirror.address() as AddressInfo).port}/${path}`;
const inputs = (changed: Partial<Inputs> = {}): Inputs => ({
    ssh: host.ssh,
    name: "room",
    owner: OWNER,
    port,
    artifact: { url: url("registry"), sha256: sha256(PROGRAM).slice(7) },
    storage: "/var/lib/buildfleet-registry/room",
    users: {},
    removeData: false,
    garbageCollection: { schedule: "Sun 03:17", quietSeconds: 0 },
    ...changed,
});
type State = Awaited<ReturnType<typeof operations.create>>["outs"];
const diff = async (state: State, now: Inputs) => (await operations.diff("", state, now)).changes;
const shell = (script: string) => host.shell(script);
const client = () => plainClient(`127.0.0.1:${port}`);
/** Everything of ours that the host could have left, what is stored aside. */
const traces = () =>
    shell(
        "ls -d /etc/buildfleet* /opt/buildfleet* /usr/local/libexec/buildfleet* /run/buildfleet* " +
            "/etc/systemd/system/buildfleet* /etc/systemd/system/*.wants/buildfleet* 2>/dev/null; " +
            "systemctl list-units --all --plain --no-legend 'buildfleet-registry*'; pgrep -ax registry",
    );

describe("a registry with TLS and passwords", () => {
    it("lets in who has the password, hides it, and takes a new one at once", async () => {
        const authority = await createAuthority({ name: "room", days: 1 });
        const server = await issueCertificate({
            ...{ authority, commonName: "room", usage: "server", ipAddresses: ["127.0.0.1"], days: 1 },
        });
        const secured = (password: string): Inputs => inputs({ tls: server, users: { ci: password, bob: "x" } });
        const as = (password: string, ca = authority.certificate) =>
            new RegistryClient({
                registry: `127.0.0.1:${port}`,
                ca,
                credentials: staticCredentials({ username: "ci", password }),
            });
        const { outs } = await operations.create(secured("first-password"));
        const { digest } = await pushImage(as("first-password"), "team/app", "1.0.0", "hello");
        await expect(as("wrong").headManifest("team/app", "1.0.0")).rejects.toThrow(
            /401|denied|UNAUTHORIZED|password/i,
        );
        expect(await diff(outs, secured("first-password"))).toBe(false);

        const { outs: changed } = await operations.update("", outs, secured("second-password"));
        // The other user's hash is the same: nobody else is asked for anything.
        expect(changed.hashes.bob).toBe(outs.hashes.bob);
        expect(await as("second-password").headManifest("team/app", "1.0.0")).toMatchObject({ digest });
        await expect(as("first-password").headManifest("team/app", "1.0.0")).rejects.toThrow();

        const found = await shell(
            "grep -rl -e first-password -e second-password /etc /opt/buildfleet* /var/lib/buildfleet* /run/systemd; " +
                "tr '\\0' ' ' </proc/$(pgrep -x registry)/cmdline",
        );
        expect(found).toMatch(
            /^\/etc\/buildfleet-registry\/room\/current\/registry serve \/etc\/\S+\/current\/config.yml$/,
        );
        expect(
            await shell("cd /etc/buildfleet-registry/room; stat -c '%a %U:%G' . current/{tls.key,htpasswd} secret.env"),
        ).toBe(
            [...["750", "640", "640"].map((mode) => `${mode} root:buildfleet-registry`), "600 root:root"].join("\n"),
        );

        // Without passwords and TLS, neither is left behind.
        const { outs: open } = await operations.update("", changed, inputs());
        expect(await shell("cd /etc/buildfleet-registry/room; ls | wc -l; ls . current/ | grep -v '^[0-9a-f]*$'")).toBe(
            "4\n.:\ncurrent\nowner\nsecret.env\ncurrent/:\nconfig.yml\nport\nread-only.yml\nregistry",
        );
        expect(await client().headManifest("team/app", "1.0.0")).toMatchObject({ digest });
        await operations.delete("", open);
        expect(await traces()).toBe("");
    });
});

describe("a registry on plain HTTP", () => {
    let state: State;
    beforeAll(async () => {
        state = (await operations.create(inputs())).outs;
    });

    it("goes on with an upload that spans its restart", async () => {
        const bytes = Buffer.from("two halves of a layer");
        const base = `http://127.0.0.1:${port}`;
        const opened = await fetch(`${base}/v2/half/blobs/uploads/`, { method: "POST" });
        const first = await fetch(new URL(opened.headers.get("location") ?? "", base), {
            ...{ method: "PATCH", body: bytes.subarray(0, 9), headers: { "content-type": "application/octet-stream" } },
        });
        expect(first.status).toBe(202);
        const before = await shell("pgrep -x registry");
        state = (await operations.update("", state, inputs({ users: { ci: "p" } }))).outs;
        state = (await operations.update("", state, inputs())).outs;
        expect(await shell("pgrep -x registry")).not.toBe(before);
        const location = new URL(first.headers.get("location") ?? "", base);
        location.searchParams.set("digest", sha256(bytes));
        const last = await fetch(location, {
            ...{ method: "PUT", body: bytes.subarray(9), headers: { "content-type": "application/octet-stream" } },
        });
        expect(last.status).toBe(201);
        expect(await client().getBlob("half", sha256(bytes))).toEqual(bytes);
    });

    it("is left alone where nothing changed, and is not restarted for the calendar", async () => {
        const before = await shell("pgrep -x registry");
        expect(await diff(state, inputs())).toBe(false);
        state = (await operations.create(inputs())).outs;
        state = (
            await operations.update("", state, inputs({ garbageCollection: { schedule: "04:00", quietSeconds: 0 } }))
        ).outs;
        expect(await shell(`systemctl show --property=TimersCalendar ${QUIET}-gc.timer`)).toContain("04:00");
        state = (await operations.update("", state, inputs())).outs;
        expect(await shell("pgrep -x registry")).toBe(before);
    });

    it("sees what is no longer said", async () => {
        const { garbageCollection: _, ...without } = inputs();
        expect(await diff(state, without as Inputs)).toBe(true);
        expect(await diff({ ...state, tls: { certificate: "c", privateKey: "k" } }, inputs())).toBe(true);
    });

    it("leaves a folder alone that holds something else", async () => {
        await shell("mkdir -p /srv/other; echo data >/srv/other/file");
        const other = inputs({ name: "second", storage: "/srv/other" });
        await expect(operations.create(other)).rejects.toThrow(/\/srv\/other holds something else/);
        expect(await shell("stat -c %U /srv/other; ls /srv/other /etc/buildfleet-registry")).toBe(
            "root\n/etc/buildfleet-registry:\nroom\n\n/srv/other:\nfile",
        );
    });

    it.each([
        ["the same folder", "/var/lib/buildfleet-registry/room"],
        ["one in it", "/var/lib/buildfleet-registry/room/second"],
        ["one around it", "/var/lib/buildfleet-registry"],
        ["another name of it", "/srv/link"],
    ])("shares its folder with no other registry: %s", async (_what, storage) => {
        await shell("ln -sfn /var/lib/buildfleet-registry/room /srv/link");
        await expect(operations.create(inputs({ name: "second", port: port + 1, storage }))).rejects.toThrow(
            `storage: ${storage} on this host is not free: the registry room has /var/lib/buildfleet-registry/room; ` +
                "name a folder of the registry's own",
        );
        expect(await shell("ls /etc/buildfleet-registry /opt/buildfleet-registry")).not.toContain("second");
    });

    it("shares its folder with no other registry that comes at the same time", async () => {
        const both = await Promise.all(
            ["second", "third"].map(async (name) => inputs({ name, port: await freePort(), storage: "/srv/both" })),
        );
        const made = await Promise.allSettled(both.map((one) => operations.create(one)));
        const refused = made.flatMap((one) => (one.status === "rejected" ? [String(one.reason)] : []));
        expect(refused).toEqual([
            expect.stringMatching(/\/srv\/both on this host is not free: the registry (second|third)/),
        ]);
        for (const one of made)
            if (one.status === "fulfilled") await operations.delete("", { ...one.value.outs, removeData: true });
        expect(await shell("ls /etc/buildfleet-registry")).toBe("room");
    });

    it("moves on from a host that is gone", async () => {
        const gone = { ...state, ssh: { ...state.ssh, port: 1 } };
        expect((await operations.update("", gone, inputs())).outs.ssh).toEqual(inputs().ssh);
    });

    it("sees whatever somebody did by hand, and mends all of it at once", async () => {
        const folder = "/etc/buildfleet-registry/room/current";
        const program = "/opt/buildfleet-registry/room/*/registry";
        // What was done, and how it is undone for the next one to be seen alone.
        const harms = [
            [`chmod 0644 ${folder}/config.yml`, `chmod 0640 ${folder}/config.yml`],
            [`systemctl --quiet disable ${QUIET}`, `systemctl --quiet enable ${QUIET}`],
            [`systemctl stop ${QUIET}-gc.timer`, `systemctl start ${QUIET}-gc.timer`],
            [`systemctl stop ${QUIET}`, `systemctl start ${QUIET}`],
            [`mv ${program} /opt/kept; cp /bin/true $(dirname ${program})/registry`, ":"],
            [`echo '# by hand' >>${folder}/config.yml`, ":"],
        ] as const;
        for (const [harm, undone] of harms) {
            expect(await diff(state, inputs()), `before ${harm}`).toBe(harm.startsWith("echo"));
            await shell(harm);
            expect(await diff(state, inputs()), harm).toBe(true);
            await shell(undone);
        }
        state = (await operations.update("", state, inputs())).outs;
        expect(await diff(state, inputs())).toBe(false);
    }, 300_000);

    it.each([
        [
            "bytes that are not the ones that were named",
            () => ({ artifact: { url: url("other"), sha256: "0".repeat(64) } }),
            /SHA-256 \w+, expected 0000/,
        ],
        [
            "a program for another machine",
            () => ({ artifact: { url: url("other"), sha256: sha256(OTHER).slice(7) } }),
            /does not run on this host \(x86_64\)/,
        ],
        [
            "a calendar that is none",
            () => ({ garbageCollection: { schedule: "sometimes", quietSeconds: 0 } }),
            /does not take garbageCollection.schedule/,
        ],
    ])("refuses %s, and serves on", async (_what, changed, message) => {
        await expect(operations.update("", state, inputs(changed()))).rejects.toThrow(message);
        expect(await diff(state, inputs())).toBe(false);
    });

    it("says why it does not start, and is gone again where it never did", async () => {
        const other = createServer((_request, response) => void response.end("not a registry")).listen(0);
        const taken = { port: (other.address() as AddressInfo).port, name: "second", storage: "/srv/second" };
        await once(other, "listening");
        const before = await traces();
        await expect(operations.create(inputs(taken))).rejects.toThrow(
            /address already in use[\s\S]*it was taken away again/,
        );
        other.close();
        expect(await traces()).toBe(before);
        expect(await shell("ls -d /srv/second 2>/dev/null; id -u buildfleet-registry")).toMatch(/^\d+$/);
        expect(await diff(state, inputs())).toBe(false);
    });

    it("goes back to what it was where it does not start with what is new", async () => {
        const broken = { tls: { certificate: "no certificate", privateKey: "no key" } };
        await expect(operations.update("", state, inputs(broken))).rejects.toThrow(
            /find any PEM data[\s\S]*it serves as before/,
        );
        expect(await client().putBlob("back", Buffer.from("again"))).toMatchObject({ size: 5 });
        expect(
            await shell(
                "ls /etc/buildfleet-registry/room | grep -c '^[0-9a-f]*$'; ls /etc/buildfleet-registry/room/*.new",
            ),
        ).toBe("1");
        expect(await diff(state, inputs())).toBe(false);
    });
});
