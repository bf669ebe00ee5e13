import { z } from "zod";
import { sha256 } from "./artifact-leaves";
import { parseCidr } from "./cidr";
import { INSTANCE } from "./host/names";
import { buildkitVersion, diskSpace, durationWithin, platform, platformIdentity, registryFault } from "./leaves";
import { BUILD_NETWORK, checkHosts } from "./managed-fleet-checks";
import { FormatError } from "./problems";
import { always, choice, flag, late, report, secretText, text, whole } from "./schema";
import { fields, list, table } from "./schema-tables";
import { checkSettings } from "./settings";
import { parseSize, type Size } from "./size";
import { sshSettings } from "./ssh-settings";
import { quote } from "./text";

const architectures = ["amd64", "arm64"] as const;

const memoryExpected = 'a size from "512 MiB" up';
const memory = text<Size>(memoryExpected, (value) => {
    if (parseSize(value) < 2 ** 29) throw new FormatError(`${value} is too little for a build`, memoryExpected);
    return value as Size;
});

const cpusExpected = "a number of cores from 0.1 to 1024";
const cpus = z
    .custom<number>()
    .check((payload) => {
        const { value } = payload;
        const right = typeof value === "number" && value >= 0.1 && value <= 1024;
        if (!right) report(payload, { found: `${quote(String(value))} is no number of cores`, expected: cpusExpected });
    })
    .meta({ expected: cpusExpected });

/** Plain HTTP will do: the bytes are checked against the checksum. */
const archiveUrl = text('an address such as "http://mirror.room/buildkit.tar.gz"', (value) => {
    const url = URL.canParse(value) ? new URL(value) : undefined;
    if (url === undefined || !["https:", "http:"].includes(url.protocol)) {
        throw new FormatError(`${quote(value)} is not an address`, "an address with https:// or http://");
    }
    if (url.username !== "" || url.password !== "") {
        throw new FormatError("an address with a password", "an address without: it is kept in plain text");
    }
    return value;
});

const cidrExpected = "IPv4 addresses such as 198.18.0.0/16";
const cidr = text(cidrExpected, (value) => {
    if (parseCidr(value).family !== 4) throw new FormatError(`${quote(value)} is IPv6`, cidrExpected);
    return value;
});

const instanceExpected = 'up to 12 letters and digits, such as "team2"';
const instance = text(instanceExpected, (value) => {
    if (!INSTANCE.test(value)) throw new FormatError(`${quote(value)} is not an instance's name`, instanceExpected);
    return value;
});

const hostName = (name: string) =>
    /^[a-z](?:[a-z0-9-]{0,61}[a-z0-9])?$/.test(name)
        ? undefined
        : { found: `${quote(name)} is not a host's name`, expected: 'letters, digits and dashes, such as "arm-1"' };

const host = fields({
    ssh: sshSettings().describe("How the host is reached by SSH"),
    architecture: choice(architectures).describe("Its processor's; another one is refused"),
    address: text("a name or address").optional().describe("At which clients reach BuildKit; `ssh.host` when unset"),
    platforms: list(platform, { of: "platforms", min: 1, identity: platformIdentity })
        .optional()
        .describe("What it builds; its own architecture when unset"),
    maxParallelism: whole({ min: 1, max: 256 }).default(4).describe("Build steps at a time"),
    maxBuilds: whole({ min: 1, max: 1000 }).optional().describe("Builds at a time; no limit when unset"),
    memory: memory.optional().describe("The most that BuildKit and its build steps use; no limit when unset"),
    cpus: cpus.optional().describe("The cores that BuildKit and its build steps use; no limit when unset"),
    instance: instance.optional().describe("Of several builders on one machine, this one's name"),
    port: whole({ min: 1024, max: 65_535 }).optional().describe("On which BuildKit answers clients; 8372 when unset"),
    buildNetwork: cidr.optional().describe("In place of the fleet's"),
    rootless: flag().optional().describe("Whether BuildKit runs as a user of its own; as root when unset"),
});

const pem = text("PEM");
const registry = fields({
    http: flag().default(false).describe("Plain HTTP"),
    ca: late(list(text("a path"), { of: "paths" }))
        .optional()
        .describe("Files on the host: private authorities"),
    caPem: pem.optional().describe("PEM of private authorities"),
    mirrors: late(list(text("a registry"), { of: "registries" }))
        .optional()
        .describe("Registries asked first"),
    clientCertificate: late(fields({ certificate: pem, privateKey: secretText("a private key, PEM") }))
        .optional()
        .describe("For a registry that asks for one"),
});

const archives = table(fields({ url: archiveUrl, sha256 }), "archives by architecture", (name) =>
    architectures.some((known) => known === name)
        ? undefined
        : { found: `${quote(name)} is not an architecture`, expected: '"amd64" or "arm64"' },
);

/** The schema of a ManagedFleet's arguments; `transform` is not among them. */
export const managedFleetSettings = () =>
    fields({
        hosts: table(host, "hosts", hostName).describe("The machines, by name"),
        buildkit: fields({
            version: buildkitVersion.default("0.33.1").describe("BuildKit's version"),
            artifacts: archives.optional().describe("Its release tarballs from a mirror; GitHub's when unset"),
        }).prefault({}),
        registries: late(table(registry, "registries", registryFault))
            .default({})
            .describe("How the nodes reach registries, by `host[:port]`; `RegistryConnection.nodeSettings` is one"),
        gc: fields({
            reservedSpace: diskSpace.default("10%").describe("Never reclaimed below this"),
            maxUsedSpace: diskSpace.default("60%").describe("Reclaimed above this"),
            minFreeSpace: diskSpace.default("15%").describe("Reclaimed until so much is free"),
        }).prefault({}),
        drain: fields({
            timeout: durationWithin("10 seconds", "2 hours").default("15 minutes").describe("For running builds"),
        }).prefault({}),
        buildNetwork: cidr.default(BUILD_NETWORK).describe("Addresses of the build steps' containers"),
    }).superRefine(checkHosts, always);

/** A ManagedFleet's arguments after the check, defaults filled in. */
export type ManagedFleetSettings = z.output<ReturnType<typeof managedFleetSettings>>;

/**
 * Checks a fleet's arguments and fills in the defaults; values of other resources stay as they are.
 *
 * @param subject `ManagedFleet "room"`.
 * @throws SettingsError with every problem at once.
 */
export function checkManagedFleetSettings(subject: string, value: unknown): ManagedFleetSettings {
    const schema = managedFleetSettings() as z.ZodType<ManagedFleetSettings>;
    return checkSettings(subject, schema, value) as ManagedFleetSettings;
}
