import { isPercentage } from "../buildkitd-checks";
import { Platform } from "../platform";
import { type Fault, faultIn } from "../schema";
import { isTable, textsIn } from "../schema-tables";
import { parseSize } from "../size";
import { EC2_ARCHITECTURE, type InstanceType, instanceTypesSource, whyNotNative } from "./instance-types";
import { architectureNamed, gibibytes, typeOf } from "./nodes";

export type Report = (path: PropertyKey[], fault: Fault) => void;

/** Bounds of gp3 (EBS user guide, "General Purpose SSD volumes", limits of September 2025); 20 GiB hold BuildKit and one image. */
const SMALLEST_GIB = 20;
const LARGEST_GIB = 64 * 1024;
const IOPS_PER_GIB = 500;
const FREE_IOPS = 3000;
const FREE_THROUGHPUT = 125;

/** `du` undercounts what BuildKit keeps (moby/buildkit#6931): beyond this the disk fills up. */
const MOST_USED_PERCENT = 65;

/** A group's type where its settings are right enough to know it. */
export function knownType(name: string, group: unknown): InstanceType | undefined {
    let type: InstanceType | undefined;
    faultIn(() => {
        const { architecture, instanceType } = isTable(group) ? group : {};
        const plain = (value: unknown) => value === undefined || typeof value === "string";
        type =
            plain(architecture) && plain(instanceType)
                ? typeOf(name, { architecture, instanceType } as Parameters<typeof typeOf>[1])
                : undefined;
    });
    return type;
}

export function checkGroup(name: string, group: unknown, tell: Report): void {
    if (!isTable(group)) {
        return;
    }
    const path = ["nodes", name];
    const type = knownType(name, group);
    if (type === undefined && group.architecture === undefined && group.instanceType === undefined) {
        const expected = "architecture or instanceType, or the name arm64 or amd64";
        tell(path, { found: "a group without an architecture", expected });
    }
    if (type !== undefined) {
        checkArchitecture(name, group, type, (field, fault) => tell([...path, ...field], fault));
        checkPlatforms(group, type, (field, fault) => tell([...path, ...field], fault));
    }
    if (group.fallback !== undefined && group.capacity !== "spot") {
        const hint = 'add capacity: "spot", or leave fallback out';
        tell([...path, "fallback"], { found: "set for machines that are no spot machines", expected: "spot", hint });
    }
    checkCache(group.cacheVolume, type, (field, fault) => tell([...path, "cacheVolume", ...field], fault));
}

/** Group, type and image must be of one architecture; the message names both sides. */
function checkArchitecture(name: string, group: Record<string, unknown>, type: InstanceType, tell: Report): void {
    const is = `${type.name} is ${EC2_ARCHITECTURE[type.architecture]}`;
    const byName = group.architecture === undefined;
    const wanted = byName ? architectureNamed(name) : group.architecture;
    if (wanted !== undefined && wanted !== type.architecture) {
        const found = byName ? `the group is ${wanted} by its name, ${is}` : `the group is ${wanted}, ${is}`;
        tell(["instanceType"], { found, expected: `a type that is ${wanted}` });
    }
    const { id, architecture } = isTable(group.ami) ? group.ami : {};
    if (typeof architecture === "string" && architecture !== EC2_ARCHITECTURE[type.architecture]) {
        const image = typeof id === "string" ? id : "the image";
        tell(["ami", "architecture"], {
            found: `${image} is ${architecture}, ${is}`,
            expected: `an image that is ${EC2_ARCHITECTURE[type.architecture]}`,
        });
    }
}

function checkPlatforms(group: Record<string, unknown>, type: InstanceType, tell: Report): void {
    for (const { text, index } of textsIn(group.platforms)) {
        faultIn(() => {
            const why = whyNotNative(Platform.parse(text), type);
            if (why !== undefined) {
                const hint = "leave it out, or build it on another group";
                tell(["platforms", index], { found: why, expected: "platforms the machine runs itself", hint });
            }
        });
    }
}

