import { randomUUID } from "node:crypto";
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it } from "vitest";
import { withAws } from "../../drivers/aws/clients";
import { describeMachine, findMachines, isGone, terminateMachine } from "../../drivers/aws/ec2";
import { listenToProgress } from "../../drivers/progress";
import { type Inputs, operations } from "../../resources/spot-instance/operations";
import { makeTemplate } from "../support/machines-on-ec2";
import {
    type AwsProxy,
    type Call,
    ec2Error,
    launchingByToken,
    type Moto,
    REGION,
    type Reply,
    rewriting,
    startAwsProxy,
    startMoto,
    useEnvironment,
} from "../support/moto";

let moto: Moto;
let proxy: AwsProxy;
let undo: (() => void)[];
let said: string[];
let inputs: Inputs;
/** Form fields of every RunInstances. */
let launches: Record<string, string>[];

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
    launches = [];
    undo = [useEnvironment(proxy.env), listenToProgress((line) => said.push(line))];
    process.env.AWS_MAX_ATTEMPTS = "1";
    inputs = {
        ...(await makeTemplate()),
        launchTemplateVersion: "1",
        region: REGION,
        fallback: "none",
        interruption: "stop",
        tags: { team: "build" },
        // Of this test alone: what the others have started stays.
        machine: `shop/dev/builders-${randomUUID()}`,
    };
    launching();
});
afterEach(async () => {
    for (const one of undo) one();
    proxy.reset();
});

/** Keeps what launches are asked for; `refuse` may answer first. */
function launching(refuse: (call: Call) => Reply | undefined = () => undefined): void {
    proxy.on(
        "RunInstances",
        launchingByToken((call) => {
            launches.push(call.input);
            return refuse(call);
        }),
    );
}

const isSpot = ({ input }: Call) => input["InstanceMarketOptions.MarketType"] === "spot";
const create = async (more: Partial<Inputs> = {}) => operations.create({ ...inputs, ...more });
const alive = async () =>
    (await findMachines(REGION, [{ Name: "tag:buildfleet:machine", Values: [inputs.machine] }])).filter(
        (machine) => !isGone(machine),
    );

