import * as pulumi from "@pulumi/pulumi";
import { MultiPlatformImage } from "buildfleet";
import { Ec2Fleet, type Ec2FleetArgs, EcrRepository, ImageSigningKey } from "buildfleet/aws";

const config = new pulumi.Config();

const fleet = new Ec2Fleet("builders", {
    subnets: config.requireObject<Ec2FleetArgs["subnets"]>("subnets"),
    access: { mode: "private", from: config.requireObject<string[]>("from") },
    nodes: { arm64: { instanceType: "c8g.2xlarge" }, amd64: { instanceType: "c7i.2xlarge" } },
    idle: { stopAfter: "30 minutes" },
});
const version = "1.4.2";
const repository = new EcrRepository("app", { version, cache: {} });
const signing = new ImageSigningKey("images");

const image = new MultiPlatformImage("app", {
    fleet,
    repository,
    ...repository.cache,
    context: "app",
    platforms: ["linux/amd64", "linux/arm64"],
    version,
    test: { command: ["/usr/local/bin/greet", "world"] },
    scan: { failOn: "high" },
    sign: { key: signing.key },
});

export const ref = image.ref;
export const cost = fleet.cost;
