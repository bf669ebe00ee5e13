import { addressesIn, type Cidr, isPrivate, overlap, parseCidr, within } from "../cidr";
import { faultIn } from "../schema";
import { isTable, textsIn } from "../schema-tables";
import type { Report } from "./group-checks";
import { isSecurityGroup, regionOf } from "./leaves";

/** A block larger than a /8, or more than a /7 in all, is the Internet in pieces. The private networks together are less. */
const SHORTEST_PREFIX = 8;
const MOST_ADDRESSES = 1n << 25n;

const OPEN = "a builder runs what it is sent: name the networks that build, or use mode ssm";

/** Blocks that are routed nowhere else, for the containers' own network: private ones, and RFC 2544's for benchmarks. */
const BENCHMARKS = "198.18.0.0/15";

export function checkNetwork(settings: Record<string, unknown>, tell: Report): void {
    checkSubnets(settings, tell);
    const blocks = checkAccess(settings.access, tell);
    checkBuildNetwork(settings, blocks, tell);
}

function checkSubnets({ subnetIds, subnets }: Record<string, unknown>, tell: Report): void {
    if (subnetIds !== undefined && subnets !== undefined) {
        const hint = "leave one of them out";
        tell(["subnets"], { found: "set together with subnetIds", expected: "one of them", hint });
    }
    const known = (Array.isArray(subnets) ? subnets : []).map((subnet) => (isTable(subnet) ? subnet : {}));
    const [first = {}] = known;
    for (const [index, { zone, vpcId }] of known.entries()) {
        if (typeof vpcId === "string" && typeof first.vpcId === "string" && vpcId !== first.vpcId) {
            const found = `in ${vpcId}, the first subnet in ${first.vpcId}`;
            tell(["subnets", index, "vpcId"], { found, expected: "subnets of one VPC" });
        }
        if (typeof zone === "string" && typeof first.zone === "string" && regionOf(zone) !== regionOf(first.zone)) {
            const found = `in ${regionOf(zone)}, the first subnet in ${regionOf(first.zone)}`;
            tell(["subnets", index, "zone"], { found, expected: "subnets of one region" });
        }
    }
}

/** Gives the blocks that are let in, for other checks. */
function checkAccess(access: unknown, tell: Report): Cidr[] {
    if (!isTable(access)) {
        return [];
    }
    const { mode, from } = access;
    const path = ["access", "from"];
    if (mode === "ssm" && from !== undefined) {
        const hint = "leave it out: who may open a session is said by IAM";
        tell(path, { found: "set for mode ssm, which opens no port", expected: "nothing", hint });
        return [];
    }
    if (
        (mode === "private" || mode === "public") &&
        (from === undefined || (Array.isArray(from) && from.length === 0))
    ) {
        const expected = mode === "private" ? "blocks of addresses or security groups" : "blocks of addresses";
        tell(path, { found: from === undefined ? "missing" : "empty", expected });
    }
    const blocks: Cidr[] = [];
    for (const { text, index } of textsIn(from)) {
        const [...at] = [...path, index];
        if (isSecurityGroup(text)) {
            if (mode === "public") {
                const found = "a security group, which counts between private addresses only";
                tell(at, { found, expected: "blocks of addresses" });
            }
        } else if (faultIn(() => parseCidr(text)) === undefined) {
            const block = parseCidr(text);
            blocks.push(block);
            checkBlock(block, mode, (fault) => tell(at, fault));
        }
    }
    const narrow = blocks.filter(({ family, prefix }) => family === 4 && prefix >= SHORTEST_PREFIX);
    if (addressesIn(narrow) > MOST_ADDRESSES) {
        tell(path, { found: `open to ${addressesIn(narrow)} addresses together`, expected: "fewer", hint: OPEN });
    }
    // What overlaps with everything is told once.
    return blocks.filter((block) => whyOpen(block) === undefined);
}

function checkBlock(
    block: Cidr,
    mode: unknown,
    tell: (fault: { found: string; expected: string; hint?: string }) => void,
) {
    const reason = whyOpen(block);
    if (reason !== undefined) {
        tell({ found: reason, expected: "the networks that build", hint: OPEN });
    } else if (block.family === 6) {
        tell({ found: `${block.text} is IPv6, nodes are reached over IPv4`, expected: "IPv4 blocks" });
    } else if (mode === "public" && isPrivate(block)) {
        const found = `${block.text} is private, and never comes to a public address`;
        tell({ found, expected: "public blocks", hint: 'use mode "private"' });
    }
}

/** Why a block may not be let in; nothing when it may. */
export function whyOpen(block: Cidr): string | undefined {
    if (block.prefix === 0) {
        return `${block.text} lets everybody in`;
    }
    const tooLarge = block.family === 4 ? block.prefix < SHORTEST_PREFIX : block.prefix < 16;
    return tooLarge ? `${block.text} lets ${block.last - block.first + 1n} addresses in` : undefined;
}

function checkBuildNetwork(settings: Record<string, unknown>, access: Cidr[], tell: Report): void {
    const { buildNetwork, subnets } = settings;
    if (typeof buildNetwork !== "string" || faultIn(() => parseCidr(buildNetwork)) !== undefined) {
        return;
    }
    const path = ["buildNetwork"];
    const network = parseCidr(buildNetwork);
    const isLocal = ["169.254.0.0/16", "127.0.0.0/8"].some((block) => overlap(network, parseCidr(block)));
    if (network.family === 6 || network.prefix < 12 || network.prefix > 26) {
        const expected = "an IPv4 block from /12 to /26";
        tell(path, { found: `${buildNetwork} is no network for containers`, expected });
    } else if (isLocal || !(isPrivate(network) || within(network, parseCidr(BENCHMARKS)))) {
        const expected = "a private block, or one of 198.18.0.0/15";
        tell(path, { found: `${buildNetwork} is used elsewhere`, expected });
    }
    for (const block of access) {
        if (overlap(network, block)) {
            const found = `${buildNetwork} overlaps with access.from, ${block.text}`;
            tell(path, { found, expected: "another block: answers to those clients would go to containers" });
        }
    }
    for (const [index, subnet] of (Array.isArray(subnets) ? subnets : []).entries()) {
        const block = isTable(subnet) && typeof subnet.cidr === "string" ? subnet.cidr : undefined;
        if (
            block !== undefined &&
            faultIn(() => parseCidr(block)) === undefined &&
            overlap(network, parseCidr(block))
        ) {
            const found = `${buildNetwork} overlaps with subnets[${index}], ${block}`;
            tell(path, { found, expected: "a block that the VPC does not use" });
        }
    }
}
