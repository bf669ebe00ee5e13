// Writes core/aws/instance-type-data.ts from DescribeInstanceTypes, as moto ships it (moto/ec2/resources/instance_types.json.gz).
//
//   node tools/instance-types/derive.mjs <instance_types.json.gz> <moto's version> <day, such as 2026-11-22>
//
// Run by hand when AWS has new families; the result is committed. What it leaves out: types whose EBS volumes
// are no NVMe devices (named in a list of their own), and families that are made for something else than building (GPUs,
// accelerators, HPC, Macs, 448 vCPUs and more). A type that is not in the table is still accepted: it only goes unchecked.

import { readFileSync, writeFileSync } from "node:fs";
import { gunzipSync } from "node:zlib";

const [file, version, day] = process.argv.slice(2);
if (!file || !version || !day) throw new Error("usage: derive.mjs <instance_types.json.gz> <moto's version> <day>");

const NOT_FOR_BUILDS = /^(?:dl|f|g|gr|hpc|inf|mac|p|trn|u|u7i|u7in|vt)\d|^(?:mac|u|p\d|u7in?)-/;

/** @type {Map<string, {size: string, numbers: [number, number, number, number]}[]>} */
const families = new Map();
/** @type {Set<string>} */
const withoutNvme = new Set();
for (const [type, facts] of Object.entries(JSON.parse(gunzipSync(readFileSync(file)).toString()))) {
    const [family = "", size = ""] = type.split(".");
    const { EbsOptimizedInfo: ebs } = facts.EbsInfo ?? {};
    if (facts.EbsInfo?.NvmeSupport === "unsupported") withoutNvme.add(family);
    if (!ebs || facts.EbsInfo.NvmeSupport === "unsupported" || NOT_FOR_BUILDS.test(family)) continue;
    const storage = facts.InstanceStorageInfo?.TotalSizeInGB ?? 0;
    /** @type {[number, number, number, number]} */
    const numbers = [facts.VCpuInfo.DefaultVCpus, ebs.BaselineBandwidthInMbps, ebs.MaximumBandwidthInMbps, storage];
    families.set(family, [...(families.get(family) ?? []), { size, numbers }]);
}

const lines = [...families]
    .sort(([a], [b]) => (a < b ? -1 : 1))
    .map(([family, sizes]) => {
        const ordered = sizes.sort((a, b) => a.numbers[0] - b.numbers[0] || (a.size < b.size ? -1 : 1));
        const text = ordered.map(({ size, numbers }) => `${size}:${numbers.join(":")}`).join(" ");
        const key = /^[a-z][a-z0-9]*$/.test(family) ? family : JSON.stringify(family);
        const line = `    ${key}: "${text}",`;
        return line.length > 120 ? `    ${key}:\n        "${text}",` : line;
    });

writeFileSync(
    new URL("../../core/aws/instance-type-data.ts", import.meta.url),
    `// Written by tools/instance-types/derive.mjs; not by hand.

/** Where the table is from. */
export const INSTANCE_TYPES_SOURCE = "EC2 DescribeInstanceTypes, as in moto ${version}";
/** The day it was made. */
export const INSTANCE_TYPES_DAY = "${day}";

/** Families of which no type shows EBS volumes as NVMe devices: the Xen hypervisor's. */
export const WITHOUT_NVME =
    "${[...withoutNvme]
        .filter((family) => !families.has(family))
        .sort()
        .join(" ")}";

/** By family: \`size:vCPUs:baseline EBS bandwidth:highest EBS bandwidth:instance storage\`; bandwidths in Mbit/s, storage in GB. */
export const INSTANCE_TYPES: Readonly<Record<string, string>> = {
${lines.join("\n")}
};
`,
);
