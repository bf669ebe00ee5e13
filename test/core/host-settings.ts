import type { Ec2HostSettings } from "../../core/host";

/** What a fleet gives a node, with some of it replaced. */
export function hostSettings(changed: Partial<Ec2HostSettings> = {}): Ec2HostSettings {
    return {
        fleet: "builders",
        node: "arm64",
        architecture: "arm64",
        release: "2026-11",
        buildkit: {
            version: "0.33.1",
            artifact: { url: "https://mirror.example.com/buildkit.tar.gz", sha256: "0123456789abcdef".repeat(4) },
        },
        cache: { kind: "volume", volumeId: "vol-0123456789abcdef0" },
        gc: { reservedSpace: "20 GB", maxUsedSpace: "65%", minFreeSpace: "20 GB" },
        pruneAbovePercent: 85,
        maxParallelism: 8,
        bridgeSubnet: "10.201.0.0/16",
        registries: {},
        tls: { kind: "ssm", parameter: "/buildfleet/project/stack/builders/arm64/tls", pollSeconds: 300 },
        idle: { stopAfterSeconds: 1800 },
        drainTimeoutSeconds: 600,
        metrics: { logGroup: "/buildfleet/builders", namespace: "buildfleet", everySeconds: 60 },
        ...changed,
    };
}
