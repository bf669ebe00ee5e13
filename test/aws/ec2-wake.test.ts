import { execFileSync } from "node:child_process";
import { beforeEach, describe, expect, it } from "vitest";
import { place } from "../../core/placement";
import { describeMachine, stopMachine, terminateMachine } from "../../drivers/aws/ec2";
import { findTool } from "../../drivers/tools";
import { type Inputs, operations } from "../../resources/buildx-builder/operations";
import { runInstances } from "../support/machines-on-ec2";
import { type AwsProxy, ec2Error, REGION, rewriting } from "../support/moto";
import { freePort } from "../support/port";
import { useWokenMachines, type WokenDaemons } from "../support/woken";

const native = process.arch === "arm64" ? "linux/arm64" : "linux/amd64";
const foreign = process.arch === "arm64" ? "linux/amd64" : "linux/arm64";

let proxy: AwsProxy;
let daemons: WokenDaemons;
let said: string[];
/** Ids of the instances and the port of each one's BuildKit. */
let machines: { id: string; port: number }[];

const shared = useWokenMachines();
beforeEach(async () => {
    ({ proxy, daemons, said } = shared);
    const ids = await runInstances(2);
    machines = await Promise.all(ids.map(async (id) => ({ id, port: await freePort() })));
    daemons.startWith(proxy, Object.fromEntries(machines.map(({ id, port }) => [id, port])));
});

const machine = (i: number) => machines[i] ?? { id: "", port: 0 };
const node = (i: number, more: Partial<Inputs["nodes"][0]> = {}, ec2: object = {}) => ({
    name: `arm64-${i + 1}`,
    endpoint: `tcp://127.0.0.1:${machine(i).port}`,
    platforms: [native],
    serverName: "node",
    ec2: { instanceId: machine(i).id, region: REGION, wakeTimeoutSeconds: 60, ...ec2 },
    ...more,
});
const wanted = (more: Partial<Inputs> = {}): Inputs => ({
    name: "app-linux",
    platform: native,
    emulation: "refuse",
    placementKey: "app",
    nodes: [node(0)],
    client: daemons.client,
    ...more,
});
const register = async (more: Partial<Inputs> = {}) => (await operations.create(wanted(more))).outs;
type State = Awaited<ReturnType<typeof register>>;
const changes = async (state: State, more: Partial<Inputs> = {}) =>
    (await operations.diff("", state, wanted(more))).changes;
const update = async (state: State, more: Partial<Inputs> = {}) =>
    (await operations.update("", state, wanted(more))).outs;
const starts = () => proxy.actions().filter((name) => name === "StartInstances").length;
const inspect = () => execFileSync(findTool("docker-buildx"), ["inspect", "app-linux"], { encoding: "utf8" });
/** A key whose images are placed on this one of two nodes. */
const keyFor = (i: number) =>
    Array.from({ length: 100 }, (_, n) => `image-${n}`).find(
        (key) => place(key, [node(0), node(1)])[0]?.name === node(i).name,
    ) ?? "";

/** Machines of another architecture than this one's, in EC2's answer. */
const otherArchitecture = (body: string) =>
    body.replaceAll(/<architecture>[^<]+</g, `<architecture>${process.arch === "arm64" ? "x86_64" : "arm64"}<`);

