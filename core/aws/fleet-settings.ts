import { z } from "zod";
import { archiveUrl, sha256 } from "../artifact-leaves";
import { buildkitVersion, diskSpace, durationWithin, platform, platformIdentity, registryFault } from "../leaves";
import { FormatError } from "../problems";
import { always, choice, flag, late, text, whole } from "../schema";
import { fields, list, table } from "../schema-tables";
import { checkSettings } from "../settings";
import { parseSize, type Size, sizeExpected } from "../size";
import { quote } from "../text";
import { fleetChecks } from "./fleet-checks";
import {
    accessSource,
    arn,
    cidr,
    groupNameFault,
    imageId,
    instanceType,
    subnetId,
    tagFault,
    tagValue,
    vpcId,
    zone,
} from "./leaves";

const size = text<Size>(sizeExpected, (value) => {
    parseSize(value);
    return value as Size;
});

const release = text("any text", (value) => {
    if (!/^[\w.:+-]{1,64}$/.test(value)) {
        throw new FormatError(`${quote(value)} is no release`, "1 to 64 letters, digits and _ . : + -");
    }
    return value;
});

const device = text("a device", (value) => {
    if (!/^\/dev\/(?:sd[a-z]\d*|xvd[a-z]{1,2})$/.test(value)) {
        throw new FormatError(`${quote(value)} is not a device`, '"/dev/xvda" or "/dev/sda1"');
    }
    return value;
});

const certificate = text("a certificate, PEM", (value) => {
    if (!/^-----BEGIN CERTIFICATE-----\s[A-Za-z0-9+/=\s]+-----END CERTIFICATE-----\s*/.test(value)) {
        throw new FormatError("not a certificate", "PEM, from -----BEGIN CERTIFICATE----- on");
    }
    return value;
});

const cacheVolume = z.union([
    fields({
        size: size.default("200 GiB").describe("From 20 GiB to 64 TiB"),
        iops: whole({ min: 3000, max: 80_000 }).default(6000).describe("At most 500 per GiB"),
        throughput: whole({ min: 125, max: 2000 })
            .optional()
            .describe("MiB/s, at most a quarter of the IOPS; 500, or what the type can use, when unset"),
    }),
    choice(["instance-store"]),
]);

const architectures = ["arm64", "amd64"] as const;

const group = fields({
    architecture: choice(architectures).optional().describe("The group's name or the type's when unset"),
    instanceType: instanceType.optional().describe("`c8g.2xlarge` or `c7i.2xlarge` when unset"),
    count: whole({ min: 1, max: 16 }).default(1).describe("How many machines"),
    capacity: choice(["on-demand", "spot"]).default("on-demand").describe("How they are paid for"),
    fallback: choice(["on-demand"])
        .optional()
        .describe("What a spot group does without spot capacity; fails when unset"),
    ami: late(
        z.union([
            imageId({ parameters: false }),
            fields({
                id: imageId({ parameters: true }).describe("The image's id, or a parameter that holds it"),
                architecture: choice(["arm64", "x86_64"]).describe("The image's"),
                rootDevice: device.default("/dev/xvda").describe("The root volume's device"),
            }),
        ]),
    )
        .optional()
        .describe("The newest Amazon Linux 2023 at the machine's launch when unset"),
    release: release.default("1").describe("Another one replaces the machines"),
    cacheVolume: cacheVolume.prefault({}).describe("Where the cache lives"),
    platforms: list(platform, { of: "platforms", min: 1, identity: platformIdentity })
        .optional()
        .describe("What they build; their own architecture when unset"),
    maxParallelism: whole({ min: 1, max: 256 }).optional().describe("Build steps at a time; the vCPUs when unset"),
});

const registry = fields({
    http: flag().default(false).describe("Plain HTTP"),
    ca: late(list(certificate, { of: "certificates" }))
        .optional()
        .describe("Certificates of private authorities, PEM"),
    mirrors: late(list(text("a registry"), { of: "registries" }))
        .optional()
        .describe("Registries asked first"),
});

const archive = fields({
    url: archiveUrl.describe("HTTPS; plain HTTP only to a private host"),
    sha256: sha256.describe("64 hexadecimal digits"),
});

