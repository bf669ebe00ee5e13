import type { LogGroup } from "@pulumi/aws/cloudwatch/logGroup";
import { Volume } from "@pulumi/aws/ebs/volume";
import { Eip } from "@pulumi/aws/ec2/eip";
import { EipAssociation } from "@pulumi/aws/ec2/eipAssociation";
import { VolumeAttachment } from "@pulumi/aws/ec2/volumeAttachment";
import * as pulumi from "@pulumi/pulumi";
import { type PlannedNode, type PlannedVolume, seconds } from "../../../core/aws/fleet-plan";
import { BUILDKIT_PORT } from "../../../core/host";
import type { BuilderNode } from "../../../resources/buildx-builder";
import type { CertificateAuthority } from "../../../resources/certificate-authority";
import { Ec2Drain } from "../../../resources/ec2-drain";
import { applyTransform } from "../../transform";
import { createAlarms } from "./alarms";
import { type FleetScope, tagsOf } from "./fleet-scope";
import { createMachine, type MachineParts } from "./machine";
import { createRights } from "./rights";
import { createTlsParameter } from "./tls";

/** What is the same for all nodes. */
export interface FleetParts extends Pick<MachineParts, "securityGroup" | "archives" | "dependsOn"> {
    authority: CertificateAuthority;
    logGroup: LogGroup;
}

/** A node as the fleet's outputs have it. */
export interface CreatedNode {
    plan: PlannedNode;
    builder: BuilderNode;
    instanceId: pulumi.Output<string>;
    capacity: pulumi.Output<string>;
    volume: Volume | undefined;
}

/** A drain may take so long beyond what builds may: the machine's shutdown, and EC2's notice of it. */
const SHUTDOWN_SECONDS = 180;

export function createNode(
    scope: FleetScope,
    plan: PlannedNode,
    parts: FleetParts,
    place: MachineParts["place"],
): CreatedNode {
    const { name, settings } = scope;
    const node = plan.name;
    const parameter = createTlsParameter(scope, node, parts.authority);
    const { policy, profile } = createRights(scope, node, parameter, parts.logGroup);
    const volume = plan.cache.kind === "volume" ? createVolume(scope, node, plan.cache, place.zone) : undefined;
    const machine = createMachine(scope, plan, {
        ...parts,
        place,
        profile,
        volume,
        dependsOn: [...parts.dependsOn, policy, parameter],
    });
    const region = parts.securityGroup.region;
    // When the machine is another one, this drains the one before it. What moves to the new machine waits for it.
    const drain = createDrain(scope, `${name}-${node}-drain`, "change", region, machine.instanceId, []);
    const attachment = volume && attach(scope, node, volume, machine.instanceId, drain);
    const address =
        settings.access.mode === "public" ? createAddress(scope, node, machine.instanceId, drain) : undefined;
    // When the node goes, what depends on another goes first: so this drains it before volume and address are taken off.
    const moved = [drain, attachment, address?.association].filter((one) => one !== undefined);
    const farewell = createDrain(scope, `${name}-${node}-farewell`, "delete", region, machine.instanceId, moved);
    createAlarms(scope, node, machine.instanceId);
    // Known once volume and address have moved: a registration that came earlier would wait for a machine that waits for them.
    const instanceId = pulumi
        .all([machine.instanceId, drain.id, attachment?.id, address?.association.id, farewell.id])
        .apply(([id]) => id);
    const host = address ? address.publicIp : machine.privateIp;
    const tunnel = settings.access.mode === "ssm";
    const builder = {
        name: node,
        endpoint: pulumi.all([host, instanceId]).apply(([host]) => `tcp://${host}:${BUILDKIT_PORT}`),
        platforms: plan.platforms,
        serverName: node,
        ec2: { instanceId, region, wakeTimeoutSeconds: seconds(settings.wake.timeout), ...(tunnel ? { tunnel } : {}) },
    };
    return { plan, builder, instanceId: machine.instanceId, capacity: machine.capacity, volume };
}

function createDrain(
    { settings, transform, child }: FleetScope,
    logical: string,
    on: "change" | "delete",
    region: pulumi.Input<string>,
    instanceId: pulumi.Input<string>,
    dependsOn: pulumi.Resource[],
): Ec2Drain {
    const timeoutSeconds = seconds(settings.drain.timeout) + SHUTDOWN_SECONDS;
    const args = { region, instanceId, timeoutSeconds, on };
    return new Ec2Drain(logical, applyTransform(transform.drain, args, logical), { ...child, dependsOn });
}

function createVolume(scope: FleetScope, node: string, volume: PlannedVolume, zone: pulumi.Input<string>): Volume {
    const logical = `${scope.name}-${node}-cache`;
    const { gibibytes, iops, throughput } = volume;
    const args = {
        availabilityZone: zone,
        encrypted: true,
        type: "gp3",
        size: gibibytes,
        iops,
        throughput,
        tags: tagsOf(scope, node),
    };
    return new Volume(logical, applyTransform(scope.transform.volume, args, logical), scope.child);
}

/** A volume is on one machine at a time: off the old one, which is drained and stopped by then, before it is on the new one. */
function attach(
    { name, transform, child }: FleetScope,
    node: string,
    volume: Volume,
    instanceId: pulumi.Input<string>,
    drain: Ec2Drain,
): VolumeAttachment {
    const logical = `${name}-${node}-cache`;
    const args = {
        // The name is EC2's only: the machine finds the volume by its id.
        deviceName: "/dev/sdf",
        volumeId: volume.id,
        instanceId,
        stopInstanceBeforeDetaching: true,
    };
    return new VolumeAttachment(logical, applyTransform(transform.attachment, args, logical), {
        ...child,
        dependsOn: [drain],
        deleteBeforeReplace: true,
    });
}

/** An address of the node's own: it stays when the machine stops or is replaced. */
function createAddress(scope: FleetScope, node: string, instanceId: pulumi.Input<string>, drain: Ec2Drain) {
    const { name, transform, child } = scope;
    const logical = `${name}-${node}-address`;
    const args = { domain: "vpc", tags: tagsOf(scope, node) };
    const address = new Eip(logical, applyTransform(transform.address, args, logical), child);
    // Builds that run over it end first.
    const association = new EipAssociation(
        logical,
        applyTransform(transform.addressAssociation, { allocationId: address.allocationId, instanceId }, logical),
        { ...child, dependsOn: [drain], deleteBeforeReplace: true },
    );
    return { publicIp: address.publicIp, association };
}
