import { Platform } from "../platform";
import { FormatError } from "../problems";
import { didYouMean, quote } from "../text";
import { INSTANCE_TYPES, INSTANCE_TYPES_DAY, INSTANCE_TYPES_SOURCE, WITHOUT_NVME } from "./instance-type-data";

export type Architecture = "arm64" | "amd64";

/** As EC2 names architectures: of AMIs, and in the public parameters of Amazon Linux. */
export const EC2_ARCHITECTURE = { arm64: "arm64", amd64: "x86_64" } as const;

/** What the table knows of a type; bandwidths of EBS in MiB/s, storage in GB. */
export interface InstanceFacts {
    vcpus: number;
    /** What it holds all day. */
    baselineBandwidth: number;
    /** The most, for 30 minutes a day where it is above the baseline. */
    highestBandwidth: number;
    instanceStorage: number;
}

/** An EC2 instance type, as far as its name and the table tell. A type that AWS adds tomorrow is one, too, without `facts`. */
export interface InstanceType {
    /** `c8g.2xlarge`. */
    name: string;
    /** `c8g`. */
    family: string;
    size: string;
    architecture: Architecture;
    /** Instance storage is there (`d` after the generation, or a storage family). */
    hasInstanceStorage: boolean;
    /** Nothing when the type is not in the table. */
    facts?: InstanceFacts;
}

export const instanceTypeExpected = 'an EC2 instance type such as "c8g.2xlarge"';

/** Where the facts come from, for messages. */
export const instanceTypesSource = `${INSTANCE_TYPES_SOURCE}, ${INSTANCE_TYPES_DAY}`;

const SIZE = /^(?:nano|micro|small|medium|large|\d*xlarge|metal(?:-\d+xl)?)$/;

/** Storage families, whatever letters follow: `i8g`, `im4gn`, `is4gen`, `d3en`. */
const STORAGE_FAMILY = /^(?:i|im|is|d|h)\d/;

/**
 * Reads an instance type's name (EC2 user guide, "Amazon EC2 instance type naming conventions": family, generation, then letters for
 * processor and options). `g` right after the generation is Graviton; in `g4dn` and `g5` it is the family of GPUs. The rule
 * holds for all types of the table's source; `a1` alone is older than it.
 *
 * @throws FormatError when it is no type's name, or one that can't run a builder.
 */
export function parseInstanceType(text: string): InstanceType {
    const [family = "", size = "", ...more] = text.split(".");
    if (more.length > 0 || !/^[a-z]+-?\d[a-z0-9-]*$/.test(family) || !SIZE.test(size)) {
        const known = Object.keys(INSTANCE_TYPES).flatMap((one) => sizesOf(one).map(([name]) => `${one}.${name}`));
        const near = didYouMean(text.trim().toLowerCase(), known);
        throw new FormatError(`${quote(text)} is not an instance type`, instanceTypeExpected, near);
    }
    if (family.startsWith("mac")) {
        throw new FormatError(`${quote(text)} is a Mac, which runs no Linux`, instanceTypeExpected);
    }
    if (WITHOUT_NVME.split(" ").includes(family)) {
        const hint = "use a type of the Nitro system, such as c8g.2xlarge or c7i.2xlarge";
        throw new FormatError(
            `${quote(text)} shows EBS volumes without their ids, so the cache volume can't be told apart`,
            "a type of the Nitro system",
            hint,
        );
    }
    const numbers = sizesOf(family)
        .find(([name]) => name === size)
        ?.slice(1)
        .map(Number);
    const facts = numbers && factsOf(numbers);
    return {
        name: text,
        family,
        size,
        architecture: family === "a1" || /^[a-z]+\d+g/.test(family) ? "arm64" : "amd64",
        hasInstanceStorage: facts ? facts.instanceStorage > 0 : STORAGE_FAMILY.test(family) || hasDisk(family),
        ...(facts ? { facts } : {}),
    };
}

const sizesOf = (family: string) =>
    (Object.hasOwn(INSTANCE_TYPES, family) ? (INSTANCE_TYPES[family] ?? "") : "")
        .split(" ")
        .filter((entry) => entry !== "")
        .map((entry) => entry.split(":"));

/** Mbit/s (of 10^6) to MiB/s. */
const toMebibytes = (megabits: number) => (megabits * 1e6) / 8 / 2 ** 20;

function factsOf([vcpus = 0, baseline = 0, highest = 0, instanceStorage = 0]: number[]): InstanceFacts {
    return {
        vcpus,
        baselineBandwidth: toMebibytes(baseline),
        highestBandwidth: toMebibytes(highest),
        instanceStorage,
    };
}

/** `d` among the letters after the generation: `c8gd`, `m6idn`. */
function hasDisk(family: string): boolean {
    return /^[a-z]+\d+[a-z]*d/.test(family);
}

/**
 * Why a machine of this type can't run a platform's binaries itself; nothing when it can. 32-bit ARM ended with Graviton3: Graviton4's
 * cores (Neoverse V2) run 64-bit code only (AWS Graviton Technical Guide, "32bit Backward Compatibility").
 */
export function whyNotNative(platform: Platform, type: InstanceType): string | undefined {
    const host = Platform.parse(type.architecture === "arm64" ? "linux/arm64" : `linux/amd64/${x86Level(type.family)}`);
    if (!platform.runsNativelyOn(host) && !platform.dependsOnProcessorOf(host)) {
        return `${type.name} is ${EC2_ARCHITECTURE[type.architecture]}, and can't run ${platform} itself`;
    }
    if (platform.architecture === "arm" && !has32BitArm(type.family)) {
        return `${type.name} is Graviton4 or newer, whose cores run no 32-bit code (${platform})`;
    }
    return undefined;
}

/** Graviton 1 to 3: `a1`, and all of the naming's generations up to 7 (`t4g` and `x2gd` are Graviton2). */
function has32BitArm(family: string): boolean {
    return family === "a1" || Number(/^[a-z]+(\d+)g/.exec(family)?.[1]) <= 7;
}

/**
 * The x86-64 level (psABI) that every type of a family has at least. All types of the Nitro system have v3 (AVX2); v4 (AVX-512) have all
 * but AMD's before the seventh generation, and Broadwell's i3.
 */
function x86Level(family: string): "v3" | "v4" {
    const isOlderAmd = /^[a-z]+[3-6]a/.test(family);
    return isOlderAmd || family === "i3" ? "v3" : "v4";
}