describe("a node whose machine is stopped", () => {
    it("is only looked at by a preview; the update starts it, waits until BuildKit answers over mTLS, and tells", async () => {
        await daemons.start(machine(0).id, machine(0).port);
        const state = await register();
        expect(await changes(state)).toBe(false);
        await daemons.stop();
        await stopMachine(REGION, machine(0).id);

        expect(await changes(state)).toBe(true);
        expect((await describeMachine(REGION, machine(0).id)).state).toBe("stopped");
        expect(starts()).toBe(0);
        expect(said).toEqual([]);

        const woken = await update(state);
        expect(woken).toMatchObject({ nodeName: "arm64-1", endpoint: node(0).endpoint, emulated: false });
        expect(starts()).toBe(1);
        expect(inspect()).toMatch(/Status:\s+running/);
        expect(said[0]).toBe(`builder node arm64-1 (${machine(0).id}) is stopped; starting it`);
        expect(said.at(-1)).toMatch(/^builder node arm64-1 \(i-\w+\) answers after \d+\.\d s$/);
        expect(await changes(woken)).toBe(false);
    });

    it("keeps the images that are placed on it, though another node is up", async () => {
        await stopMachine(REGION, machine(0).id);
        await daemons.start(machine(1).id, machine(1).port);
        const nodes = [node(0), node(1)];
        expect((await register({ nodes, placementKey: keyFor(1) })).nodeName).toBe("arm64-2");
        expect(starts()).toBe(0);
        expect((await register({ nodes, placementKey: keyFor(0) })).nodeName).toBe("arm64-1");
        expect(starts()).toBe(1);
    });

    it("gives way to the next one when AWS has no capacity to start it", async () => {
        await stopMachine(REGION, machine(0).id);
        await daemons.start(machine(1).id, machine(1).port);
        process.env.AWS_MAX_ATTEMPTS = "1";
        proxy.on("StartInstances", () => ec2Error("InsufficientInstanceCapacity", "We have no c7g.large.", 500));
        const state = await register({ nodes: [node(0), node(1)], placementKey: keyFor(0) });
        expect(state.nodeName).toBe("arm64-2");
        expect(said.join("\n")).toContain("arm64-1: ec2:StartInstances in eu-central-1: We have no c7g.large.");
    });

    it("is waited for only so long, and the error says its state, its last answer and where to look", async () => {
        await stopMachine(REGION, machine(0).id);
        proxy.on("StartInstances", (call) => call.forward()); // and no BuildKit starts with it
        const late = register({ nodes: [node(0, {}, { wakeTimeoutSeconds: 5 })] });
        await expect(late).rejects.toThrow(
            new RegExp(
                `arm64-1 \\(tcp.*\\): did not answer within 5 s: instance ${machine(0).id} in ${REGION} runs since \\S+, ` +
                    "BuildKit does not answer yet, last answer: .*ECONNREFUSED.*aws ec2 get-console-output --latest " +
                    `--region ${REGION} --instance-id ${machine(0).id}.*or raise wakeTimeoutSeconds\\nnext: `,
            ),
        );
    });

    it("is not started before it has stopped", async () => {
        await stopMachine(REGION, machine(0).id);
        const stopping = rewriting((body, { count }) =>
            count <= 3 ? body.replace("<name>stopped</name>", "<name>stopping</name>") : body,
        );
        proxy.on("DescribeInstances", stopping);
        const early = proxy.actions().length;
        expect((await register()).nodeName).toBe("arm64-1");
        const order = proxy.actions().slice(early);
        expect(order.indexOf("StartInstances")).toBe(4);
        expect(starts()).toBe(1);
    });

    it("may be started by two at once", async () => {
        await stopMachine(REGION, machine(0).id);
        proxy.on("StartInstances", async (call) => {
            // Another runner's start goes first.
            const reply = await call.forward();
            void daemons.start(machine(0).id, machine(0).port);
            return reply.status === 200 ? ec2Error("IncorrectInstanceState", "is not stopped") : reply;
        });
        const [one, two] = await Promise.all([register(), register({ name: "other-linux" })]);
        expect([one.nodeName, two.nodeName]).toEqual(["arm64-1", "arm64-1"]);
        expect(starts()).toBe(1);
    });

    it("that starts up by somebody else's doing is waited for", async () => {
        const state = register();
        await new Promise<void>((resolve) => {
            proxy.on("DescribeInstances", async (call) => {
                if (call.count === 3) resolve();
                return call.forward();
            });
        });
        await daemons.start(machine(0).id, machine(0).port);
        expect((await state).nodeName).toBe("arm64-1");
        expect(starts()).toBe(0);
    });

    it("and stops again each time it is started is given up", async () => {
        await stopMachine(REGION, machine(0).id);
        proxy.on("StartInstances", async (call) => {
            const reply = await call.forward();
            await stopMachine(REGION, machine(0).id);
            return reply;
        });
        await expect(register()).rejects.toThrow(
            /was started 2 times and is stopped again \(Client\.UserInitiatedShutdown: .*\); look at its console/,
        );
        expect(starts()).toBe(2);
    });

    it("is not woken for a platform that it would emulate", async () => {
        await stopMachine(REGION, machine(0).id);
        const more = { platform: foreign, nodes: [node(0, { platforms: [native, foreign] })] };
        await expect(register(more)).rejects.toThrow(`is ${native} and would emulate ${foreign}`);
        expect(starts()).toBe(0);
    });

    it("is no reason to emulate on another when it can't be started; the error says that this one was not tried", async () => {
        await stopMachine(REGION, machine(0).id);
        proxy.on("DescribeInstances", rewriting(otherArchitecture));
        proxy.on("StartInstances", () => ec2Error("VcpuLimitExceeded", "No more."));
        await daemons.start(machine(1).id, machine(1).port);
        const nodes = [node(0, { platforms: [foreign] }), node(1, { platforms: [foreign] })];
        await expect(register({ platform: foreign, emulation: "allow", nodes })).rejects.toThrow(
            /arm64-1 .*No more\.[\s\S]*arm64-2 \(tcp.*\): would emulate it, and was not tried\nnext: start one/,
        );
    });
});

