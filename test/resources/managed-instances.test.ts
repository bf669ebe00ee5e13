import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { type Inputs, operations } from "../../resources/managed-host/operations";
import { ManagedRoom } from "../support/managed-room";

// Several builders on one machine, from bare to bare: the tests go on from each other, in this order.

const machine = new ManagedRoom();
let bare: string;
let first: Inputs;
let second: Inputs;
type State = Awaited<ReturnType<typeof operations.create>>["outs"];
const states: Record<string, State> = {};

beforeAll(async () => {
    await machine.open();
    first = await machine.inputs("first");
    second = await machine.inputs("second", { instance: "second", port: 8373, bridgeSubnet: "10.198.0.0/16" });
    bare = machine.room.trace();
}, 300_000);
afterAll(() => machine.close());

const create = async (inputs: Inputs) => {
    states[inputs.settings.node] = (await operations.create(inputs)).outs;
};
const stateOf = ({ settings }: Inputs) => states[settings.node] as State;
const changes = (inputs: Inputs) => operations.diff("", stateOf(inputs), inputs);
const mainPid = (unit: string) =>
    machine.room.shell(`systemctl show --property=MainPID --value ${unit}.service`).trim();

describe("two builders of one machine", () => {
    test("are set up at once, each for its own name only, and each builds", async () => {
        await Promise.all([create(first), create(second)]);
        for (const inputs of [first, second]) {
            expect(await machine.answer(inputs)).toMatchObject({ nativePlatform: `linux/${machine.architecture}` });
            expect(await changes(inputs)).toMatchObject({ changes: false });
            await machine.register(inputs);
        }
        const stranger = { ...second, settings: { ...second.settings, port: 8372 } };
        await expect(machine.answer(stranger)).rejects.toThrow();
        const builds = await Promise.all([machine.running("first", "a"), machine.running("second", "b")]);
        // Each step is in the network of its own builder.
        const addresses = machine.room.shell(
            "ls /var/lib/cni/networks/buildkit | grep '^10[.]' | cut -d. -f2 | sort -u",
        );
        expect(addresses).toBe("198\n199\n");
        for (const { gate } of builds) gate.open();
        for (const { build } of builds) expect((await build.result).digest).toMatch(/^sha256:/);
        expect(machine.room.shell("ls -d /var/lib/buildkit*")).toBe("/var/lib/buildkit\n/var/lib/buildkit_second\n");
    });

    test("a change of one waits for its own builds only, and does not touch the other", async () => {
        const pid = mainPid("buildkitd");
        const { gate, build } = await machine.running("first", "kept");
        const wanted = { ...second, settings: { ...second.settings, maxParallelism: 2, port: 8374 } };
        expect(await changes(wanted)).toMatchObject({ changes: true, replaces: [] });
        const own = await machine.running("second", "drained");
        const update = operations.update("", stateOf(second), wanted);
        // On the port of before: the new one has nobody yet.
        await machine.refuses(second);
        // The new one is taken all the same.
        const third = await machine.inputs("third", { instance: "third", port: 8374, bridgeSubnet: "10.197.0.0/16" });
        await expect(operations.create(third)).rejects.toThrow(/shares its port 8374 with .*room\/second/);
        own.gate.open();
        await own.build.result;
        states.second = (await update).outs;
        second = wanted;
        await machine.register(second);
        expect(
            machine.room.shell("ss -H -l -t -n '( sport = :8373 )'; iptables --list-rules INPUT | grep 837 || true"),
        ).toBe("");
        expect(mainPid("buildkitd")).toBe(pid);
        gate.open();
        await build.result;
        expect(await changes(first)).toMatchObject({ changes: false });
    });

    test("that would be in each other's way are refused, whoever manages them", async () => {
        const third = await machine.inputs("third", { instance: "third", port: 8375, bridgeSubnet: "10.197.0.0/16" });
        const declined = (changed: Partial<Inputs["settings"]>) =>
            operations.create({ ...third, settings: { ...third.settings, ...changed } });
        // Less what BuildKit itself does meanwhile.
        const trace = () => machine.room.trace().replace(/^\/var\/lib\/buildkit.*\n/gm, "");
        const before = trace();
        await expect(declined({ port: 8374 })).rejects.toThrow(/shares its port 8374 with .*room\/second/);
        await expect(declined({ bridgeSubnet: "10.198.128.0/17" })).rejects.toThrow(
            /room\/second.* has 10.198.0.0\/16/,
        );
        await expect(declined({ instance: "second" })).rejects.toThrow(/is managed by .*room\/second/);
        await expect(declined({ port: 22 })).rejects.toThrow(/somebody else's: port 22/);
        await expect(declined({ limits: { memoryBytes: 2 ** 30, cpus: 1 } })).rejects.toThrow(
            /no memory and no cpu in/,
        );
        expect(trace()).toBe(before);
    });

    test("go one by one: the other one builds on, and the last leaves the machine bare", async () => {
        const pid = mainPid("buildkitd_second");
        const { gate, build } = await machine.running("second", "during");
        await operations.delete("", stateOf(first));
        expect(mainPid("buildkitd_second")).toBe(pid);
        expect(await changes(second)).toMatchObject({ changes: false });
        // Its network goes on, and its addresses are not given out a second time.
        expect(machine.room.shell("ls /var/lib/cni/networks/buildkit")).toMatch(/^10[.]198[.]\d+[.]\d+$/m);
        expect(machine.room.shell("iptables -t nat --list-rules POSTROUTING")).toMatch(/-s 10[.]198[.]\d+[.]\d+/);
        gate.open();
        await build.result;
        const next = await machine.running("second", "after");
        next.gate.open();
        await next.build.result;
        const left = machine.room
            .trace()
            .split("\n")
            .filter((line) => /buildfleet|buildkit|837/.test(line));
        expect(
            left.filter(
                (line) =>
                    !/_second|^buildkitd$|8374|\bbf_second\b|10\.198\.|CNI|\/(networks|results)\/buildkit/.test(line),
            ),
        ).toEqual([]);
        await operations.delete("", stateOf(second));
        expect(machine.room.trace()).toBe(bare);
    });
});
