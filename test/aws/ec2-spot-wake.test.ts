import { randomUUID } from "node:crypto";
import { beforeEach, describe, expect, it } from "vitest";
import { describeMachine, findMachines, isGone, stopMachine, tagMachine } from "../../drivers/aws/ec2";
import { operations as builder } from "../../resources/buildx-builder/operations";
import { type Inputs, operations as spot } from "../../resources/spot-instance/operations";
import { makeTemplate, runInstances } from "../support/machines-on-ec2";
import { type AwsProxy, ec2Error, launchingByToken, REGION, rewriting } from "../support/moto";
import { freePort } from "../support/port";
import { useWokenMachines, type WokenDaemons } from "../support/woken";

const native = process.arch === "arm64" ? "linux/arm64" : "linux/amd64";
const NONE = { "buildfleet:capacity": "none" };

let proxy: AwsProxy;
let daemons: WokenDaemons;
let said: string[];
let inputs: Inputs;
/** The node's instance, stopped, and the port of its BuildKit. */
let made: Awaited<ReturnType<typeof spot.create>>;
let port: number;
let hasSpot: boolean;

const shared = useWokenMachines();
beforeEach(async () => {
    ({ proxy, daemons, said } = shared);
    hasSpot = true;
    process.env.AWS_MAX_ATTEMPTS = "1";
    inputs = {
        ...(await makeTemplate()),
        launchTemplateVersion: "1",
        region: REGION,
        fallback: "on-demand",
        interruption: "stop",
        tags: {},
        machine: `shop/dev/builders-${randomUUID()}`,
    };
    const none = ec2Error("InsufficientInstanceCapacity", "There is no Spot capacity.", 500);
    proxy.on(
        "RunInstances",
        launchingByToken(({ input }) =>
            hasSpot || input["InstanceMarketOptions.MarketType"] !== "spot" ? undefined : none,
        ),
    );
    [made, port] = await Promise.all([spot.create(inputs), freePort()]);
    await stopMachine(REGION, made.id);
});

const register = async (instanceId = made.id, wakeTimeoutSeconds = 60) => {
    const ec2 = { instanceId, region: REGION, wakeTimeoutSeconds };
    const endpoint = `tcp://127.0.0.1:${port}`;
    const nodes = [{ name: "arm64-1", endpoint, platforms: [native], serverName: "node", ec2 }];
    const wanted = { name: "app-linux", platform: native, emulation: "refuse" as const, placementKey: "app" };
    return (await builder.create({ ...wanted, nodes, client: daemons.client })).outs;
};
const refusing = (code: string) => proxy.on("StartInstances", () => ec2Error(code, `it is ${code}`, 400));
const tags = async (id = made.id) => (await describeMachine(REGION, id)).tags;
const diff = (more: Partial<Inputs> = {}) => spot.diff(made.id, made.outs, { ...inputs, ...more });
const REPLACED = { changes: true, replaces: ["instanceId"], deleteBeforeReplace: false };
const called = (action: string) => proxy.actions().filter((name) => name === action).length;