describe("a node on EC2", () => {
    it("whose instance was terminated is told apart from one that sleeps", async () => {
        await terminateMachine(REGION, machine(0).id);
        await expect(register()).rejects.toThrow(
            new RegExp(`its instance ${machine(0).id} in ${REGION} is terminated \\(.*\\); run refresh`),
        );
        const nodes = [node(0, {}, { instanceId: "i-0123456789abcdef0" })];
        await expect(register({ nodes })).rejects.toThrow("its instance i-0123456789abcdef0 in eu-central-1 is gone");
        expect(starts()).toBe(0);
    });

    it("that answers needs no credentials for AWS", async () => {
        await daemons.start(machine(0).id, machine(0).port);
        delete process.env.AWS_ACCESS_KEY_ID;
        const state = await register();
        expect(await changes(state)).toBe(false);
    });

    it("that does not answer, and can't be looked at, is a problem that says both", async () => {
        delete process.env.AWS_ACCESS_KEY_ID;
        await expect(register()).rejects.toThrow(/ECONNREFUSED.*; ec2:DescribeInstances .*no usable AWS credentials/);
    });
});

describe("a node whose machine runs for long and does not answer", () => {
    const SINCE = "2026-01-01T00:00:00.000Z";
    /** Every machine was started long ago; `change` may do more to what EC2 says. */
    const runForLong = (change = (body: string, _count: number) => body) =>
        proxy.on(
            "DescribeInstances",
            rewriting((body, { count }) =>
                change(body.replaceAll(/<launchTime>[^<]+</g, `<launchTime>${SINCE}<`), count),
            ),
        );
    const looks = () => proxy.actions().filter((name) => name === "DescribeInstances").length;
    const both = (wakeTimeoutSeconds = 60) => [node(0, {}, { wakeTimeoutSeconds }), node(1)];

    it("is waited for: its volume may have moved to it only now, or it drains for new certificates", async () => {
        runForLong((body, count) => {
            // The second look is the first of the wait.
            if (count === 2) void daemons.start(machine(0).id, machine(0).port);
            return body;
        });
        expect((await register()).nodeName).toBe("arm64-1");
        expect(starts()).toBe(0);
        expect(said.at(-1)).toMatch(/^builder node arm64-1 \(i-\w+\) answers after \d+\.\d s$/);
    });

    it("is not waited for by a preview, which shows that there is something to do", async () => {
        await daemons.start(machine(0).id, machine(0).port);
        const state = await register();
        await daemons.stop();
        runForLong();
        expect(await changes(state)).toBe(true);
        expect(looks()).toBe(1);
        expect(said).toEqual([]);
    });

    it("fails when its time is over, with since when it runs, where to look, and what the other nodes have", async () => {
        runForLong();
        await terminateMachine(REGION, machine(1).id);
        const message = await register({ nodes: both(5) }).catch((error: Error) => error.message);
        expect(message).toMatch(
            new RegExp(
                `arm64-1 \\(tcp.*did not answer within 5 s: instance ${machine(0).id} in ${REGION} runs since ${SINCE}, ` +
                    "BuildKit does not answer yet, last answer: .*ECONNREFUSED.*; look at its console .*raise wakeTimeoutSeconds",
            ),
        );
        expect(message).toMatch(new RegExp(`arm64-2 \\(tcp.*its instance ${machine(1).id} in ${REGION} is terminated`));
    });

    it("gives way at once to one that answers, whatever is placed on it", async () => {
        runForLong();
        await daemons.start(machine(1).id, machine(1).port);
        expect((await register({ nodes: both(), placementKey: keyFor(0) })).nodeName).toBe("arm64-2");
        expect(looks()).toBe(1);
        expect(said).toEqual([]);
    });

    it("gives way to one that is asleep", async () => {
        runForLong();
        await stopMachine(REGION, machine(1).id);
        expect((await register({ nodes: both(), placementKey: keyFor(0) })).nodeName).toBe("arm64-2");
        expect(starts()).toBe(1);
        expect(said[0]).toBe(`builder node arm64-2 (${machine(1).id}) is stopped; starting it`);
    });

    it("is waited for before another emulates, and emulated after that", async () => {
        runForLong(otherArchitecture);
        await daemons.start(machine(1).id, machine(1).port);
        const nodes = both(5).map((one) => ({ ...one, platforms: [foreign] }));
        const state = await register({ platform: foreign, emulation: "allow", nodes, placementKey: keyFor(1) });
        expect(state).toMatchObject({ nodeName: "arm64-2", emulated: true });
        expect(said.at(-1)).toMatch(/arm64-1: did not answer within 5 s.*; trying the next$/);
    });
});
