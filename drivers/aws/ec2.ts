import { setTimeout as delay } from "node:timers/promises";
import type { Filter, Instance } from "@aws-sdk/client-ec2";
import { withAws } from "./clients";
import { AwsError } from "./errors";

/** A state of an instance, in EC2's words; `gone` is one that EC2 no longer knows. */
export type MachineState = "pending" | "running" | "stopping" | "stopped" | "shutting-down" | "terminated" | "gone";

/** An instance as EC2 describes it. */
export interface Machine {
    instanceId: string;
    state: MachineState;
    /** Why it is in this state, where EC2 says: `Client.InstanceInitiatedShutdown: Instance initiated shutdown`. */
    reason: string;
    /** When it was last started. */
    startedAt: Date | undefined;
    /** Of its processor: `amd64` or `arm64`; another in AWS's own word. */
    architecture: string;
    privateIp: string;
    publicIp: string;
    zone: string;
    /** Of the account that owns it. */
    owner: string;
    /** The Spot request that keeps it; empty where there is none. */
    spotRequestId: string;
    isSpot: boolean;
    tags: Record<string, string>;
}

const ARCHITECTURES: Record<string, string> = { x86_64: "amd64", arm64: "arm64" };

/** Reads an instance as EC2 answers it; `owner` is the account. */
export function toMachine(instance: Instance, owner: string): Machine {
    const { Code: code = "", Message: message = "" } = instance.StateReason ?? {};
    return {
        instanceId: instance.InstanceId ?? "",
        state: instance.State?.Name ?? "gone",
        reason: message.startsWith(code) ? message : `${code}: ${message}`,
        startedAt: instance.LaunchTime,
        architecture: ARCHITECTURES[instance.Architecture ?? ""] ?? instance.Architecture ?? "",
        privateIp: instance.PrivateIpAddress ?? "",
        publicIp: instance.PublicIpAddress ?? "",
        zone: instance.Placement?.AvailabilityZone ?? "",
        owner,
        spotRequestId: instance.SpotInstanceRequestId ?? "",
        isSpot: instance.InstanceLifecycle === "spot",
        tags: Object.fromEntries((instance.Tags ?? []).map(({ Key = "", Value = "" }) => [Key, Value])),
    };
}

/** Every instance that the filters find, also those that were terminated a little while ago. */
export async function findMachines(region: string, filters: Filter[]): Promise<Machine[]> {
    const { DescribeInstancesCommand } = await import("@aws-sdk/client-ec2");
    return withAws("ec2", region, async (send) => {
        const found: Machine[] = [];
        let token: string | undefined;
        do {
            const page = await send(new DescribeInstancesCommand({ Filters: filters, NextToken: token }));
            for (const reservation of page.Reservations ?? [])
                for (const instance of reservation.Instances ?? [])
                    found.push(toMachine(instance, reservation.OwnerId ?? ""));
            token = page.NextToken;
        } while (token);
        return found;
    });
}

/** The instance, in state `gone` where EC2 has none of this id (terminated ones are forgotten after about an hour). */
export async function describeMachine(region: string, instanceId: string): Promise<Machine> {
    const [machine] = await findMachines(region, [{ Name: "instance-id", Values: [instanceId] }]);
    return machine ?? toMachine({ InstanceId: instanceId }, "");
}

/** Whether the instance is no more, and never will be. */
export const isGone = ({ state }: Pick<Machine, "state">) =>
    state === "gone" || state === "terminated" || state === "shutting-down";

/** Starts a stopped instance. Does nothing where somebody else was faster. */
export async function startMachine(region: string, instanceId: string): Promise<void> {
    const { StartInstancesCommand } = await import("@aws-sdk/client-ec2");
    await withAws("ec2", region, (send) => send(new StartInstancesCommand({ InstanceIds: [instanceId] }))).catch(
        ignoring("IncorrectInstanceState"),
    );
}

