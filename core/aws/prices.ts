/** Prices of what a fleet runs on: on-demand, Linux, US dollars. */
export interface RegionPrices {
    /** Per hour, by instance type. */
    instances: Readonly<Record<string, number>>;
    gp3: { perGibibyteMonth: number; perIopsMonth: number; perMebibyteSecondMonth: number };
    /** Per hour, used or not. */
    publicIpv4: number;
}

/** Where figures are from, and of which day. */
export interface PriceSource {
    what: string;
    source: string;
    /** `2026-07-20`. */
    date: string;
}

/** Of the figures below; a fleet's output names them. */
export const PRICE_SOURCES: readonly PriceSource[] = [
    {
        what: "instances",
        source: "AWS Price List, as in karpenter-provider-aws (zz_generated.pricing_aws.go)",
        date: "2026-07-20",
    },
    { what: "gp3 volumes", source: "infracost's test data (ebs_volume_test.golden)", date: "2024-07-01" },
    { what: "public IPv4 addresses", source: "AWS news blog, public IPv4 address charge", date: "2024-02-01" },
];

/** Sizes in the order of the figures below. */
const SIZES = ["large", "xlarge", "2xlarge", "4xlarge", "8xlarge"];

/** The families that builders are likely to be of, in us-east-1. */
const PER_HOUR: Readonly<Record<string, number[]>> = {
    c6a: [0.0765, 0.153, 0.306, 0.612, 1.224],
    c6g: [0.068, 0.136, 0.272, 0.544, 1.088],
    c6gd: [0.0768, 0.1536, 0.3072, 0.6144, 1.2288],
    c6i: [0.085, 0.17, 0.34, 0.68, 1.36],
    c6id: [0.1008, 0.2016, 0.4032, 0.8064, 1.6128],
    c7a: [0.10264, 0.20528, 0.41056, 0.82112, 1.64224],
    c7g: [0.0725, 0.145, 0.29, 0.58, 1.16],
    c7gd: [0.0907, 0.1814, 0.3629, 0.7258, 1.4515],
    c7i: [0.08925, 0.1785, 0.357, 0.714, 1.428],
    "c7i-flex": [0.08479, 0.16958, 0.33915, 0.6783, 1.3566],
    c8a: [0.10777, 0.21554, 0.43108, 0.86216, 1.72432],
    c8g: [0.07976, 0.15952, 0.31904, 0.63808, 1.27616],
    c8gd: [0.09798, 0.19596, 0.39192, 0.78384, 1.56768],
    c8i: [0.09371, 0.18742, 0.37484, 0.74968, 1.49936],
    "c8i-flex": [0.08902, 0.17804, 0.35608, 0.71216, 1.42432],
    c9g: [0.08694, 0.17388, 0.34776, 0.69552, 1.39104],
    m7a: [0.11592, 0.23184, 0.46368, 0.92736, 1.85472],
    m7g: [0.0816, 0.1632, 0.3264, 0.6528, 1.3056],
    m7i: [0.1008, 0.2016, 0.4032, 0.8064, 1.6128],
    m8a: [0.12172, 0.24344, 0.48688, 0.97376, 1.94752],
    m8g: [0.08976, 0.17952, 0.35904, 0.71808, 1.43616],
    m8i: [0.10584, 0.21168, 0.42336, 0.84672, 1.69344],
    t3: [0.0832, 0.1664, 0.3328],
    t3a: [0.0752, 0.1504, 0.3008],
    t4g: [0.0672, 0.1344, 0.2688],
};

const INSTANCE_PRICES = Object.fromEntries(
    Object.entries(PER_HOUR).flatMap(([family, prices]) =>
        prices.map((price, index) => [`${family}.${SIZES[index]}`, price]),
    ),
);

/** Only what was found in a source: another region or type has no price here, and the estimate says "unknown". */
const PRICES: Readonly<Record<string, RegionPrices>> = {
    "us-east-1": {
        instances: INSTANCE_PRICES,
        // Above 3,000 IOPS and 125 MiB/s, which every volume has.
        gp3: { perGibibyteMonth: 0.08, perIopsMonth: 0.005, perMebibyteSecondMonth: 0.04 },
        publicIpv4: 0.005,
    },
};

/** AWS counts a month as 730 hours (AWS Pricing Calculator). */
const HOURS_PER_MONTH = 730;

/** What one node costs, beside what it is used for. */
export interface PricedNode {
    node: string;
    instanceType: string;
    capacity: "on-demand" | "spot";
    /** Root and cache; IOPS and throughput as provisioned. */
    volumes: { gibibytes: number; iops: number; throughput: number }[];
    hasPublicAddress: boolean;
}

/** An estimate without traffic, logs, alarms and taxes. */
export interface CostEstimate {
    region: string;
    currency: "USD";
    /** All nodes running: instances, volumes and addresses. Spot counts with the on-demand price, which is the most it can be. */
    perHourRunning: number | "unknown";
    /** All nodes stopped: volumes and addresses. */
    perMonthStopped: number | "unknown";
    /** What has no price in the table: `c9g.2xlarge in us-east-1`. */
    unknown: string[];
    /** What to know about the figures. */
    notes: string[];
    sources: PriceSource[];
}

/** @param region nothing where it is not known yet. */
export function estimateCost(region: string, nodes: readonly PricedNode[]): CostEstimate {
    const prices = Object.hasOwn(PRICES, region) ? PRICES[region] : undefined;
    const unknown = prices === undefined ? [`all prices in ${region}`] : [];
    let [instancesPerHour, keptPerMonth] = [0, 0];
    for (const { instanceType, volumes, hasPublicAddress } of prices === undefined ? [] : nodes) {
        const perHour = prices?.instances[instanceType];
        if (perHour === undefined) {
            unknown.push(`${instanceType} in ${region}`);
        }
        instancesPerHour += perHour ?? 0;
        keptPerMonth += volumes.reduce((sum, volume) => sum + volumePerMonth(volume, prices), 0);
        keptPerMonth += hasPublicAddress ? (prices?.publicIpv4 ?? 0) * HOURS_PER_MONTH : 0;
    }
    const isKnown = prices !== undefined;
    const spot = nodes.filter(({ capacity }) => capacity === "spot").map(({ node }) => node);
    return {
        region,
        currency: "USD",
        perHourRunning:
            isKnown && unknown.length === 0 ? rounded(instancesPerHour + keptPerMonth / HOURS_PER_MONTH, 4) : "unknown",
        perMonthStopped: isKnown ? rounded(keptPerMonth, 2) : "unknown",
        unknown: [...new Set(unknown)],
        notes: [
            "without traffic, logs, alarms and taxes",
            ...(spot.length > 0 ? [`${spot.join(", ")}: spot, counted with the on-demand price`] : []),
        ],
        sources: [...PRICE_SOURCES],
    };
}

function volumePerMonth({ gibibytes, iops, throughput }: PricedNode["volumes"][number], prices?: RegionPrices): number {
    const { perGibibyteMonth = 0, perIopsMonth = 0, perMebibyteSecondMonth = 0 } = prices?.gp3 ?? {};
    return (
        gibibytes * perGibibyteMonth +
        Math.max(0, iops - 3000) * perIopsMonth +
        Math.max(0, throughput - 125) * perMebibyteSecondMonth
    );
}

const rounded = (amount: number, digits: number) => Number(amount.toFixed(digits));
