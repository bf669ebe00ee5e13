import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { type Inputs, operations } from "../../resources/managed-host/operations";
import { ManagedRoom } from "../support/managed-room";
import { METADATA_ADDRESS } from "../support/vm/network";

// A builder without root, from bare to bare: the tests go on from each other, in this order.

const machine = new ManagedRoom();
let bare: string;
let inputs: Inputs;
let state: Awaited<ReturnType<typeof operations.create>>["outs"];
const shell = (script: string) => machine.room.shell(script).trim();
const changes = () => operations.diff("", state, inputs);

/** Users and their ids, by content: the files' backups are useradd's. */
const users = () =>
    shell("cat /etc/passwd /etc/shadow /etc/group /etc/gshadow; cat /etc/subuid /etc/subgid 2>/dev/null || true");
const trace = () =>
    machine.room
        .trace()
        .replace(/^[.]\/(etc\/([.]pwd[.]lock|(g?shadow|passwd|group|sub[ug]id)-?)|usr\/bin.*) .*\n/gm, "");

beforeAll(async () => {
    await machine.open();
    // As on EC2: who reaches it would get an answer.
    await machine.network.serve((_request, response) => response.end("token"), METADATA_ADDRESS, 80);
    inputs = await machine.inputs("less", { instance: "less", port: 8373, rootless: true });
    bare = `${trace()}${users()}`;
}, 300_000);
afterAll(() => machine.close());

describe("a builder without root", () => {
    test("is refused where the machine lacks something, which is named, and nothing is changed", async () => {
        const harms: [harm: string, mend: string, message: RegExp][] = [
            [
                "mv /usr/bin/newuidmap /usr/bin/slirp4netns /tmp",
                "mv /tmp/newuidmap /tmp/slirp4netns /usr/bin",
                /has no slirp4netns, newuidmap; nothing was changed\n.*apt-get install slirp4netns uidmap/,
            ],
            ["chmod 600 /dev/net/tun", "chmod 666 /dev/net/tun", /ordinary users may not open \/dev\/net\/tun; load/],
            [
                "echo 0 >/tmp/zero; mount --bind /tmp/zero /proc/sys/user/max_user_namespaces",
                "umount /proc/sys/user/max_user_namespaces; rm /tmp/zero",
                /user.max_user_namespaces is 0; set it to 28633/,
            ],
            // As Ubuntu 24.04 has it.
            [
                "mount -t tmpfs tmpfs /proc/sys/kernel; echo 1 >/proc/sys/kernel/apparmor_restrict_unprivileged_userns",
                "umount /proc/sys/kernel",
                /apparmor_restrict_unprivileged_userns is 1 and AppArmor has no profile "rootlesskit"; load .*or set that to 0/,
            ],
            ["useradd --system buildfleet_less", "userdel buildfleet_less", /somebody else's: user buildfleet_less/],
        ];
        for (const [harm, mend, message] of harms) {
            shell(harm);
            await expect(operations.create(inputs)).rejects.toThrow(message);
            shell(mend);
        }
        expect(`${trace()}${users()}`).toBe(bare);
    });

    test("builds as a user of its own, whose build steps are nobody on the machine and reach no metadata", async () => {
        ({ outs: state } = await operations.create(inputs));
        expect(await changes()).toMatchObject({ changes: false });
        await machine.register(inputs);
        const { gate, build } = await machine.running("less", "first");
        expect(shell("ps -o user= -p $(pgrep -x buildkitd),$(pgrep -x step) | sort -u")).toBe("buildfleet_less");
        expect(shell("pgrep -a -u 0 'buildkit|runc|step' || true")).toBe("");
        gate.open();
        expect((await build.result).digest).toMatch(/^sha256:/);
        const denied = await machine.build("less", "metadata", ["metadata", `http://${METADATA_ADDRESS}/`]);
        expect(denied.log).toMatch(/not reached:/);
    });

    test("has its key for itself, and is mended where somebody has taken that away", async () => {
        expect(shell("stat -Lc '%a %U' /etc/buildfleet_less/tls/current/key.pem")).toBe("600 buildfleet_less");
        shell("rm -rf /etc/buildfleet_less/tls; userdel --force buildfleet_less");
        expect(await changes()).toMatchObject({ changes: true });
        state = (await operations.update("", state, inputs)).outs;
        expect(await changes()).toMatchObject({ changes: false });
        await machine.answer(inputs);
    });

    test("becomes one with root, whose caches are its own, and leaves nobody behind", async () => {
        const wanted = { ...inputs, settings: { ...inputs.settings, rootless: false } };
        state = (await operations.update("", state, wanted)).outs;
        inputs = wanted;
        const { gate, build } = await machine.running("less", "rooted");
        expect(shell("ps -o user= -p $(pgrep -x buildkitd),$(pgrep -x step) | sort -u")).toBe("root");
        expect(shell("iptables --list-rules OUTPUT; getent passwd buildfleet_less || true")).toBe("-P OUTPUT ACCEPT");
        gate.open();
        await build.result;
        inputs = { ...inputs, settings: { ...inputs.settings, rootless: true } };
        state = (await operations.update("", state, inputs)).outs;
        await machine.answer(inputs);
    });

    test("is bare again when it is given back", async () => {
        await operations.delete("", state);
        expect(`${trace()}${users()}`).toBe(bare);
    });
});