describe("a Spot instance", () => {
    it("is one persistent Spot request from the template, tagged, that stops when it is interrupted", async () => {
        const { id, outs } = await create();
        expect(launches).toHaveLength(1);
        expect(launches[0]).toMatchObject({
            "LaunchTemplate.LaunchTemplateId": inputs.launchTemplateId,
            "LaunchTemplate.Version": "1",
            SubnetId: inputs.subnetId,
            MinCount: "1",
            MaxCount: "1",
            "InstanceMarketOptions.MarketType": "spot",
            "InstanceMarketOptions.SpotOptions.SpotInstanceType": "persistent",
            "InstanceMarketOptions.SpotOptions.InstanceInterruptionBehavior": "stop",
            "TagSpecification.1.ResourceType": "instance",
            "TagSpecification.2.ResourceType": "spot-instances-request",
        });
        const machine = await describeMachine(REGION, id);
        expect(machine).toMatchObject({ state: "running", isSpot: true });
        expect(machine.tags).toMatchObject({ team: "build", "buildfleet:machine": inputs.machine });
        expect(outs).toMatchObject({
            instanceId: id,
            capacity: "spot",
            privateIp: machine.privateIp,
            availabilityZone: machine.zone,
            arn: `arn:aws:ec2:${REGION}:123456789012:instance/${id}`,
        });
        expect((await operations.diff(id, outs, inputs)).changes).toBe(false);
    });

    it.each([
        "InsufficientInstanceCapacity",
        "SpotMaxPriceTooLow",
        "MaxSpotInstanceCountExceeded",
        "UnfulfillableCapacity",
        "InsufficientHostCapacity",
        "Unsupported",
    ])("falls back to on-demand on %s where it may, and says so", async (code) => {
        launching((call) => (isSpot(call) ? ec2Error(code, "There is no Spot capacity.") : undefined));
        const { id, outs } = await create({ fallback: "on-demand" });
        expect(outs.capacity).toBe("on-demand");
        expect(launches[1]).not.toHaveProperty("InstanceMarketOptions.MarketType");
        expect((await describeMachine(REGION, id)).isSpot).toBe(false);
        expect(said).toEqual([`${inputs.machine}: no Spot capacity (${code}); on-demand instead`]);
    });

    it("is refused where there is no capacity and no fallback, with what could be done", async () => {
        launching(() => ec2Error("InsufficientInstanceCapacity", "We have none.", 500));
        await expect(create()).rejects.toThrow(
            /no Spot capacity for shop\/dev\/builders-[\w-]+: We have none.*\nnext: .*write fallback: "on-demand"/,
        );
        expect(launches).toHaveLength(1);
    });

    it("waits until EC2 has heard of an instance profile that was just made", async () => {
        launching(() =>
            launches.length < 3
                ? ec2Error(
                      "InvalidParameterValue",
                      "Value (p) for parameter iamInstanceProfile.arn is invalid. Invalid IAM Instance Profile ARN",
                  )
                : undefined,
        );
        const { id } = await create();
        expect(launches).toHaveLength(3);
        expect((await alive()).map(({ instanceId }) => instanceId)).toEqual([id]);
    });

    it("does not wait on another value that is wrong", async () => {
        launching(() => ec2Error("InvalidParameterValue", "Invalid availability zone"));
        await expect(create()).rejects.toMatchObject({ awsCode: "InvalidParameterValue" });
        expect(launches).toHaveLength(1);
    });

    it.each(["VcpuLimitExceeded", "UnauthorizedOperation", "InvalidLaunchTemplateId.NotFound"])(
        "does not fall back on %s, which on-demand would not cure",
        async (code) => {
            launching(() => ec2Error(code, "No.", 400));
            await expect(create({ fallback: "on-demand" })).rejects.toMatchObject({ awsCode: code });
            expect(launches).toHaveLength(1);
        },
    );

    it("that goes again right after its start for want of capacity falls back, too", async () => {
        const reason = "<code>Server.InsufficientInstanceCapacity</code><message>There is none</message>";
        const taken = rewriting((body) =>
            // A look at the instance (a search has more filters), after the one that follows its launch.
            launches.length === 1 && body.includes("<name>running</name>") && looks++ > 0
                ? body
                      .replace("<name>running</name>", "<name>terminated</name>")
                      .replace(/<stateReason\s*\/>|<stateReason>.*?<\/stateReason>/s, "")
                      .replace("</instanceState>", `</instanceState><stateReason>${reason}</stateReason>`)
                : body,
        );
        let looks = 0;
        proxy.on("DescribeInstances", taken);
        expect((await create({ fallback: "on-demand" })).outs.capacity).toBe("on-demand");
        expect(said[0]).toContain("Server.InsufficientInstanceCapacity");
    });
});

describe("a create that was killed", () => {
    it("after the launch is gone on with by the next one: there is one instance, and it is the first", async () => {
        let launched = "";
        proxy.on("RunInstances", async (call) => {
            const reply = await call.forward();
            launched = /<instanceId>(i-\w+)</.exec(reply.body)?.[1] ?? "";
            return "hang" as const; // the run was killed before it heard of it
        });
        const killed = create();
        killed.catch(() => undefined);
        while (!launched) await new Promise((resolve) => setTimeout(resolve, 10));
        launching();
        const { id } = await create();
        expect(id).toBe(launched);
        expect(await alive()).toHaveLength(1);
        expect(said).toContain(`${inputs.machine}: going on with ${id}, which an earlier run has started`);
    });

    it("before EC2 shows the instance to searches is gone on with by its client token", async () => {
        const { id } = await create();
        proxy.on("DescribeInstances", (call) =>
            "Filter.2.Name" in call.input // a search; a look at one instance has one filter
                ? {
                      status: 200,
                      type: "text/xml",
                      body: "<DescribeInstancesResponse><reservationSet/></DescribeInstancesResponse>",
                  }
                : call.forward(),
        );
        expect((await create()).id).toBe(id);
        expect(launches).toHaveLength(2);
        expect(launches[0]?.ClientToken).toBe(launches[1]?.ClientToken);
        expect(await alive()).toHaveLength(1);
    });

    it("does not take another node's instance, nor one of another version, for its own", async () => {
        const one = await create();
        const two = await create({ machine: `${inputs.machine}-2` });
        const three = await create({ launchTemplateVersion: "2" }).catch(() => undefined);
        expect(new Set([one.id, two.id, three?.id])).toHaveLength(3);
        const tokens = launches.map(({ ClientToken }) => ClientToken);
        expect(new Set(tokens).size).toBe(tokens.length);
        for (const token of tokens) expect(token).toMatch(/^[0-9a-f]{32}$/);
    });

    it("does not take an instance that is no more: the next token is used", async () => {
        const { id } = await create();
        await terminateMachine(REGION, id);
        const next = await create();
        expect(next.id).not.toBe(id);
        expect(await alive()).toHaveLength(1);
    });
});

