import { parseDuration } from "../duration";
import type { Ec2HostSettings, HostSettings } from "../host";
import { parseSize } from "../size";
import type { FleetSettings, GroupSettings } from "./fleet-settings";
import { EC2_ARCHITECTURE, type InstanceType } from "./instance-types";
import { defaultThroughput, gibibytes, nodeNames, typeOf } from "./nodes";
import type { PricedNode } from "./prices";

/** A volume of EBS, type gp3. */
export interface PlannedVolume {
    kind: "volume";
    gibibytes: number;
    iops: number;
    /** MiB/s. */
    throughput: number;
}

/** One machine, everything about it decided. */
export interface PlannedNode {
    /** Unique in the fleet; also the name in its certificate, and of its log stream. */
    name: string;
    group: string;
    /** In its group, from 0. */
    index: number;
    type: InstanceType;
    capacity: "on-demand" | "spot";
    fallback: "on-demand" | undefined;
    cache: PlannedVolume | { kind: "instance-store" };
    platforms: string[];
    maxParallelism: number;
    release: string;
}

/** The root volume: system, BuildKit and logs; the cache has its own. */
export const ROOT_GIBIBYTES = 20;

/** The newest Amazon Linux 2023, which EC2 looks up at each launch: what is running never changes under a build. */
export const defaultImage = ({ architecture }: InstanceType) =>
    `resolve:ssm:/aws/service/ami-amazon-linux-latest/al2023-ami-kernel-default-${EC2_ARCHITECTURE[architecture]}`;

/** A fleet's nodes, in the order of its groups. */
export function planNodes(settings: FleetSettings): PlannedNode[] {
    return Object.entries(settings.nodes).flatMap(([group, choices]) => {
        const type = typeOf(group, choices);
        // The settings were checked: a group without a type is refused there.
        if (type === undefined) throw new Error(`the group ${group} has no instance type`);
        return nodeNames(group, choices.count).map((name, index) => ({
            name,
            group,
            index,
            type,
            capacity: choices.capacity,
            fallback: choices.fallback,
            cache: plannedCache(choices, type),
            platforms: choices.platforms ?? [`linux/${type.architecture}`],
            maxParallelism: choices.maxParallelism ?? type.facts?.vcpus ?? 4,
            release: choices.release,
        }));
    });
}

function plannedCache({ cacheVolume }: GroupSettings, type: InstanceType): PlannedNode["cache"] {
    if (typeof cacheVolume === "string") {
        return { kind: "instance-store" };
    }
    const { size, iops, throughput } = cacheVolume;
    return {
        kind: "volume",
        gibibytes: gibibytes(parseSize(size)),
        iops,
        throughput: throughput ?? defaultThroughput(type, iops),
    };
}

/** What is the same for all nodes, or comes from other resources. */
export interface HostParts {
    fleet: string;
    artifact: { url: string; sha256: string };
    /** Of the cache volume; nothing where there is none. */
    volumeId: string | undefined;
    registries: HostSettings["registries"];
    authorities: Record<string, string>;
    parameter: string;
    logGroup: string;
}

/** The namespace of the nodes' metrics in CloudWatch. */
export const METRICS_NAMESPACE = "Buildfleet";

/** How soon a node notices a renewed certificate: within one, as often as it could be needed. */
const TLS_POLL_SECONDS = 300;

/** The part of the disk at which the prune timer steps in, whatever BuildKit counts. */
const PRUNE_ABOVE_PERCENT = 85;

/** A machine's settings, from which its user data is made. */
export function hostSettings(settings: FleetSettings, node: PlannedNode, parts: HostParts): Ec2HostSettings {
    const { idle } = settings;
    return {
        fleet: parts.fleet,
        node: node.name,
        architecture: node.type.architecture,
        release: node.release,
        buildkit: { version: settings.buildkit.version, artifact: parts.artifact },
        cache: parts.volumeId === undefined ? { kind: "instance-store" } : { kind: "volume", volumeId: parts.volumeId },
        gc: settings.gc,
        pruneAbovePercent: PRUNE_ABOVE_PERCENT,
        maxParallelism: node.maxParallelism,
        bridgeSubnet: settings.buildNetwork,
        registries: parts.registries,
        authorities: parts.authorities,
        tls: { kind: "ssm", parameter: parts.parameter, pollSeconds: TLS_POLL_SECONDS },
        ...(idle ? { idle: { stopAfterSeconds: seconds(idle.stopAfter) } } : {}),
        drainTimeoutSeconds: seconds(settings.drain.timeout),
        metrics: { logGroup: parts.logGroup, namespace: METRICS_NAMESPACE, everySeconds: 60 },
    };
}

export const seconds = (duration: FleetSettings["drain"]["timeout"]) => Math.ceil(parseDuration(duration) / 1000);

/** How a registry is reached, as users write it: certificates, not files. */
export interface RegistryAccess {
    http?: boolean;
    ca?: string[];
    mirrors?: string[];
}

/** The folder on a node in which the authorities' certificates are. */
const AUTHORITIES = "/etc/buildfleet/ca";

/** Registries as a node knows them: each authority's certificate is a file. */
export function nodeRegistries(
    registries: Record<string, RegistryAccess>,
): Pick<HostParts, "registries" | "authorities"> {
    const authorities: Record<string, string> = {};
    const entries = Object.entries(registries).map(([host, { http, ca = [], mirrors = [] }]) => {
        const files = ca.map((pem, index) => {
            const file = `${host.replace(/[^A-Za-z0-9.-]/g, "_")}-${index + 1}.pem`;
            authorities[file] = pem.endsWith("\n") ? pem : `${pem}\n`;
            return `${AUTHORITIES}/${file}`;
        });
        const settings = {
            ...(http ? { http } : {}),
            ...(files.length > 0 ? { ca: files } : {}),
            ...(mirrors.length > 0 ? { mirrors } : {}),
        };
        return [host, settings] as const;
    });
    return { registries: Object.fromEntries(entries), authorities };
}

/** What a node costs, for the estimate. */
export function pricedNode(node: PlannedNode, hasPublicAddress: boolean): PricedNode {
    const root = { gibibytes: ROOT_GIBIBYTES, iops: 3000, throughput: 125 };
    return {
        node: node.name,
        instanceType: node.type.name,
        capacity: node.capacity,
        volumes: node.cache.kind === "volume" ? [root, node.cache] : [root],
        hasPublicAddress,
    };
}
