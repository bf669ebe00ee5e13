import { LogGroup } from "@pulumi/aws/cloudwatch/logGroup";
import * as pulumi from "@pulumi/pulumi";
import { planNodes, pricedNode } from "../../../core/aws/fleet-plan";
import { checkFleetSettings } from "../../../core/aws/fleet-settings";
import { logGroupName } from "../../../core/aws/names";
import { type CostEstimate, estimateCost } from "../../../core/aws/prices";
import { checkUserData } from "../../../core/aws/user-data-size";
import { BuildkitRelease } from "../../../resources/buildkit-release";
import type { BuilderClient, BuilderNode } from "../../../resources/buildx-builder";
import type { Fleet } from "../../builders/fleet";
import { withoutOutputs } from "../../plain";
import { applyTransform } from "../../transform";
import type { Ec2FleetArgs } from "./args";
import { type FleetScope, fleetScope, tagsOf } from "./fleet-scope";
import type { Archives } from "./machine";
import { createSecurityGroup, places } from "./network";
import { type CreatedNode, createNode } from "./node";
import { createClient } from "./tls";

export type * from "./args";
export type { Ec2FleetTransform } from "./transform";

/** Where a node's cache is. */
export interface NodeCache {
    kind: "volume" | "instance-store";
    /** Absent for instance storage. */
    volumeId?: string;
    /** True for instance storage: every stop of the machine, idle or not, begins with an empty cache. */
    lostOnStop: boolean;
}

/** Days for which the log group keeps metrics' lines. */
const LOG_DAYS = 30;

/**
 * Graviton and x86 builders on EC2: machines that run BuildKit, each with a cache volume, a certificate and a role of its own. Nobody
 * reaches them but who `access` names and the fleet's authority knows. They drain before they are replaced, keep their caches, and
 * stop when they idle.
 *
 * ```ts
 * const fleet = new Ec2Fleet("builders", {
 *     subnetIds: network.privateSubnetIds,
 *     access: { mode: "private", from: ["10.0.0.0/16"] },
 *     nodes: { arm64: { instanceType: "c8g.2xlarge" }, amd64: { instanceType: "c7i.2xlarge" } },
 *     idle: { stopAfter: "30 minutes" },
 * });
 * ```
 *
 * @throws SettingsError with every problem of the arguments at once, before anything is declared.
 */
export class Ec2Fleet extends pulumi.ComponentResource implements Fleet {
    readonly nodes: pulumi.Output<pulumi.Unwrap<BuilderNode>[]>;
    readonly client: pulumi.Output<pulumi.Unwrap<BuilderClient>>;
    /** By node. */
    readonly instanceIds: pulumi.Output<Record<string, string>>;
    /** By node: `on-demand` or `spot`. */
    readonly capacities: pulumi.Output<Record<string, string>>;
    /** By node. */
    readonly caches: pulumi.Output<Record<string, NodeCache>>;
    /** Of the nodes; for rules of your own, such as to VPC endpoints. */
    readonly securityGroupId: pulumi.Output<string>;
    /** Per hour running and per month stopped, from a dated table. */
    readonly cost: pulumi.Output<CostEstimate>;

    constructor(name: string, args: Ec2FleetArgs, options?: pulumi.ComponentResourceOptions) {
        const subject = `Ec2Fleet ${JSON.stringify(name)}`;
        const { transform, ...plain } = args;
        const settings = checkFleetSettings(subject, withoutOutputs(plain));
        const planned = planNodes(settings);
        const names = { project: pulumi.getProject(), stack: pulumi.getStack(), fleet: name };
        checkUserData(subject, settings, planned, names);
        super("buildfleet:aws:Ec2Fleet", name, {}, options);

        const scope = fleetScope(name, subject, args, settings, names, this);
        const placeOf = places(scope);
        const { authority, client } = createClient(scope);
        const network = createSecurityGroup(scope, placeOf(0).vpcId);
        const parts = {
            authority,
            securityGroup: network.group,
            dependsOn: network.egress,
            logGroup: createLogGroup(scope),
            archives: archivesOf(scope, [...new Set(planned.map(({ type }) => type.architecture))]),
        };
        const nodes = planned.map((plan) => createNode(scope, plan, parts, placeOf(plan.index)));

        this.nodes = pulumi.output(nodes.map(({ builder }) => builder));
        this.client = pulumi.output({
            ca: authority.trustBundle,
            certificate: client.certificate,
            privateKey: client.privateKey,
        });
        this.instanceIds = byNode(nodes, ({ instanceId }) => instanceId);
        this.capacities = byNode(nodes, ({ capacity }) => capacity);
        this.caches = byNode(nodes, cacheOf);
        this.securityGroupId = network.group.id;
        const priced = planned.map((plan) => pricedNode(plan, settings.access.mode === "public"));
        this.cost = network.group.region.apply((region) => estimateCost(region, priced));
        const { instanceIds, capacities, caches, securityGroupId, cost } = this;
        this.registerOutputs({ nodes: this.nodes, instanceIds, capacities, caches, securityGroupId, cost });
    }
}

function byNode<T>(
    nodes: CreatedNode[],
    tell: (node: CreatedNode) => pulumi.Input<T>,
): pulumi.Output<Record<string, T>> {
    const entries = nodes.map((node) => pulumi.output(tell(node)).apply((value) => [node.plan.name, value] as const));
    return pulumi.all(entries).apply((all) => Object.fromEntries(all) as Record<string, T>);
}

function cacheOf({ volume }: CreatedNode): pulumi.Input<NodeCache> {
    if (volume === undefined) return { kind: "instance-store", lostOnStop: true };
    return volume.id.apply((volumeId) => ({ kind: "volume" as const, volumeId, lostOnStop: false }));
}

function createLogGroup(scope: FleetScope): LogGroup {
    const { name, names, transform, child } = scope;
    const logical = `${name}-logs`;
    const args = { name: logGroupName(names), retentionInDays: LOG_DAYS, tags: tagsOf(scope) };
    return new LogGroup(logical, applyTransform(transform.logGroup, args, logical), child);
}

/** BuildKit's archives: the mirror's, or GitHub's with the checksums that GitHub tells. */
function archivesOf({ name, args, settings, transform, child }: FleetScope, architectures: string[]): Archives {
    const { artifacts } = args.buildkit ?? {};
    if (artifacts !== undefined) return pulumi.output(artifacts);
    const logical = `${name}-buildkit`;
    const release = { version: settings.buildkit.version, architectures };
    return new BuildkitRelease(logical, applyTransform(transform.buildkitRelease, release, logical), child).artifacts;
}