describe("a Spot instance that is there", () => {
    it("is made anew, the old one last, when it was terminated or its template's version changed", async () => {
        const { id, outs } = await create();
        const version = await operations.diff(id, outs, { ...inputs, launchTemplateVersion: "2" });
        expect(version).toEqual({ changes: true, replaces: ["launchTemplateVersion"], deleteBeforeReplace: false });
        await terminateMachine(REGION, id);
        const gone = await operations.diff(id, outs, inputs);
        expect(gone).toEqual({ changes: true, replaces: ["instanceId"], deleteBeforeReplace: false });
        expect((await operations.read(id, outs)).id).toBe("");
    });

    it("gets changed tags in place", async () => {
        const { id, outs } = await create();
        const news = { ...inputs, tags: { stage: "dev" } };
        expect(await operations.diff(id, outs, news)).toMatchObject({ changes: true, replaces: [] });
        const { outs: after } = await operations.update(id, outs, news);
        const { tags } = await describeMachine(REGION, id);
        expect(tags).toMatchObject({ stage: "dev", "buildfleet:machine": inputs.machine });
        expect(tags).not.toHaveProperty("team");
        expect((await operations.diff(id, after, news)).changes).toBe(false);
    });

    it("is terminated, and its Spot request cancelled first: it would be fulfilled again", async () => {
        const { id, outs } = await create();
        const { RequestSpotInstancesCommand, DescribeSpotInstanceRequestsCommand } = await import(
            "@aws-sdk/client-ec2"
        );
        const requestsOpen = async () =>
            (await withAws("ec2", REGION, (send) => send(new DescribeSpotInstanceRequestsCommand({}))))
                .SpotInstanceRequests ?? [];
        // moto makes no request for RunInstances: one that it has made for itself stands for it.
        const requests = await withAws("ec2", REGION, (send) =>
            send(new RequestSpotInstancesCommand({ LaunchSpecification: { ImageId: "ami-1" }, SpotPrice: "1" })),
        );
        const spotRequestId = requests.SpotInstanceRequests?.[0]?.SpotInstanceRequestId ?? "";
        expect(spotRequestId).not.toBe("");
        const state = { ...outs, spotRequestId };
        const [request] = await requestsOpen();
        const again = request?.InstanceId ?? "";
        expect(isGone(await describeMachine(REGION, again))).toBe(false);
        // Terminated by hand, the instance is not forgotten: its request is still open, and has got another one.
        await terminateMachine(REGION, id);
        expect((await operations.read(id, state)).id).toBe(id);
        const before = proxy.actions().length;
        await operations.delete(id, state);
        const order = proxy.actions().slice(before);
        expect(order.indexOf("CancelSpotInstanceRequests")).toBeGreaterThan(-1);
        expect(order.indexOf("CancelSpotInstanceRequests")).toBeLessThan(order.indexOf("TerminateInstances"));
        expect(await requestsOpen()).toEqual([]);
        // The instance that the request has got since goes with it.
        expect(isGone(await describeMachine(REGION, again))).toBe(true);
        await operations.delete(id, state);
    });

    it("stays where a later resource has taken it over", async () => {
        const { id, outs } = await create();
        const again = await create();
        expect(again.id).toBe(id);
        await operations.delete(id, outs);
        expect(await alive()).toHaveLength(1);
        await operations.delete(id, again.outs);
        expect(await alive()).toHaveLength(0);
    });
});
