import * as pulumi from "@pulumi/pulumi";
import { Ec2Fleet, type Ec2FleetArgs, ImageSigningKey } from "buildfleet/aws";

const config = new pulumi.Config();

// No open port: who may start a session through Session Manager, reaches the builders.
const fleet = new Ec2Fleet("builders", {
    subnets: config.requireObject<Ec2FleetArgs["subnets"]>("subnets"),
    access: { mode: "ssm" },
    idle: { stopAfter: "30 minutes" },
});
const signing = new ImageSigningKey("images");

// What other stacks need; the client's private key makes `client` a secret.
export const nodes = fleet.nodes;
export const client = fleet.client;
export const signingKey = signing.key;
