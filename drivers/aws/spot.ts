import { type Machine, tagMachine, untagMachine } from "./ec2";

/** Whose instance it is: project, stack and name. Only instances that a `SpotInstance` has launched have it. */
export const MACHINE_TAG = "buildfleet:machine";
/** `none` on an instance that AWS had no Spot capacity for when it was to be started again. */
const CAPACITY_TAG = "buildfleet:capacity";

/** Whether what EC2 says of a state means that it had no Spot capacity, or took it back. */
export const isForWantOfCapacity = (reason: string) => /Capacity|Spot/.test(reason);

/** Whether it is a Spot instance whose resource launches another where AWS can't start it. */
export const canBeStranded = ({ isSpot, tags }: Machine) => isSpot && MACHINE_TAG in tags;

/** Whether it is stopped, and AWS had no capacity for it when it was last to be started. */
export const isStranded = ({ state, tags }: Machine) => state === "stopped" && tags[CAPACITY_TAG] === "none";

/** Notes on the instance that AWS had no capacity to start it: its resource reads that in the next `up`, in whatever program. */
export const strand = (region: string, { instanceId }: Machine) =>
    tagMachine(region, instanceId, { [CAPACITY_TAG]: "none" });

/** Takes the note off an instance that has one. */
export async function unstrand(region: string, { instanceId, tags }: Machine): Promise<void> {
    if (CAPACITY_TAG in tags) await untagMachine(region, instanceId, [CAPACITY_TAG]);
}