function checkCache(cache: unknown, type: InstanceType | undefined, tell: Report): void {
    if (cache === "instance-store" && type !== undefined && !type.hasInstanceStorage) {
        const hint = "use a type with a disk, such as c8gd.2xlarge or c6id.2xlarge, or an EBS volume";
        tell([], { found: `${type.name} has no instance storage`, expected: "a type that has", hint });
    }
    if (!isTable(cache)) {
        return;
    }
    const size = typeof cache.size === "string" ? sizeIn(cache.size) : undefined;
    const [iops, throughput] = [cache.iops, cache.throughput].map((one) => (typeof one === "number" ? one : undefined));
    if (size !== undefined && (size < SMALLEST_GIB || size > LARGEST_GIB)) {
        const found = size < SMALLEST_GIB ? `${cache.size} is too small` : `${cache.size} is too large`;
        tell(["size"], { found, expected: `from ${SMALLEST_GIB} GiB to 64 TiB` });
    } else if (size !== undefined && iops !== undefined && iops > Math.max(FREE_IOPS, size * IOPS_PER_GIB)) {
        tell(["iops"], {
            found: `${iops} IOPS on ${size} GiB`,
            expected: `at most ${size * IOPS_PER_GIB}: gp3 has ${IOPS_PER_GIB} per GiB`,
        });
    }
    if (throughput !== undefined && iops !== undefined && throughput > Math.max(FREE_THROUGHPUT, iops / 4)) {
        tell(["throughput"], {
            found: `${throughput} MiB/s with ${iops} IOPS`,
            expected: `at most ${Math.floor(iops / 4)}: gp3 has a quarter MiB/s per IOPS`,
            hint: `set iops to ${throughput * 4}, or throughput to ${Math.floor(iops / 4)} at most`,
        });
    }
    const highest = type?.facts?.highestBandwidth;
    if (throughput !== undefined && highest !== undefined && throughput > highest) {
        const found = `${throughput} MiB/s, ${type?.name} has ${Math.floor(highest)} to EBS (${instanceTypesSource})`;
        tell(["throughput"], { found, expected: `at most ${Math.floor(highest)}, or a larger type` });
    }
}

function sizeIn(text: string): number | undefined {
    return faultIn(() => parseSize(text)) === undefined ? gibibytes(parseSize(text)) : undefined;
}

/** What garbage collection keeps must fit on every group's disk. */
export function checkGc(gc: unknown, groups: [string, unknown][], tell: Report): void {
    if (!isTable(gc)) {
        return;
    }
    // The smallest disk decides; nothing where a size is not known (instance storage).
    const volumes = groups.map(([, group]) => (isTable(group) && isTable(group.cacheVolume) ? group.cacheVolume : {}));
    const sizes = volumes.map(({ size }) => (typeof size === "string" ? sizeIn(size) : undefined));
    const disk = sizes.includes(undefined) || sizes.length === 0 ? undefined : Math.min(...sizes.map(Number));
    const percent = (space: unknown) => percentOf(space, disk);
    const names = ["reservedSpace", "maxUsedSpace", "minFreeSpace"] as const;
    for (const name of names) {
        if ((percent(gc[name]) ?? 0) > 100) {
            const found = `${gc[name]} is more than the disk, ${disk} GiB`;
            tell(["gc", name], { found, expected: "less than the disk" });
        }
    }
    const [reserved, used, free] = names.map((name) => percent(gc[name]));
    if (used !== undefined && used > MOST_USED_PERCENT && used <= 100) {
        const found = `${gc.maxUsedSpace}${isPercent(gc.maxUsedSpace) ? "" : ` of ${disk} GiB, ${Math.round(used)} %`}`;
        const hint = `at most ${MOST_USED_PERCENT} %: BuildKit counts less than the disk does`;
        tell(["gc", "maxUsedSpace"], { found, expected: `at most ${MOST_USED_PERCENT} % of the disk`, hint });
    }
    if (reserved !== undefined && used !== undefined && reserved > used) {
        const found = `${gc.reservedSpace} is more than maxUsedSpace, ${gc.maxUsedSpace}`;
        tell(["gc", "reservedSpace"], { found, expected: "at most maxUsedSpace" });
    }
    if (reserved !== undefined && free !== undefined && free <= 100 && reserved <= 100 && reserved + free > 100) {
        const found = `${gc.minFreeSpace} free and ${gc.reservedSpace} reserved are more than the disk`;
        tell(["gc", "minFreeSpace"], { found, expected: "both on one disk" });
    }
}

const isPercent = (space: unknown) => typeof space === "string" && isPercentage(space);

/** A part of the disk; nothing for a size on a disk whose own is not known. */
function percentOf(space: unknown, disk: number | undefined): number | undefined {
    if (typeof space !== "string") {
        return undefined;
    }
    if (isPercentage(space)) {
        return Number.parseInt(space, 10);
    }
    const bytes = faultIn(() => parseSize(space)) === undefined ? parseSize(space) : undefined;
    return bytes === undefined || disk === undefined ? undefined : (bytes / 2 ** 30 / disk) * 100;
}
