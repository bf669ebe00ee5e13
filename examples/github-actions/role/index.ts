import { OpenIdConnectProvider } from "@pulumi/aws/iam/openIdConnectProvider";
import { Role } from "@pulumi/aws/iam/role";
import { RolePolicy } from "@pulumi/aws/iam/rolePolicy";
import * as pulumi from "@pulumi/pulumi";
import { releaseRights, type Settings, trustOf } from "./policies";

const settings = new pulumi.Config().requireObject<Settings>("settings");

// One an account: where there is one already, import it (`pulumi import aws:iam/openIdConnectProvider:OpenIdConnectProvider github <arn>`).
const github = new OpenIdConnectProvider("github", {
    url: "https://token.actions.githubusercontent.com",
    clientIdLists: ["sts.amazonaws.com"],
});
const role = new Role("release", {
    description: `Releases images of ${settings.repository}`,
    assumeRolePolicy: github.arn.apply((arn) => JSON.stringify(trustOf(arn, settings))),
    maxSessionDuration: 3600,
});
new RolePolicy("release", { role: role.id, policy: JSON.stringify(releaseRights(settings)) });

export const roleArn = role.arn;
