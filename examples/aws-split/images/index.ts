import * as pulumi from "@pulumi/pulumi";
import { MultiPlatformImage } from "buildfleet";
import { EcrRepository } from "buildfleet/aws";

const builders = new pulumi.StackReference(new pulumi.Config().require("builders"));
const version = "1.4.2";
const repository = new EcrRepository("app", { version, cache: {} });

const image = new MultiPlatformImage("app", {
    fleet: { nodes: builders.requireOutput("nodes"), client: builders.requireOutput("client") },
    repository,
    ...repository.cache,
    context: "app",
    platforms: ["linux/amd64", "linux/arm64"],
    version,
    test: { command: ["/usr/local/bin/greet", "world"] },
    sign: { key: builders.requireOutput("signingKey") },
});

export const ref = image.ref;
