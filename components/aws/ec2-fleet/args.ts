import type * as pulumi from "@pulumi/pulumi";
import type { Architecture } from "../../../core/aws/instance-types";
import type { DiskSpace } from "../../../core/buildkitd-settings";
import type { Duration } from "../../../core/duration";
import type { Size } from "../../../core/size";
import type { Ec2FleetTransform } from "./transform";

export interface Ec2FleetArgs {
    /**
     * Subnets of your VPC, each looked up. The nodes of a group go to them in turn: the first node to the first subnet. Appending one
     * moves none of the nodes that have a subnet of their own. Default: `subnets`, or the default VPC's.
     */
    subnetIds?: pulumi.Input<pulumi.Input<string>[]>;
    /** The same with all that is needed of them, so that nothing is looked up. */
    subnets?: FleetSubnet[];
    /** Groups of machines; default one arm64 and one amd64 node. A group named `arm64` or `amd64` has that architecture. */
    nodes?: Record<string, NodeGroup>;
    /** Who reaches the nodes; clients have to show their certificate in any case. */
    access: FleetAccess;
    /** When nodes stop themselves; default never. */
    idle?: FleetIdle;
    drain?: FleetDrain;
    /** What each node's cache keeps; default `{reservedSpace: "10%", maxUsedSpace: "60%", minFreeSpace: "15%"}`. */
    gc?: FleetGc;
    buildkit?: FleetBuildkit;
    /** How nodes and builds reach registries, by `host[:port]`; default HTTPS. */
    registries?: pulumi.Input<Record<string, pulumi.Input<Ec2Registry>>>;
    /**
     * Addresses of the build steps' containers, an IPv4 block; default `198.18.0.0/16` (RFC 2544, no VPC has it). It must not overlap
     * with what builds or clients need.
     */
    buildNetwork?: string;
    /** Alarms on each node's health, disk and certificate; default none. */
    alarms?: FleetAlarms;
    /** ARN of the KMS key of the nodes' private keys in Parameter Store; default AWS's own, `alias/aws/ssm`. */
    parameterKey?: pulumi.Input<string>;
    wake?: FleetWake;
    /**
     * Tags of everything that can have some, beside `Name`, `buildfleet:fleet` and `buildfleet:node`. Keys without `/` and spaces: the
     * machines read their tags from the metadata service. A change replaces the machines, after a drain: tags of a root volume are
     * set at its launch.
     */
    tags?: Record<string, pulumi.Input<string>>;
    /** ARN of the policy that bounds the nodes' roles; default none. */
    permissionsBoundary?: pulumi.Input<string>;
    transform?: Ec2FleetTransform;
}

/** Machines that are alike. */
export interface NodeGroup {
    /** Default the group's name when it is one, or the instance type's. */
    architecture?: Architecture;
    /** Of the Nitro system; default `c8g.2xlarge` (arm64), `c7i.2xlarge` (amd64). */
    instanceType?: string;
    /** From 1 to 16; default 1. */
    count?: number;
    /** Default `on-demand`. Spot machines drain when EC2 announces an interruption. */
    capacity?: "on-demand" | "spot";
    /** What a spot group does when there is no spot capacity; default: it fails. */
    fallback?: "on-demand";
    /** An AMI's id, which is looked up, or an AMI; default the newest Amazon Linux 2023 at the machine's launch. */
    ami?: pulumi.Input<string> | MachineImage;
    /** Any text; another one replaces the machines, which then get the newest image. Default `1`. */
    release?: string;
    /** Where the cache lives; `"instance-store"` is lost when a machine stops. Default `{}`: an EBS volume. */
    cacheVolume?: CacheVolume | "instance-store";
    /** What these machines build; default `linux/arm64` or `linux/amd64`. */
    platforms?: string[];
    /** Build steps at a time, from 1 to 256; default the type's vCPUs, 4 where they are not known. */
    maxParallelism?: number;
}

/** An AMI, with what would be looked up otherwise. */
export interface MachineImage {
    /** `ami-0123456789abcdef0`, or `resolve:ssm:<parameter>`. */
    id: pulumi.Input<string>;
    architecture: "arm64" | "x86_64";
    /** The root volume's device; default `/dev/xvda` (Amazon Linux, Debian); Ubuntu's is `/dev/sda1`. */
    rootDevice?: string;
}

/** An encrypted gp3 volume, kept when its machine is replaced. */
export interface CacheVolume {
    /** From 20 GiB to 64 TiB; default `200 GiB`. Growing is done in place; EC2 refuses to shrink one: give the group another name, and it has a new, empty one. */
    size?: Size;
    /** From 3,000 to 80,000, at most 500 per GiB; default 6,000. */
    iops?: number;
    /** MiB/s, from 125 to 2,000, at most a quarter of `iops`; default 500, or what the instance type can use. */
    throughput?: number;
}

export interface FleetSubnet {
    id: pulumi.Input<string>;
    /** `eu-central-1a`. */
    zone: pulumi.Input<string>;
    vpcId: pulumi.Input<string>;
    /** Its IPv4 block, to be checked against `buildNetwork`. */
    cidr?: pulumi.Input<string>;
}

export interface FleetAccess {
    /**
     * - `private`: over the nodes' private addresses.
     * - `public`: over an Elastic IP address per node, which stays when the node stops. Its subnet routes to an internet gateway.
     * - `ssm`: through Session Manager's port forwarding. No port is open; slower.
     */
    mode: "private" | "public" | "ssm";
    /** IPv4 blocks and, when private, ids of security groups. Never everybody. Not with `ssm`. */
    from?: pulumi.Input<string>[];
}

export interface FleetIdle {
    /** Without a running build for so long; from 5 minutes to 7 days. The next `up` that builds starts the node again. */
    stopAfter: Duration;
}

export interface FleetDrain {
    /** How long running builds may take before their machine is replaced; from 10 seconds to 2 hours, default `15 minutes`. */
    timeout?: Duration;
}

/** Sizes, or parts of the disk. */
export interface FleetGc {
    /** Never reclaimed below this. */
    reservedSpace?: DiskSpace;
    /** Reclaimed above this; at most 65 % of the disk. */
    maxUsedSpace?: DiskSpace;
    /** Reclaimed until so much is free. */
    minFreeSpace?: DiskSpace;
}

export interface FleetBuildkit {
    /** Default `0.33.1`. */
    version?: string;
    /** The release tarballs of `version` by architecture, from a mirror; default GitHub's, with the checksum that is looked up there. */
    artifacts?: Record<string, BuildkitArchive>;
}

export interface BuildkitArchive {
    /** HTTPS; plain HTTP only to a private host. */
    url: pulumi.Input<string>;
    /** 64 hexadecimal digits. */
    sha256: pulumi.Input<string>;
}

/** How a registry is reached. */
export interface Ec2Registry {
    /** Plain HTTP; default false. */
    http?: pulumi.Input<boolean>;
    /** Certificates of private authorities, PEM; default the system's. */
    ca?: pulumi.Input<pulumi.Input<string>[]>;
    /** Registries asked first; default none. */
    mirrors?: pulumi.Input<pulumi.Input<string>[]>;
}

export interface FleetAlarms {
    /** SNS topic that is told. */
    topicArn: pulumi.Input<string>;
}

export interface FleetWake {
    /** How long a stopped node may take until it answers; from 30 seconds to 30 minutes, default `3 minutes`. */
    timeout?: Duration;
}
