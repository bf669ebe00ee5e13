import { type Architecture, type InstanceType, parseInstanceType } from "./instance-types";

/** What a node is of when its group doesn't say. */
const DEFAULT_TYPE = { arm64: "c8g.2xlarge", amd64: "c7i.2xlarge" } as const;

/** Throughput of a cache volume, in MiB/s, where the instance type can use it. */
const DEFAULT_THROUGHPUT = 500;

/** Names of a group's nodes: the first has the group's, whatever the count, the others a number from 2. */
export function nodeNames(group: string, count: number): string[] {
    return Array.from({ length: count }, (_, index) => (index === 0 ? group : `${group}-${index + 1}`));
}

/** The architecture that a group's name stands for. */
export const architectureNamed = (group: string): Architecture | undefined =>
    group === "arm64" || group === "amd64" ? group : undefined;

/** A group's type: as given, or the default of its architecture; nothing where neither is known. */
export function typeOf(
    group: string,
    { architecture, instanceType }: { architecture?: Architecture; instanceType?: string },
): InstanceType | undefined {
    const wanted = architecture ?? architectureNamed(group);
    const name = instanceType ?? (wanted && DEFAULT_TYPE[wanted]);
    return name === undefined ? undefined : parseInstanceType(name);
}

/** MiB/s that a cache volume gets when none are asked for: no more than the type, or its IOPS, can use. */
export function defaultThroughput(type: InstanceType, iops: number): number {
    const most = Math.min(DEFAULT_THROUGHPUT, Math.floor(type.facts?.highestBandwidth ?? DEFAULT_THROUGHPUT), iops / 4);
    return Math.max(125, Math.floor(most));
}

/** A size in the unit of EBS, rounded up. */
export const gibibytes = (bytes: number) => Math.ceil(bytes / 2 ** 30);

/**
 * Which subnet a group's node goes to: in turn, so that a group survives the loss of a zone. A node whose number is not above the number of
 * subnets keeps its own when subnets are appended; the later ones may move, and lose their caches.
 *
 * @param index of the node in its group, from 0.
 */
export const subnetIndex = (index: number, subnets: number) => index % subnets;