describe("a stopped Spot machine that AWS has no capacity to start", () => {
    it.each(["InsufficientInstanceCapacity", "SpotMaxPriceTooLow", "MaxSpotInstanceCountExceeded"])(
        "fails its node on %s, says what comes next, and is launched anew by the next up where the group has a fallback",
        async (code) => {
            expect((await diff()).changes).toBe(false);
            refusing(code);
            await expect(register()).rejects.toThrow(
                new RegExp(
                    `arm64-1 \\(.*: ec2:StartInstances in ${REGION}: it is ${code}.*\\nnext: the next "pulumi up".*fallback: "on-demand"`,
                ),
            );
            expect(await tags()).toMatchObject(NONE);
            expect(await diff()).toEqual(REPLACED);
            expect((await diff({ fallback: "none" })).changes).toBe(false);
        },
    );

    it("gives way to a new Spot one, or one on demand without capacity; the old one goes, and nobody adopts it", async () => {
        refusing("InsufficientInstanceCapacity");
        await expect(register()).rejects.toThrow("InsufficientInstanceCapacity");
        hasSpot = false;
        const onDemand = await spot.create(inputs);
        expect(onDemand.id).not.toBe(made.id);
        expect(onDemand.outs.capacity).toBe("on-demand");
        expect(said.at(-1)).toContain("no Spot capacity (InsufficientInstanceCapacity); on-demand instead");
        await spot.delete(made.id, made.outs);
        const alive = (
            await findMachines(REGION, [{ Name: "tag:buildfleet:machine", Values: [inputs.machine] }])
        ).filter((machine) => !isGone(machine));
        expect(alive.map(({ instanceId }) => instanceId)).toEqual([onDemand.id]);
        expect((await spot.diff(onDemand.id, onDemand.outs, inputs)).changes).toBe(false);
    });

    it("is launched as Spot first, where there is capacity again", async () => {
        await tagMachine(REGION, made.id, NONE);
        const again = await spot.create(inputs);
        expect(again.id).not.toBe(made.id);
        expect(again.outs.capacity).toBe("spot");
    });

    it("stays where somebody else has started it meanwhile", async () => {
        await tagMachine(REGION, made.id, NONE);
        expect(await diff()).toEqual(REPLACED);
        daemons.startWith(proxy, { [made.id]: port });
        await register();
        expect((await diff()).changes).toBe(false);
        expect((await spot.create(inputs)).id).toBe(made.id);
    });

    it("loses the note when a later start succeeds", async () => {
        refusing("InsufficientInstanceCapacity");
        await expect(register()).rejects.toThrow("InsufficientInstanceCapacity");
        daemons.startWith(proxy, { [made.id]: port });
        expect((await register()).nodeName).toBe("arm64-1");
        expect(await tags()).not.toHaveProperty("buildfleet:capacity");
        await stopMachine(REGION, made.id);
        expect((await diff()).changes).toBe(false);
    });

    it("answers, though its note can't be taken off; that is said", async () => {
        await tagMachine(REGION, made.id, NONE);
        daemons.startWith(proxy, { [made.id]: port });
        proxy.on("DeleteTags", () => ec2Error("UnauthorizedOperation", "You may not.", 403));
        expect((await register()).nodeName).toBe("arm64-1");
        expect(said.join("\n")).toMatch(/its note that there is no capacity stays: ec2:DeleteTags .*no permission/);
    });

    it("says both where it can't be noted", async () => {
        refusing("InsufficientInstanceCapacity");
        proxy.on("CreateTags", () => ec2Error("UnauthorizedOperation", "You may not.", 403));
        await expect(register()).rejects.toThrow(
            /it is InsufficientInstanceCapacity.*\nnext: run again later; .*could not be noted.*no permission for ec2:CreateTags/,
        );
    });

    it("may be stopped again by AWS right after each start", async () => {
        const reason = "<code>Server.InsufficientInstanceCapacity</code><message>There is none</message>";
        proxy.on("StartInstances", async (call) => {
            const reply = await call.forward();
            await stopMachine(REGION, made.id);
            return reply;
        });
        proxy.on(
            "DescribeInstances",
            rewriting((body) =>
                body.replaceAll(/<stateReason>.*?<\/stateReason>/gs, `<stateReason>${reason}</stateReason>`),
            ),
        );
        await expect(register()).rejects.toThrow(
            /was started 2 times and is stopped again.*\nnext: the next "pulumi up"/,
        );
        expect(await tags()).toMatchObject(NONE);
    });
});

describe("a stopped Spot machine whose request does not let it be started", () => {
    it("is tried again until it does: EC2 takes a while to see that the machine has stopped", async () => {
        proxy.on("StartInstances", (call) => {
            if (call.count === 1) return ec2Error("IncorrectSpotRequestState", "not in an appropriate state");
            void daemons.start(made.id, port);
            return call.forward();
        });
        expect((await register()).nodeName).toBe("arm64-1");
        expect(called("StartInstances")).toBe(2);
        expect(said.filter((line) => line.endsWith("is stopped; starting it"))).toHaveLength(1);
    });

    it("lacks capacity when it still does not in the end: AWS took the capacity, and has not given it back", async () => {
        refusing("IncorrectSpotRequestState");
        await expect(register(made.id, 5)).rejects.toThrow(
            /it is IncorrectSpotRequestState.*\nnext: the next "pulumi up"/,
        );
        expect(await diff()).toEqual(REPLACED);
    });
});

describe("a stopped machine that no SpotInstance has launched", () => {
    it("gets no note", async () => {
        const [id = ""] = await runInstances();
        await stopMachine(REGION, id);
        refusing("InsufficientInstanceCapacity");
        await expect(register(id)).rejects.toThrow(/InsufficientInstanceCapacity.*\nnext: run again later, or choose/);
        expect(await tags(id)).toEqual({});
    });

    it("nor does one that has fallen back to on-demand already", async () => {
        hasSpot = false;
        const { id } = await spot.create({ ...inputs, machine: `${inputs.machine}-2` });
        await stopMachine(REGION, id);
        refusing("InsufficientInstanceCapacity");
        await expect(register(id)).rejects.toThrow(/\nnext: run again later, or choose/);
        expect(await tags(id)).not.toHaveProperty("buildfleet:capacity");
    });
});
