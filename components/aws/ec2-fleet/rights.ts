import type { LogGroup } from "@pulumi/aws/cloudwatch/logGroup";
import { InstanceProfile } from "@pulumi/aws/iam/instanceProfile";
import { Role } from "@pulumi/aws/iam/role";
import { RolePolicy } from "@pulumi/aws/iam/rolePolicy";
import type { Parameter } from "@pulumi/aws/ssm/parameter";
import * as pulumi from "@pulumi/pulumi";
import { ASSUME_ROLE, nodePolicy } from "../../../core/aws/policies";
import { applyTransform } from "../../transform";
import { type FleetScope, named, tagsOf } from "./fleet-scope";

/** A node's role: a role of its own, for each may read its own key only. */
export function createRights(scope: FleetScope, node: string, parameter: Parameter, logGroup: LogGroup) {
    const { name, args, transform, settings, child } = scope;
    const tags = tagsOf(scope, node);
    const childName = (kind: string) => `${name}-${node}-${kind}`;
    const [roleName, policyName, profileName] = [childName("role"), childName("rights"), childName("profile")] as const;
    const role = new Role(
        roleName,
        applyTransform(
            transform.role,
            {
                ...named(scope, "role", roleName),
                description: `The builder ${node}`,
                assumeRolePolicy: ASSUME_ROLE,
                tags,
                ...(args.permissionsBoundary === undefined ? {} : { permissionsBoundary: args.permissionsBoundary }),
            },
            roleName,
        ),
        child,
    );
    const sessions = settings.access.mode === "ssm";
    const document = pulumi
        .all([parameter.arn, logGroup.arn, args.parameterKey])
        .apply(([parameterArn, logGroupArn, parameterKeyArn]) =>
            JSON.stringify(
                nodePolicy({
                    parameterArn,
                    logGroupArn,
                    node,
                    sessions,
                    ...(parameterKeyArn === undefined ? {} : { parameterKeyArn }),
                }),
            ),
        );
    const policy = new RolePolicy(
        policyName,
        applyTransform(
            transform.rolePolicy,
            { ...named(scope, "rolePolicy", policyName), role: role.id, policy: document },
            policyName,
        ),
        child,
    );
    const profile = new InstanceProfile(
        profileName,
        applyTransform(
            transform.instanceProfile,
            { ...named(scope, "instanceProfile", profileName), role: role.name, tags },
            profileName,
        ),
        child,
    );
    return { policy, profile };
}
