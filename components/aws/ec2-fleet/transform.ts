import type { LogGroupArgs } from "@pulumi/aws/cloudwatch/logGroup";
import type { MetricAlarmArgs } from "@pulumi/aws/cloudwatch/metricAlarm";
import type { VolumeArgs } from "@pulumi/aws/ebs/volume";
import type { EipArgs } from "@pulumi/aws/ec2/eip";
import type { EipAssociationArgs } from "@pulumi/aws/ec2/eipAssociation";
import type { InstanceArgs } from "@pulumi/aws/ec2/instance";
import type { LaunchTemplateArgs } from "@pulumi/aws/ec2/launchTemplate";
import type { SecurityGroupArgs } from "@pulumi/aws/ec2/securityGroup";
import type { VolumeAttachmentArgs } from "@pulumi/aws/ec2/volumeAttachment";
import type { InstanceProfileArgs } from "@pulumi/aws/iam/instanceProfile";
import type { RoleArgs } from "@pulumi/aws/iam/role";
import type { RolePolicyArgs } from "@pulumi/aws/iam/rolePolicy";
import type { ParameterArgs } from "@pulumi/aws/ssm/parameter";
import type { SecurityGroupEgressRuleArgs } from "@pulumi/aws/vpc/securityGroupEgressRule";
import type { SecurityGroupIngressRuleArgs } from "@pulumi/aws/vpc/securityGroupIngressRule";
import type { BuildkitReleaseArgs } from "../../../resources/buildkit-release";
import type { CertificateArgs } from "../../../resources/certificate";
import type { CertificateAuthorityArgs } from "../../../resources/certificate-authority";
import type { Ec2DrainArgs } from "../../../resources/ec2-drain";
import type { SpotInstanceArgs } from "../../../resources/spot-instance";
import type { Transform } from "../../transform";

/** Last word on the children's arguments; each is called with the child's name, too. What it lets in or gives is the user's. */
export interface Ec2FleetTransform {
    authority?: Transform<CertificateAuthorityArgs>;
    /** Of the nodes and of the client. */
    certificate?: Transform<CertificateArgs>;
    buildkitRelease?: Transform<BuildkitReleaseArgs>;
    securityGroup?: Transform<SecurityGroupArgs>;
    ingressRule?: Transform<SecurityGroupIngressRuleArgs>;
    egressRule?: Transform<SecurityGroupEgressRuleArgs>;
    logGroup?: Transform<LogGroupArgs>;
    parameter?: Transform<ParameterArgs>;
    role?: Transform<RoleArgs>;
    rolePolicy?: Transform<RolePolicyArgs>;
    instanceProfile?: Transform<InstanceProfileArgs>;
    volume?: Transform<VolumeArgs>;
    launchTemplate?: Transform<LaunchTemplateArgs>;
    instance?: Transform<InstanceArgs>;
    spotInstance?: Transform<SpotInstanceArgs>;
    /** Of a machine that is replaced, and of one that goes. */
    drain?: Transform<Ec2DrainArgs>;
    attachment?: Transform<VolumeAttachmentArgs>;
    address?: Transform<EipArgs>;
    addressAssociation?: Transform<EipAssociationArgs>;
    alarm?: Transform<MetricAlarmArgs>;
}
