import { setTimeout as delay } from "node:timers/promises";
import type { ResourceType, RunInstancesCommandInput } from "@aws-sdk/client-ec2";
import { withAws } from "./clients";
import { ignoring, type Machine, terminateMachine, toMachine, toTags } from "./ec2";
import { AwsError } from "./errors";

/** One instance from a launch template. */
export interface Launch {
    region: string;
    templateId: string;
    templateVersion: string;
    subnetId: string;
    tags: Record<string, string>;
    /** At most 64 characters: with the same one and the same settings EC2 starts no second instance, but names the first. */
    clientToken: string;
    capacity: "spot" | "on-demand";
    /** Of Spot instances. */
    interruption: "stop" | "terminate";
}

/** A request that ends with its instance, or one that AWS fulfills again: only that can stop instead of terminating. */
const marketOf = ({ capacity, interruption }: Launch): RunInstancesCommandInput["InstanceMarketOptions"] =>
    capacity === "on-demand"
        ? undefined
        : {
              MarketType: "spot",
              SpotOptions: {
                  SpotInstanceType: interruption === "stop" ? "persistent" : "one-time",
                  InstanceInterruptionBehavior: interruption,
              },
          };

/** How long EC2 may not know of an instance profile that was just made. IAM says "eventually" and gives no figure. */
const PROFILE_MS = 120_000;
const PROFILE_PAUSE_MS = 1_000;

/** EC2 has no code of its own for it ("Value (…) for parameter iamInstanceProfile.arn is invalid. Invalid IAM Instance Profile ARN"). */
const lacksProfile = (error: unknown) =>
    error instanceof AwsError &&
    error.awsCode === "InvalidParameterValue" &&
    /Invalid IAM Instance Profile/i.test(error.reason);

/**
 * Starts an instance, or finds the one that was started with the same token. An instance profile that EC2 has not heard of is
 * waited for: a role that was made a moment ago takes some seconds to get there.
 *
 * @throws AwsError; with `CAPACITY` where AWS has none to give.
 */
export async function runFromTemplate(launch: Launch): Promise<Machine> {
    const end = Date.now() + PROFILE_MS;
    while (true) {
        try {
            return await runOnce(launch);
        } catch (error) {
            if (!lacksProfile(error) || Date.now() > end) throw error;
            await delay(PROFILE_PAUSE_MS);
        }
    }
}

async function runOnce(launch: Launch): Promise<Machine> {
    const { RunInstancesCommand } = await import("@aws-sdk/client-ec2");
    const { region, templateId, templateVersion, subnetId, tags, clientToken, capacity } = launch;
    const types: ResourceType[] = capacity === "spot" ? ["instance", "spot-instances-request"] : ["instance"];
    const request = {
        LaunchTemplate: { LaunchTemplateId: templateId, Version: templateVersion },
        SubnetId: subnetId,
        MinCount: 1,
        MaxCount: 1,
        ClientToken: clientToken,
        TagSpecifications: types.map((ResourceType) => ({ ResourceType, Tags: toTags(tags) })),
        InstanceMarketOptions: marketOf(launch),
    };
    return withAws("ec2", region, async (send) => {
        const { Instances: [instance] = [], OwnerId = "" } = await send(new RunInstancesCommand(request));
        if (!instance)
            throw new AwsError("OTHER", "ec2:RunInstances", region, "the answer names no instance", "run again");
        return toMachine(instance, OwnerId);
    });
}

interface SpotRequest {
    /** AWS may still fulfill it, or has: a persistent one whose instance was terminated gets another. */
    isOpen: boolean;
    /** The instance it has now; empty where it has none. */
    instanceId: string;
}

/** A Spot request as EC2 has it; not open where EC2 has none of this id. */
export async function describeSpotRequest(region: string, spotRequestId: string): Promise<SpotRequest> {
    const { DescribeSpotInstanceRequestsCommand } = await import("@aws-sdk/client-ec2");
    const command = new DescribeSpotInstanceRequestsCommand({ SpotInstanceRequestIds: [spotRequestId] });
    const answer = await withAws("ec2", region, (send) => send(command)).catch(
        ignoring("InvalidSpotInstanceRequestID.NotFound"),
    );
    const { State = "", InstanceId: instanceId = "" } = answer?.SpotInstanceRequests?.[0] ?? {};
    return { isOpen: ["open", "active", "disabled"].includes(State), instanceId };
}

/**
 * Cancels a Spot request, and terminates the instance it has now. A persistent request has to be cancelled before its
 * instance is terminated: it would be fulfilled again with another one.
 *
 * @param known an instance that somebody else terminates; the request may have got another since.
 */
export async function cancelSpotRequest(region: string, spotRequestId: string, known: string): Promise<void> {
    const before = await describeSpotRequest(region, spotRequestId);
    if (before.isOpen) {
        const { CancelSpotInstanceRequestsCommand } = await import("@aws-sdk/client-ec2");
        const command = new CancelSpotInstanceRequestsCommand({ SpotInstanceRequestIds: [spotRequestId] });
        await withAws("ec2", region, (send) => send(command));
    }
    // Until the cancel it could get another one.
    const after = await describeSpotRequest(region, spotRequestId);
    const others = new Set([before.instanceId, after.instanceId].filter((id) => id !== "" && id !== known));
    await Promise.all([...others].map((id) => terminateMachine(region, id)));
}
