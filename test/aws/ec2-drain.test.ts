import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it } from "vitest";
import { describeMachine, stopMachine, terminateMachine } from "../../drivers/aws/ec2";
import { listenToProgress } from "../../drivers/progress";
import { operations } from "../../resources/ec2-drain/operations";
import { runInstances } from "../support/machines-on-ec2";
import { type AwsProxy, type Moto, REGION, startAwsProxy, startMoto, useEnvironment } from "../support/moto";

let moto: Moto;
let proxy: AwsProxy;
let undo: (() => void)[];
let said: string[];
let old: string;
let next: string;

beforeAll(async () => {
    moto = await startMoto();
    proxy = await startAwsProxy(moto);
});
afterAll(async () => {
    await proxy?.stop();
    await moto?.close();
});
beforeEach(async () => {
    said = [];
    undo = [useEnvironment(proxy.env), listenToProgress((line) => said.push(line))];
    [old = "", next = ""] = await runInstances(2);
});
afterEach(() => {
    for (const one of undo) one();
    proxy.reset();
});

const settings = (instanceId: string, timeoutSeconds = 60) => ({ region: REGION, instanceId, timeoutSeconds });
const create = async (instanceId: string) => (await operations.create(settings(instanceId))).outs;
const called = (action: string) => proxy.actions().filter((name) => name === action).length;

/** The node's own part: it sees the tag, lets a build end, and switches itself off. */
function drainsWhenAsked(): void {
    proxy.on("CreateTags", async (call) => {
        const reply = await call.forward();
        const asked = call.input["Tag.1.Key"] === "buildfleet:drain" && call.input["Tag.1.Value"] === "true";
        // After the next look at it, which must find it still at work.
        if (asked)
            proxy.on("DescribeInstances", async (look) => {
                const answer = await look.forward();
                await stopMachineBehind(call.input["ResourceId.1"]);
                return answer;
            });
        return reply;
    });
}

/** Stops an instance in moto itself, so that the proxy does not count it as the runner's doing. */
async function stopMachineBehind(instanceId: string): Promise<void> {
    const stop = useEnvironment(moto.env);
    try {
        await stopMachine(REGION, instanceId);
    } finally {
        stop();
    }
}

describe("draining", () => {
    it("asks the instance before, and waits until it has switched itself off; the new one is not touched", async () => {
        const state = await create(old);
        expect((await operations.diff("", state, settings(next))).changes).toBe(true);
        drainsWhenAsked();
        const { outs } = await operations.update("", state, settings(next));
        expect(outs).toMatchObject({ instanceId: next, forced: false });
        expect(await describeMachine(REGION, old)).toMatchObject({
            state: "stopped",
            tags: { "buildfleet:drain": "true" },
        });
        expect(await describeMachine(REGION, next)).toMatchObject({ state: "running", tags: {} });
        expect(called("StopInstances")).toBe(0);
        expect(said[0]).toBe(`draining ${old}: no new builds; waiting for those that run`);
    });

    it("stops an instance that does not drain in time, and says so", async () => {
        const state = await create(old);
        const { outs } = await operations.update("", state, settings(next, 2));
        expect(outs.forced).toBe(true);
        expect((await describeMachine(REGION, old)).state).toBe("stopped");
        expect(called("StopInstances")).toBe(1);
        expect(said.at(-1)).toBe(`${old} did not drain within 2 s; stopping it, builds that still run are cut off`);
    });

    it.each<[string, () => Promise<unknown>]>([
        ["stopped", () => stopMachine(REGION, old)],
        ["terminated", () => terminateMachine(REGION, old)],
    ])("of an instance that is %s is done at once", async (_case, before) => {
        await before();
        const state = await create(old);
        await operations.delete("", state);
        expect(called("CreateTags")).toBe(0);
        expect(said).toEqual([]);
    });

    it("of an instance that EC2 does not know has nothing to do, and says so: it may be another account's", async () => {
        await operations.delete("", await create("i-0123456789abcdef0"));
        expect(called("CreateTags")).toBe(0);
        expect(said).toEqual([
            expect.stringMatching(/^i-0123456789abcdef0 is not known in .* to the account of this run/),
        ]);
    });

    it("is what a delete does, too, and a repeated one finds nothing left to do", async () => {
        const state = await create(old);
        drainsWhenAsked();
        await operations.delete("", state);
        expect((await describeMachine(REGION, old)).state).toBe("stopped");
        await operations.delete("", state);
        expect(called("CreateTags")).toBe(1);
    });

    it("only of an instance that goes: another one is noted, and neither is touched; a delete drains that one", async () => {
        const before = { ...settings(old), on: "delete" as const };
        const after = { ...settings(next), on: "delete" as const };
        const state = (await operations.create(before)).outs;
        expect((await operations.diff("", state, after)).changes).toBe(true);
        const { outs } = await operations.update("", state, after);
        expect(proxy.actions()).not.toContain("DescribeInstances");
        expect(outs).toMatchObject({ instanceId: next, forced: false });
        drainsWhenAsked();
        await operations.delete("", outs);
        expect(await describeMachine(REGION, next)).toMatchObject({
            state: "stopped",
            tags: { "buildfleet:drain": "true" },
        });
        expect(await describeMachine(REGION, old)).toMatchObject({ state: "running", tags: {} });
    });

    it("only of an instance that goes takes note of another time-out, which only the state tells a delete", async () => {
        const state = (await operations.create({ ...settings(old, 60), on: "delete" })).outs;
        const shorter = { ...settings(old, 2), on: "delete" as const };
        expect((await operations.diff("", state, shorter)).changes).toBe(true);
        const { outs } = await operations.update("", state, shorter);
        await operations.delete("", outs);
        expect(said.at(-1)).toBe(`${old} did not drain within 2 s; stopping it, builds that still run are cut off`);
    });

    it("only of an instance that is replaced leaves its delete to another", async () => {
        const state = (await operations.create({ ...settings(old), on: "change" })).outs;
        await operations.delete("", state);
        expect(proxy.actions()).not.toContain("DescribeInstances");
        drainsWhenAsked();
        await operations.update("", state, { ...settings(next), on: "change" });
        expect((await describeMachine(REGION, old)).state).toBe("stopped");
    });

    it("of a state that says nothing of when goes on as before, and nothing is drained for that", async () => {
        const state = await create(old);
        const { outs } = await operations.update("", state, { ...settings(old), on: "change" });
        expect(outs).toMatchObject({ on: "change", forced: false });
        expect(proxy.actions()).not.toContain("DescribeInstances");
    });

    it("is not done for another time-out alone", async () => {
        const state = await create(old);
        expect((await operations.diff("", state, settings(old, 5))).changes).toBe(false);
        expect((await operations.update("", state, settings(old, 5))).outs.forced).toBe(false);
        expect(called("CreateTags")).toBe(0);
    });
});
