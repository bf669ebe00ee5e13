import { createHash, randomUUID } from "node:crypto";
import {
    awaitState,
    describeMachine,
    findMachines,
    instanceArn,
    isGone,
    type Machine,
    tagMachine,
    terminateMachine,
    untagMachine,
} from "../../drivers/aws/ec2";
import { AwsError } from "../../drivers/aws/errors";
import { cancelSpotRequest, describeSpotRequest, runFromTemplate } from "../../drivers/aws/launch";
import { isForWantOfCapacity, isStranded, MACHINE_TAG } from "../../drivers/aws/spot";
import { progress } from "../../drivers/progress";
import { changedInputs, defineOperations, isUnknown } from "../operations";

export interface Inputs {
    launchTemplateId: string;
    launchTemplateVersion: string;
    region: string;
    subnetId: string;
    fallback: "none" | "on-demand";
    interruption: "stop" | "terminate";
    tags: Record<string, string>;
    /** Project, stack and name. */
    machine: string;
}

type Capacity = "spot" | "on-demand";

interface State extends Inputs {
    instanceId: string;
    arn: string;
    privateIp: string;
    publicIp: string;
    availabilityZone: string;
    capacity: Capacity;
    /** Empty where it has none. */
    spotRequestId: string;
    /** Also a tag of the instance: whoever took it over last may delete it. */
    owner: string;
}

/** What it was launched with. */
const LAUNCH_TAG = "buildfleet:launch";
const OWNER_TAG = "buildfleet:owner";
const RUNNING_MS = 300_000;
/** Instances of equal settings that came and went while EC2 remembers their tokens. */
const GENERATIONS = 100;

const hash = (...parts: unknown[]) => createHash("sha256").update(JSON.stringify(parts)).digest("hex").slice(0, 32);

const launchOf = ({ machine, launchTemplateId, launchTemplateVersion, subnetId, interruption }: Inputs) =>
    hash(machine, launchTemplateId, launchTemplateVersion, subnetId, interruption);

const ownTags = (inputs: Inputs) => ({ [MACHINE_TAG]: inputs.machine, [LAUNCH_TAG]: launchOf(inputs) });

/** What a run that was killed has started; none that AWS can't start again. */
async function left(inputs: Inputs): Promise<Machine | undefined> {
    const found = await findMachines(inputs.region, [
        ...Object.entries(ownTags(inputs)).map(([name, value]) => ({ Name: `tag:${name}`, Values: [value] })),
        { Name: "instance-state-name", Values: ["pending", "running", "stopping", "stopped"] },
    ]);
    const usable = found.filter((machine) => !isStranded(machine));
    return usable.sort((a, b) => (b.startedAt?.getTime() ?? 0) - (a.startedAt?.getTime() ?? 0))[0];
}

/**
 * Starts an instance of this capacity. The token makes a second call of a run that was killed name the instance of the
 * first; where that one is gone since, or can't be started again, the next token is taken.
 */
async function start(inputs: Inputs, capacity: Capacity): Promise<Machine> {
    const { region, launchTemplateId, launchTemplateVersion, subnetId, interruption } = inputs;
    const tags = { ...inputs.tags, ...ownTags(inputs) };
    for (let generation = 0; generation < GENERATIONS; generation++) {
        const machine = await runFromTemplate({
            region,
            templateId: launchTemplateId,
            templateVersion: launchTemplateVersion,
            subnetId,
            interruption,
            tags,
            capacity,
            clientToken: hash(launchOf(inputs), region, tags, capacity, generation),
        });
        const now = await describeMachine(region, machine.instanceId);
        if (!isGone(now) && !isStranded(now)) return machine;
    }
    throw new Error(
        `${inputs.machine}: ${GENERATIONS} instances came and went, or can't be started; look at why in EC2's console`,
    );
}

