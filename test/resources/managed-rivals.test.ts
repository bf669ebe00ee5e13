import { setTimeout as wait } from "node:timers/promises";
import { afterAll, afterEach, beforeAll, describe, expect, test } from "vitest";
import type { ManagedSettings } from "../../core/host";
import { type Inputs, operations } from "../../resources/managed-host/operations";
import { ManagedRoom } from "../support/managed-room";

// Stacks that come to one machine at the same time: all look at it before any of them has changed it.

const machine = new ManagedRoom();
let bare: string;

beforeAll(async () => {
    await machine.open();
    bare = machine.room.trace();
}, 300_000);
afterEach(() => expect(machine.room.trace()).toBe(bare));
afterAll(() => machine.close());

/** Of two stacks, which know nothing of each other. */
const rivals = (one: Partial<ManagedSettings>, other: Partial<ManagedSettings>) =>
    Promise.all(
        [one, other].map(async (changed, at): Promise<Inputs> => {
            const inputs = await machine.inputs(`rival-${at}`, changed);
            return { ...inputs, owner: `tests/stack-${at}/room/${at}` };
        }),
    );

/** Both at once: who has the machine then, and what the other one was told. */
async function race(inputs: Inputs[]) {
    const results = await Promise.allSettled(inputs.map((one) => operations.create(one)));
    const won = results.flatMap((result, at) => (result.status === "fulfilled" ? [at] : []));
    const told = results.flatMap((result) => (result.status === "rejected" ? [`${result.reason.message}`] : []));
    expect([won.length, told]).toEqual([1, [expect.any(String)]]);
    const [winner, loser] = won[0] === 0 ? inputs : [...inputs].reverse();
    if (!winner || !loser) throw new Error("two have to race");
    return { winner, state: { ...winner, system: "", installation: "" }, loser, message: told[0] ?? "" };
}

/** The machine is the winner's, whole. */
async function expectWhole(winner: Inputs) {
    const { outs } = await operations.create(winner);
    expect(await operations.diff("", outs, winner)).toMatchObject({ changes: false });
    expect(await machine.answer(winner)).toMatchObject({ nativePlatform: `linux/${machine.architecture}` });
    return outs;
}

describe("two stacks that come to a bare machine at once", () => {
    test("one has it, and the other is told by whom it is managed", async () => {
        const { winner, loser, message } = await race(await rivals({}, {}));
        expect(message).toContain(`is managed by ${winner.owner}; nothing was changed`);
        expect(machine.room.shell("cat /etc/buildfleet/owner")).toBe(`${winner.owner}\n`);
        const state = await expectWhole(winner);
        await operations.delete("", { ...state, ...loser });
        expect(await machine.answer(winner)).toBeDefined();
        await operations.delete("", state);
    }, 300_000);

    test.each([
        ["port", { bridgeSubnet: "10.198.0.0/16", port: 8373 }, { bridgeSubnet: "10.197.0.0/16", port: 8373 }],
        ["network", { bridgeSubnet: "10.198.0.0/16", port: 8373 }, { bridgeSubnet: "10.198.64.0/18", port: 8374 }],
    ])(
        "two instances with one %s: one has it, and the other is told whose it is",
        async (what, one, other) => {
            const inputs = await rivals({ instance: "one", ...one }, { instance: "other", ...other });
            const { winner, loser, message } = await race(inputs);
            expect(message).toContain(`the builder of ${winner.owner} on it`);
            expect(message).toMatch(what === "port" ? /shares its port 8373 with/ : /has the build network 10[.]198/);
            expect(machine.room.shell("cd /etc; ls -d buildfleet*")).toBe(`buildfleet_${winner.settings.instance}\n`);
            const state = await expectWhole(winner);
            await operations.delete("", { ...state, ...loser });
            expect(await machine.answer(winner)).toBeDefined();
            await operations.delete("", state);
        },
        300_000,
    );
});

test("a removal that had to wait leaves a builder that somebody else manages by then", async () => {
    const [inputs] = await rivals({}, {});
    if (!inputs) throw new Error("no inputs");
    const { outs } = await operations.create(inputs);
    const shell = (script: string) => machine.room.shell(script);
    shell("systemd-run --quiet --collect --unit=buildfleet-change tail -f /dev/null");
    const removal = operations.delete("", outs);
    // It waits for the change before it.
    while (!/^sleep$/m.test(shell("ps -e -o comm="))) await wait(50);
    shell("echo tests/next/room/1 >/etc/buildfleet/owner; systemctl stop buildfleet-change");
    await removal;
    expect(await machine.answer(inputs)).toBeDefined();
    await operations.delete("", { ...outs, owner: "tests/next/room/1" });
}, 300_000);
