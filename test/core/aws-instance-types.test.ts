import { describe, expect, it } from "vitest";
import { INSTANCE_TYPES } from "../../core/aws/instance-type-data";
import { parseInstanceType, whyNotNative } from "../../core/aws/instance-types";
import { Platform } from "../../core/platform";

describe("instance types", () => {
    it.each([
        ["c8g.2xlarge", "arm64"],
        ["a1.large", "arm64"],
        ["t4g.medium", "arm64"],
        ["g5g.xlarge", "arm64"],
        ["im4gn.large", "arm64"],
        ["is4gen.large", "arm64"],
        ["x2gd.large", "arm64"],
        ["c7gn.metal", "arm64"],
        ["c9gd.metal-48xl", "arm64"],
        ["hpc7g.4xlarge", "arm64"],
        ["c7i.2xlarge", "amd64"],
        ["c7i-flex.large", "amd64"],
        // Here the g is a family of GPUs, and no processor.
        ["g4dn.xlarge", "amd64"],
        ["g5.xlarge", "amd64"],
        ["g6e.xlarge", "amd64"],
        ["gr6.4xlarge", "amd64"],
        ["p5.48xlarge", "amd64"],
        ["z1d.large", "amd64"],
        ["u7i-12tb.224xlarge", "amd64"],
    ])("%s is %s", (name, architecture) => {
        expect(parseInstanceType(name).architecture).toBe(architecture);
    });

    it.each([
        ["c8gd.2xlarge", true],
        ["i8g.large", true],
        ["i4i.large", true],
        ["m6idn.large", true],
        ["c8g.2xlarge", false],
        ["r5b.large", false],
        // Not in the table: by the name alone.
        ["c42gd.large", true],
        ["i42g.large", true],
        ["m42i.large", false],
    ])("%s has instance storage: %s", (name, hasInstanceStorage) => {
        expect(parseInstanceType(name).hasInstanceStorage).toBe(hasInstanceStorage);
    });

    it("knows what the table knows, in MiB/s", () => {
        const { facts } = parseInstanceType("c8g.2xlarge");
        expect(facts?.vcpus).toBe(8);
        expect(facts?.baselineBandwidth).toBeCloseTo(298, 0);
        expect(facts?.highestBandwidth).toBeCloseTo(1192, 0);
        expect(parseInstanceType("c42g.2xlarge").facts).toBeUndefined();
    });

    it("tells instance storage from the name as the table does, for all types there are", () => {
        const byName = (type: string) => parseInstanceType(type.replace(".", ".9")).hasInstanceStorage;
        const differ = Object.entries(INSTANCE_TYPES).filter(([family, sizes]) => {
            const has = sizes.split(" ").some((entry) => !entry.endsWith(":0"));
            return byName(`${family}.xlarge`) !== has;
        });
        expect(differ.map(([family]) => family)).toEqual([]);
    });

    it.each([
        ["linux/arm64", "c8g.2xlarge", undefined],
        ["linux/arm/v7", "c7g.2xlarge", undefined],
        ["linux/arm/v7", "t4g.large", undefined],
        ["linux/arm/v7", "a1.large", undefined],
        ["linux/arm/v7", "c8g.2xlarge", "no 32-bit code"],
        ["linux/arm/v6", "m9g.large", "no 32-bit code"],
        ["linux/amd64", "c8g.2xlarge", "c8g.2xlarge is arm64, and can't run linux/amd64 itself"],
        ["linux/386", "c7i.2xlarge", undefined],
        ["linux/amd64/v4", "c7i.2xlarge", undefined],
        ["linux/amd64/v3", "c6a.large", undefined],
        ["linux/amd64/v4", "c6a.large", "can't run"],
        ["windows/amd64", "c7i.2xlarge", "can't run"],
    ])("%s on %s: %s", (platform, type, reason) => {
        const why = whyNotNative(Platform.parse(platform), parseInstanceType(type));
        if (reason === undefined) expect(why).toBeUndefined();
        else expect(why).toContain(reason);
    });
});