/** @throws AwsError with `CAPACITY` where it went again for want of it. */
async function awaitRunning(inputs: Inputs, { instanceId }: Machine): Promise<Machine> {
    const ended = ["running", "stopped", "stopping", "shutting-down", "terminated"] as const;
    const machine = await awaitState(inputs.region, instanceId, [...ended], RUNNING_MS);
    if (!isGone(machine)) return machine;
    const code = isForWantOfCapacity(machine.reason) ? "CAPACITY" : "OTHER";
    const reason = `instance ${instanceId} is ${machine.state} right after its start: ${machine.reason || "EC2 says no reason"}`;
    throw new AwsError(code, "ec2:RunInstances", inputs.region, reason, "see what EC2 says above, then run again");
}

async function launch(inputs: Inputs): Promise<Machine> {
    try {
        return await awaitRunning(inputs, await start(inputs, "spot"));
    } catch (error) {
        if (!(error instanceof AwsError) || error.code !== "CAPACITY") throw error;
        if (inputs.fallback !== "on-demand")
            throw new AwsError(
                "CAPACITY",
                error.action,
                error.region,
                `no Spot capacity for ${inputs.machine}: ${error.reason}`,
                'run again later, choose another instance type or zone, or write fallback: "on-demand"',
                error.awsCode,
            );
        progress(`${inputs.machine}: no Spot capacity (${error.awsCode || error.reason}); on-demand instead`, true);
        return awaitRunning(inputs, await start(inputs, "on-demand"));
    }
}

function state(inputs: Inputs, machine: Machine, owner: string): State {
    const { instanceId, privateIp, publicIp, zone, spotRequestId, isSpot } = machine;
    return {
        ...inputs,
        instanceId,
        arn: instanceArn(inputs.region, machine),
        privateIp,
        publicIp,
        availabilityZone: zone,
        capacity: isSpot ? "spot" : "on-demand",
        spotRequestId,
        owner,
    };
}

export const operations = defineOperations<Inputs, State>({
    replaceOn: [
        "launchTemplateId",
        "launchTemplateVersion",
        "region",
        "subnetId",
        "interruption",
        "machine",
        "instanceId",
    ],
    // The old one is drained while the new one already runs.
    deleteBeforeReplace: false,
    async create(inputs) {
        const found = await left(inputs);
        if (found)
            progress(`${inputs.machine}: going on with ${found.instanceId}, which an earlier run has started`, true);
        const machine =
            found?.state === "pending" ? await awaitRunning(inputs, found) : (found ?? (await launch(inputs)));
        const owner = randomUUID();
        await tagMachine(inputs.region, machine.instanceId, { ...inputs.tags, [OWNER_TAG]: owner });
        return { id: machine.instanceId, outs: state(inputs, machine, owner) };
    },
    async changes(known, inputs) {
        // Only the next launch asks for the fallback.
        const changed = changedInputs(known, inputs, ["fallback"]);
        if (isUnknown(inputs)) return changed;
        const machine = await describeMachine(known.region, known.instanceId);
        // With the fallback there is a way on; without it the next build tries to start this one again.
        const isLost = isGone(machine) || (inputs.fallback === "on-demand" && isStranded(machine));
        return isLost ? [...changed, "instanceId"] : changed;
    },
    async update(known, inputs) {
        const { region, instanceId } = known;
        const removed = Object.keys(known.tags).filter((name) => !(name in inputs.tags));
        if (removed.length > 0) await untagMachine(region, instanceId, removed);
        await tagMachine(region, instanceId, { ...inputs.tags, ...ownTags(inputs) });
        return state(inputs, await describeMachine(region, instanceId), known.owner);
    },
    async read(known) {
        const { region, instanceId, spotRequestId } = known;
        const machine = await describeMachine(region, instanceId);
        if (!isGone(machine)) return state(known, machine, known.owner);
        // A request that is still open has to be cancelled, so it is not forgotten; the next update replaces it.
        const isOpen = spotRequestId !== "" && (await describeSpotRequest(region, spotRequestId)).isOpen;
        return isOpen ? known : undefined;
    },
    async delete({ region, instanceId, spotRequestId, owner }) {
        const machine = await describeMachine(region, instanceId);
        if (!isGone(machine) && machine.tags[OWNER_TAG] !== owner) {
            progress(`${instanceId} belongs to a later resource by now; it stays`, true);
            return;
        }
        if (spotRequestId) await cancelSpotRequest(region, spotRequestId, instanceId);
        await terminateMachine(region, instanceId);
    },
});
