import { getSubnetOutput } from "@pulumi/aws/ec2/getSubnet";
import { getSubnetsOutput } from "@pulumi/aws/ec2/getSubnets";
import { getVpcOutput } from "@pulumi/aws/ec2/getVpc";
import { SecurityGroup } from "@pulumi/aws/ec2/securityGroup";
import { SecurityGroupEgressRule } from "@pulumi/aws/vpc/securityGroupEgressRule";
import { SecurityGroupIngressRule } from "@pulumi/aws/vpc/securityGroupIngressRule";
import * as pulumi from "@pulumi/pulumi";
import { checkedSource, checkedSubnet, chosenSubnet } from "../../../core/aws/late-checks";
import { isSecurityGroup } from "../../../core/aws/leaves";
import { subnetIndex } from "../../../core/aws/nodes";
import { BUILDKIT_PORT } from "../../../core/host";
import { isPlain } from "../../plain";
import { applyTransform } from "../../transform";
import type { FleetSubnet } from "./args";
import { type FleetScope, named, tagsOf } from "./fleet-scope";

/** Where a node stands. */
export interface Place {
    subnetId: pulumi.Input<string>;
    zone: pulumi.Input<string>;
    vpcId: pulumi.Input<string>;
}

/** The subnet of a group's node, by the node's place in its group. */
export type PlaceOf = (index: number) => Place;

/** Subnets as they are given, looked up, or the default VPC's. */
export function places(scope: FleetScope): PlaceOf {
    const { subnets, subnetIds } = scope.args;
    if (subnets !== undefined) {
        return (index) => placeIn(subnets[subnetIndex(index, subnets.length)]);
    }
    const ids = pulumi.output(subnetIds ?? defaultSubnets(scope));
    // One look-up per subnet, not per node; how many there are may only be known later.
    const looked = new Map<number, Place>();
    return (index) => {
        const count = Array.isArray(subnetIds) ? subnetIds.length : undefined;
        const key = count === undefined ? index : subnetIndex(index, count);
        const found =
            looked.get(key) ??
            lookUp(
                ids.apply((all) => chosenSubnet(scope.subject, all, index)),
                scope,
            );
        looked.set(key, found);
        return found;
    };
}

function placeIn(subnet: FleetSubnet | undefined): Place {
    // The settings were checked: the list has at least one.
    if (subnet === undefined) throw new Error("there are no subnets");
    const { id, zone, vpcId } = subnet;
    return { subnetId: id, zone, vpcId };
}

function lookUp(id: pulumi.Output<string>, scope: FleetScope): Place {
    const subnet = getSubnetOutput({ id }, scope.child);
    // What a look-up tells comes too late for the settings' own check.
    const checked = subnet.apply((found) => checkedSubnet(scope.subject, scope.settings.buildNetwork, found));
    return { subnetId: checked, zone: subnet.availabilityZone, vpcId: subnet.vpcId };
}

function defaultSubnets({ child }: FleetScope): pulumi.Output<string[]> {
    const vpc = getVpcOutput({ default: true }, child);
    const filters = [
        { name: "vpc-id", values: [vpc.id] },
        { name: "default-for-az", values: ["true"] },
    ];
    // Sorted: EC2 lists them in any order, and another one would move the nodes.
    return getSubnetsOutput({ filters }, child).ids.apply((ids) => [...ids].sort());
}

/** The nodes' security group: in from the given sources to BuildKit's port, out to everywhere (images come from anywhere). */
export function createSecurityGroup(scope: FleetScope, vpcId: pulumi.Input<string>) {
    const { name, args, transform, child } = scope;
    const tags = tagsOf(scope);
    const logical = `${name}-builders`;
    const group = new SecurityGroup(
        logical,
        applyTransform(
            transform.securityGroup,
            { ...named(scope, "securityGroup", logical), description: "Builders of buildfleet", vpcId, tags },
            logical,
        ),
        child,
    );
    for (const [index, source] of (args.access.from ?? []).entries()) {
        const rule = `${name}-from-${isPlain(source) ? source.replace(/[^a-z0-9]+/gi, "-") : index + 1}`;
        const ingress = {
            securityGroupId: group.id,
            description: "BuildKit, mutual TLS",
            ipProtocol: "tcp",
            fromPort: BUILDKIT_PORT,
            toPort: BUILDKIT_PORT,
            tags,
            ...sourceOf(source, index, scope),
        };
        new SecurityGroupIngressRule(rule, applyTransform(transform.ingressRule, ingress, rule), child);
    }
    const everywhere = { ipv4: { cidrIpv4: "0.0.0.0/0" }, ipv6: { cidrIpv6: "::/0" } };
    const egress = Object.entries(everywhere).map(([version, block]) => {
        const rule = `${name}-out-${version}`;
        const args = { securityGroupId: group.id, description: "Images", ipProtocol: "-1", tags, ...block };
        return new SecurityGroupEgressRule(rule, applyTransform(transform.egressRule, args, rule), child);
    });
    return { group, egress };
}

/** A source that is another resource's output is checked as soon as it is known. */
function sourceOf(source: pulumi.Input<string>, index: number, { subject }: FleetScope) {
    if (isPlain(source)) {
        return isSecurityGroup(source) ? { referencedSecurityGroupId: source } : { cidrIpv4: source };
    }
    const checked = pulumi.output(source).apply((text) => checkedSource(subject, index, text));
    return {
        cidrIpv4: checked.apply((text) => (isSecurityGroup(text) ? undefined : text)),
        referencedSecurityGroupId: checked.apply((text) => (isSecurityGroup(text) ? text : undefined)),
    };
}
