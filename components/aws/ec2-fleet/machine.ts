import type { Volume } from "@pulumi/aws/ebs/volume";
import { getAmiOutput } from "@pulumi/aws/ec2/getAmi";
import { Instance } from "@pulumi/aws/ec2/instance";
import { LaunchTemplate } from "@pulumi/aws/ec2/launchTemplate";
import type { SecurityGroup } from "@pulumi/aws/ec2/securityGroup";
import type { InstanceProfile } from "@pulumi/aws/iam/instanceProfile";
import * as pulumi from "@pulumi/pulumi";
import {
    defaultImage,
    hostSettings,
    nodeRegistries,
    type PlannedNode,
    ROOT_GIBIBYTES,
} from "../../../core/aws/fleet-plan";
import { checkedImage } from "../../../core/aws/late-checks";
import { fleetId, logGroupName, tlsParameterName } from "../../../core/aws/names";
import { encodeUserData, renderUserData } from "../../../core/host";
import { SpotInstance } from "../../../resources/spot-instance";
import { applyTransform } from "../../transform";
import type { MachineImage } from "./args";
import { type FleetScope, named, tagsOf } from "./fleet-scope";
import type { Place } from "./network";

/** BuildKit's tarball of each architecture. */
export type Archives = pulumi.Output<Record<string, { url: string; sha256: string }>>;

/** What a machine is made from. */
export interface MachineParts {
    place: Place;
    securityGroup: SecurityGroup;
    profile: InstanceProfile;
    volume: Volume | undefined;
    archives: Archives;
    /** What must be there before the machine boots: its rights, its key, its way out. */
    dependsOn: pulumi.Resource[];
}

/** A running machine, whoever made it. */
export interface Machine {
    instanceId: pulumi.Output<string>;
    privateIp: pulumi.Output<string>;
    /** `on-demand` or `spot`; a spot group with a fallback may have either. */
    capacity: pulumi.Output<string>;
}

/** The user data; its settings are checked before anything is declared, with placeholders for what is not known by then. */
function userData({ args, settings, names }: FleetScope, node: PlannedNode, { volume, archives }: MachineParts) {
    const registries = pulumi.output(args.registries ?? {});
    return pulumi.all([archives, registries, volume?.id]).apply(([archives, registries, volumeId]) => {
        const { architecture } = node.type;
        const artifact = archives[architecture];
        if (artifact === undefined) throw new Error(`there is no archive of BuildKit for ${architecture}`);
        const text = renderUserData(
            hostSettings(settings, node, {
                fleet: fleetId(names),
                artifact,
                volumeId,
                ...nodeRegistries(registries),
                parameter: tlsParameterName(names, node.name),
                logGroup: logGroupName(names),
            }),
        );
        return encodeUserData(text).base64;
    });
}

function createTemplate(scope: FleetScope, node: PlannedNode, parts: MachineParts): LaunchTemplate {
    const { name, transform, child } = scope;
    const logical = `${name}-${node.name}-template`;
    const image = imageOf(scope, node);
    const tags = tagsOf(scope, node.name);
    const template = {
        ...named(scope, "launchTemplate", logical),
        imageId: image.id,
        instanceType: node.type.name,
        userData: userData(scope, node, parts),
        iamInstanceProfile: { arn: parts.profile.arn },
        vpcSecurityGroupIds: [parts.securityGroup.id],
        ebsOptimized: "true",
        instanceInitiatedShutdownBehavior: "stop",
        maintenanceOptions: { autoRecovery: "default" },
        metadataOptions: {
            httpEndpoint: "enabled",
            // Version 2 only, and not through the bridge of the build steps.
            httpTokens: "required",
            httpPutResponseHopLimit: 1,
            // A drain is told to the machine by a tag: it needs no right to learn of it.
            instanceMetadataTags: "enabled",
        },
        blockDeviceMappings: [
            {
                deviceName: image.rootDevice,
                ebs: {
                    volumeType: "gp3",
                    volumeSize: ROOT_GIBIBYTES,
                    encrypted: "true",
                    deleteOnTermination: "true",
                },
            },
        ],
        tagSpecifications: ["volume", "network-interface"].map((resourceType) => ({ resourceType, tags })),
        tags,
    };
    return new LaunchTemplate(logical, applyTransform(transform.launchTemplate, template, logical), child);
}

/** The AMI and its root device. An id alone is looked up, and its architecture checked as soon as it is known. */
function imageOf({ subject, args, child }: FleetScope, node: PlannedNode) {
    const { ami } = args.nodes?.[node.group] ?? {};
    if (ami === undefined) return { id: defaultImage(node.type), rootDevice: "/dev/xvda" };
    if (isMachineImage(ami)) return { id: ami.id, rootDevice: ami.rootDevice ?? "/dev/xvda" };
    const found = getAmiOutput(
        {
            filters: [{ name: "image-id", values: [ami] }],
            includeDeprecated: true,
            mostRecent: true,
            allowUnsafeFilter: true,
        },
        child,
    );
    const id = found.apply((image) => checkedImage(subject, node.group, node.type, image));
    return { id, rootDevice: found.rootDeviceName };
}

const isMachineImage = (ami: pulumi.Input<string> | MachineImage): ami is MachineImage =>
    typeof ami === "object" && !pulumi.Output.isInstance(ami) && !(ami instanceof Promise);

/**
 * The machine. A new version of its template, which is what changed user data makes, replaces it: EC2 takes a template at launch only.
 */
export function createMachine(scope: FleetScope, node: PlannedNode, parts: MachineParts): Machine {
    const { name, transform, child } = scope;
    const template = createTemplate(scope, node, parts);
    const logical = `${name}-${node.name}`;
    const tags = tagsOf(scope, node.name);
    const version = template.latestVersion.apply(String);
    const { subnetId } = parts.place;
    const options = { ...child, dependsOn: parts.dependsOn };
    if (node.capacity === "on-demand") {
        const instance = new Instance(
            logical,
            applyTransform(
                transform.instance,
                { launchTemplate: { id: template.id, version }, subnetId, tags },
                logical,
            ),
            // The provider replaces on a new version, too; it finds out by asking EC2 for the instance's tags.
            { ...options, replaceOnChanges: ["launchTemplate"] },
        );
        return {
            instanceId: instance.id,
            privateIp: instance.privateIp,
            capacity: pulumi.output("on-demand"),
        };
    }
    const spot = new SpotInstance(
        logical,
        applyTransform(
            transform.spotInstance,
            {
                launchTemplateId: template.id,
                launchTemplateVersion: version,
                region: template.region,
                subnetId,
                tags,
                ...(node.fallback === undefined ? {} : { fallback: node.fallback }),
            },
            logical,
        ),
        options,
    );
    return { instanceId: spot.instanceId, privateIp: spot.privateIp, capacity: spot.capacity };
}
