import { describe, expect, it } from "vitest";
import { estimateCost, PRICE_SOURCES, type PricedNode } from "../../core/aws/prices";

const root = { gibibytes: 20, iops: 3000, throughput: 125 };
const cache = { gibibytes: 200, iops: 6000, throughput: 500 };
const node = (settings: Partial<PricedNode> = {}): PricedNode => ({
    node: "arm64",
    instanceType: "c8g.2xlarge",
    capacity: "on-demand",
    volumes: [root, cache],
    hasPublicAddress: false,
    ...settings,
});
// 220 GiB at 0.08, 3,000 IOPS at 0.005, 375 MiB/s at 0.04.
const VOLUMES = 17.6 + 15 + 15;

describe("the estimate of cost", () => {
    it("counts instances, volumes and addresses", () => {
        expect(estimateCost("us-east-1", [node()])).toMatchObject({
            currency: "USD",
            perHourRunning: Number((0.31904 + VOLUMES / 730).toFixed(4)),
            perMonthStopped: VOLUMES,
            unknown: [],
        });
        const { perMonthStopped } = estimateCost("us-east-1", [node({ hasPublicAddress: true }), node()]);
        expect(perMonthStopped).toBe(98.85);
    });

    it("says unknown where the table has no price, and of what", () => {
        expect(estimateCost("us-east-1", [node({ instanceType: "c42g.large" })])).toMatchObject({
            perHourRunning: "unknown",
            perMonthStopped: VOLUMES,
            unknown: ["c42g.large in us-east-1"],
        });
        for (const region of ["eu-central-1", "constructor", ""])
            expect(estimateCost(region, [node()])).toMatchObject({
                perHourRunning: "unknown",
                perMonthStopped: "unknown",
                unknown: [`all prices in ${region}`],
            });
    });

    it("names sources with their days, and spot's price as what it is", () => {
        const { sources, notes } = estimateCost("us-east-1", [node({ capacity: "spot" })]);
        expect(sources).toEqual(PRICE_SOURCES);
        for (const { date } of sources) expect(date).toMatch(/^20\d\d-\d\d-\d\d$/);
        expect(notes).toContain("arm64: spot, counted with the on-demand price");
    });
});