const archives = table(archive, "archives by architecture", (name) =>
    architectures.some((known) => known === name)
        ? undefined
        : { found: `${quote(name)} is not an architecture`, expected: '"arm64" or "amd64"' },
);

/** The schema of an Ec2Fleet's arguments; `transform` is not among them. */
export const fleetSettings = () =>
    fields({
        subnetIds: late(list(subnetId, { of: "subnets", min: 1, identity: (id) => id }))
            .optional()
            .describe("Of the VPC"),
        subnets: list(
            fields({
                id: subnetId.describe("The subnet's id"),
                zone: zone.describe("Its availability zone's name"),
                vpcId: vpcId.describe("Its VPC's id"),
                cidr: cidr.optional().describe("Its IPv4 block"),
            }),
            { of: "subnets", min: 1, identity: ({ id }) => (typeof id === "string" ? id : undefined) },
        )
            .optional()
            .describe("The same, with all that would be looked up"),
        nodes: table(group, "groups of machines", groupNameFault)
            .default(() => ({ arm64: group.parse({}), amd64: group.parse({}) }))
            .describe("Groups of machines that are alike; one arm64 and one amd64 node when unset"),
        access: fields({
            mode: choice(["private", "public", "ssm"]).describe("How the nodes are reached"),
            from: list(accessSource, { of: "blocks of addresses and security groups", identity: (source) => source })
                .optional()
                .describe("Who reaches them"),
        }).describe("Who reaches the nodes, and how"),
        idle: fields({ stopAfter: durationWithin("5 minutes", "7 days").describe("Without a build for so long") })
            .optional()
            .describe("When nodes stop themselves"),
        drain: fields({
            timeout: durationWithin("10 seconds", "2 hours").default("15 minutes").describe("For running builds"),
        }).prefault({}),
        gc: fields({
            reservedSpace: diskSpace.default("10%").describe("Never reclaimed below this"),
            maxUsedSpace: diskSpace.default("60%").describe("Reclaimed above this; at most 65 % of the disk"),
            minFreeSpace: diskSpace.default("15%").describe("Reclaimed until so much is free"),
        }).prefault({}),
        buildkit: fields({
            version: buildkitVersion.default("0.33.1").describe("BuildKit's version"),
            artifacts: archives.optional().describe("Its release tarballs from a mirror; GitHub's when unset"),
        }).prefault({}),
        registries: late(table(registry, "registries", registryFault))
            .default({})
            .describe("How registries are reached"),
        buildNetwork: cidr.default("198.18.0.0/16").describe("Addresses of the build steps' containers"),
        alarms: fields({
            topicArn: arn("sns", /^[\w.-]+$/, "arn:aws:sns:eu-central-1:123456789012:builders").describe("Who is told"),
        })
            .optional()
            .describe("Alarms on health, disk and certificate"),
        parameterKey: arn("kms", /^key\//, "arn:aws:kms:eu-central-1:123456789012:key/1234abcd-…")
            .optional()
            .describe("KMS key of the private keys in Parameter Store"),
        wake: fields({
            timeout: durationWithin("30 seconds", "30 minutes").default("3 minutes").describe("Until a node answers"),
        }).prefault({}),
        tags: table(tagValue, "tags", tagFault).default({}).describe("Of everything that can have some"),
        permissionsBoundary: arn("iam", /^policy\//, "arn:aws:iam::123456789012:policy/boundary")
            .optional()
            .describe("Bounds the nodes' roles"),
    }).superRefine(fleetChecks, always);

/** An Ec2Fleet's arguments after the check, defaults filled in. */
export type FleetSettings = z.output<ReturnType<typeof fleetSettings>>;
export type GroupSettings = FleetSettings["nodes"][string];

/**
 * Checks a fleet's arguments and fills in the defaults; values of other resources ({@link Unresolved}) stay as they are.
 *
 * @param subject `Ec2Fleet "builders"`.
 * @throws SettingsError with every problem at once.
 */
export function checkFleetSettings(subject: string, value: unknown): FleetSettings {
    // Only what may be an output is late, and the component reads those from its arguments.
    return checkSettings(subject, fleetSettings() as z.ZodType<FleetSettings>, value) as FleetSettings;
}