/** Stops an instance; an instance that is stopped or no more stays so. */
export async function stopMachine(region: string, instanceId: string): Promise<void> {
    const { StopInstancesCommand } = await import("@aws-sdk/client-ec2");
    await withAws("ec2", region, (send) => send(new StopInstancesCommand({ InstanceIds: [instanceId] }))).catch(
        ignoring("IncorrectInstanceState", "InvalidInstanceID.NotFound"),
    );
}

/** Terminates an instance and waits until it is; one that is no more stays so. */
export async function terminateMachine(region: string, instanceId: string, timeoutMs = 600_000): Promise<void> {
    const { TerminateInstancesCommand } = await import("@aws-sdk/client-ec2");
    await withAws("ec2", region, (send) => send(new TerminateInstancesCommand({ InstanceIds: [instanceId] }))).catch(
        ignoring("InvalidInstanceID.NotFound"),
    );
    await awaitState(region, instanceId, ["terminated", "gone"], timeoutMs);
}

/** Takes tags off an instance. */
export async function untagMachine(region: string, instanceId: string, names: string[]): Promise<void> {
    const { DeleteTagsCommand } = await import("@aws-sdk/client-ec2");
    const Tags = names.map((Key) => ({ Key }));
    await withAws("ec2", region, (send) => send(new DeleteTagsCommand({ Resources: [instanceId], Tags })));
}

/** Tags in EC2's own form. */
export const toTags = (tags: Record<string, string>) => Object.entries(tags).map(([Key, Value]) => ({ Key, Value }));

/** Sets tags of an instance. */
export async function tagMachine(region: string, instanceId: string, tags: Record<string, string>): Promise<void> {
    const { CreateTagsCommand } = await import("@aws-sdk/client-ec2");
    await withAws("ec2", region, (send) =>
        send(new CreateTagsCommand({ Resources: [instanceId], Tags: toTags(tags) })),
    );
}

/** An instance that did not come to a state in time. */
export class StateTimeoutError extends Error {
    constructor(
        readonly machine: Machine,
        region: string,
        wanted: MachineState[],
        seconds: number,
    ) {
        super(
            `${machine.instanceId} in ${region} is ${machine.state} and did not become ${wanted.join(" or ")} within ` +
                `${seconds} s${machine.reason ? ` (${machine.reason})` : ""}\n` +
                `next: look at it: aws ec2 describe-instances --region ${region} --instance-ids ${machine.instanceId}`,
        );
        this.name = "StateTimeoutError";
    }
}

/**
 * Asks every second, later every five, until the instance is in one of these states.
 *
 * @throws StateTimeoutError with the state it is in instead.
 */
export async function awaitState(
    region: string,
    instanceId: string,
    wanted: MachineState[],
    timeoutMs: number,
): Promise<Machine> {
    const started = Date.now();
    for (;;) {
        const machine = await describeMachine(region, instanceId);
        if (wanted.includes(machine.state)) return machine;
        const elapsed = Date.now() - started;
        if (elapsed >= timeoutMs) throw new StateTimeoutError(machine, region, wanted, Math.round(timeoutMs / 1000));
        await delay(Math.min(elapsed < 60_000 ? 1_000 : 5_000, timeoutMs - elapsed));
    }
}

/** The amazon resource name of an instance. */
export function instanceArn(region: string, { owner, instanceId }: Machine): string {
    const prefixes: [string, string][] = [
        ["cn-", "aws-cn"],
        ["us-gov-", "aws-us-gov"],
        ["us-iso-", "aws-iso"],
        ["us-isob-", "aws-iso-b"],
        ["eusc-", "aws-eusc"],
    ];
    const partition = prefixes.find(([prefix]) => region.startsWith(prefix))?.[1] ?? "aws";
    return `arn:${partition}:ec2:${region}:${owner}:instance/${instanceId}`;
}

/** For `catch`: nothing, where AWS's own code is one of these. */
export const ignoring =
    (...codes: string[]) =>
    (error: unknown): undefined => {
        if (error instanceof AwsError && codes.includes(error.awsCode)) return undefined;
        throw error;
    };
