import * as pulumi from "@pulumi/pulumi";
import {
    ExternalFleet,
    type ExternalNode,
    ImageMirror,
    MultiPlatformImage,
    RegistryConnection,
    SigningKey,
} from "buildfleet";

const config = new pulumi.Config();

// Plain HTTP, as in the room of the guide; with TLS: `ca`, the PEM of the room's authority.
const registry = new RegistryConnection("room", { address: config.require("registry"), plainHttp: true });
const carried = new ImageMirror("load", {
    images: {
        buildkit: "docker.io/moby/buildkit:v0.33.1",
        debian: "docker.io/library/debian:bookworm-slim",
    },
    from: { archive: config.require("archive"), contents: config.require("contents") },
    to: { registry },
});

const image = new MultiPlatformImage("app", {
    fleet: new ExternalFleet("builders", { nodes: config.requireObject<ExternalNode[]>("nodes") }),
    repository: registry.repository("team/app"),
    context: "app",
    buildArgs: { BASE: carried.refs.apply((refs) => refs.debian ?? "") },
    platforms: ["linux/amd64", "linux/arm64"],
    version: "1.4.2",
    // The public database of vulnerabilities is not there: a folder of your own advisories, or grype's database carried in.
    scan: { advisories: "advisories" },
    sign: { key: new SigningKey("images") },
});

export const ref = image.ref;
