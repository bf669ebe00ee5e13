import { overlap, parseCidr } from "../cidr";
import { SettingsError } from "../problems";
import { EC2_ARCHITECTURE, type InstanceType } from "./instance-types";
import { isSecurityGroup } from "./leaves";
import { whyOpen } from "./network-checks";
import { subnetIndex } from "./nodes";

/*
 * Checks of values that are known only when other resources, or AWS, have told them: the same rules as for settings, later.
 * Each gives the value back, or throws SettingsError.
 */

/** A source of access: neither everybody nor half of everybody. */
export function checkedSource(subject: string, index: number, source: string): string {
    const reason = isSecurityGroup(source) ? undefined : whyOpen(parseCidr(source));
    if (reason === undefined) return source;
    throw new SettingsError(subject, [
        { path: `access.from[${index}]`, found: reason, expected: "the networks that build" },
    ]);
}

/** A looked-up image's id. */
export function checkedImage(
    subject: string,
    group: string,
    type: InstanceType,
    { id, architecture }: { id: string; architecture: string },
): string {
    const wanted = EC2_ARCHITECTURE[type.architecture];
    if (architecture === wanted) return id;
    const found = `${id} is ${architecture}, ${type.name} is ${wanted}`;
    throw new SettingsError(subject, [{ path: `nodes.${group}.ami`, found, expected: `an image that is ${wanted}` }]);
}

/** A looked-up subnet's id. */
export function checkedSubnet(
    subject: string,
    buildNetwork: string,
    { id, cidrBlock }: { id: string; cidrBlock: string },
): string {
    // Subnets of IPv6 only have none.
    if (!cidrBlock || !overlap(parseCidr(buildNetwork), parseCidr(cidrBlock))) return id;
    const found = `${buildNetwork} overlaps with ${id}, ${cidrBlock}`;
    throw new SettingsError(subject, [{ path: "buildNetwork", found, expected: "a block that the VPC does not use" }]);
}

/** One of the subnets, in turn. */
export function chosenSubnet(subject: string, ids: readonly string[], index: number): string {
    const id = ids[subnetIndex(index, ids.length)];
    if (id !== undefined) return id;
    throw new SettingsError(subject, [{ path: "subnetIds", found: "empty", expected: "subnets of your VPC" }]);
}
