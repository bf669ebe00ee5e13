import * as pulumi from "@pulumi/pulumi";
import {
    type ManagedArtifactArgs,
    ManagedFleet,
    type ManagedFleetArgs,
    MultiPlatformImage,
    RegistryServer,
    SigningKey,
    type SshArgs,
} from "buildfleet";

const config = new pulumi.Config();
const artifacts = config.requireObject<{
    registry: ManagedArtifactArgs;
    buildkit: Record<string, ManagedArtifactArgs>;
}>("artifacts");

const registry = new RegistryServer("registry", {
    ssh: config.requireObject<SshArgs>("store"),
    address: "store.room.example:5000",
    artifact: artifacts.registry,
    users: { ci: config.requireSecret("registryPassword") },
});
const fleet = new ManagedFleet("builders", {
    hosts: config.requireObject<ManagedFleetArgs["hosts"]>("hosts"),
    registries: registry.nodeSettings,
    buildkit: { version: "0.33.1", artifacts: artifacts.buildkit },
});

const image = new MultiPlatformImage("app", {
    fleet,
    repository: registry.repository("team/app"),
    context: "app",
    platforms: ["linux/amd64", "linux/arm64"],
    version: "1.4.2",
    test: { command: ["/usr/local/bin/greet", "world"] },
    sign: { key: new SigningKey("images") },
});

export const ref = image.ref;
export const platforms = image.platforms;
