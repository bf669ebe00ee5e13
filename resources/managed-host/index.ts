import * as pulumi from "@pulumi/pulumi";
import type { HostLimits } from "../../core/host";
import type { NodeRegistrySettings } from "../../core/node-registries";
import type { SshTarget } from "../../core/ssh-target";
import type { BuildkitArtifact } from "../buildkit-release";
import { OperationsResource } from "../dynamic";

/** Certificate and key that BuildKit shows, and the authority whose clients it lets in; PEM. */
export interface ManagedHostTls {
    certificate: pulumi.Input<string>;
    /** A secret. */
    privateKey: pulumi.Input<string>;
    ca: pulumi.Input<string>;
}

/** All of a host but its secrets; `ManagedFleet` has the defaults. */
export interface ManagedHostSettings {
    /** Name of the fleet, for the machine's journal. */
    fleet: pulumi.Input<string>;
    /** Name of the node. */
    node: pulumi.Input<string>;
    architecture: pulumi.Input<"amd64" | "arm64">;
    buildkit: pulumi.Input<{ version: pulumi.Input<string>; artifact: pulumi.Input<BuildkitArtifact> }>;
    /** What BuildKit's cache keeps, as sizes (`20 GB`) or parts of the disk (`60%`). */
    gc: pulumi.Input<{
        reservedSpace: pulumi.Input<string>;
        maxUsedSpace: pulumi.Input<string>;
        minFreeSpace: pulumi.Input<string>;
    }>;
    /** A disk fuller than so many percent is pruned. */
    pruneAbovePercent: pulumi.Input<number>;
    /** Build steps at a time. */
    maxParallelism: pulumi.Input<number>;
    /** IPv4 network of the build steps, CIDR. */
    bridgeSubnet: pulumi.Input<string>;
    /** How long a change waits for running builds. */
    drainTimeoutSeconds: pulumi.Input<number>;
    limits?: pulumi.Input<HostLimits>;
    /** Name of this builder among others on the machine; see `FleetHostArgs.instance`. */
    instance?: pulumi.Input<string>;
    /** On which BuildKit answers clients; default 8372. */
    port?: pulumi.Input<number>;
    /** Whether BuildKit runs as a user of its own; default as root. */
    rootless?: pulumi.Input<boolean>;
}

export interface ManagedHostArgs {
    /** How the machine is reached; `sshTarget` makes it from `SshArgs`. */
    ssh: pulumi.Input<SshTarget>;
    /** The machine's name or address: another one is another machine. */
    host: pulumi.Input<string>;
    /** Who manages the machine; one that another one manages is refused. */
    owner: pulumi.Input<string>;
    settings: pulumi.Input<ManagedHostSettings>;
    tls: pulumi.Input<ManagedHostTls>;
    /** How the node reaches registries, by `host[:port]`; default HTTPS. */
    registries?: pulumi.Input<Record<string, pulumi.Input<NodeRegistrySettings>>>;
}

/**
 * A Linux machine with SSH and systemd that becomes a BuildKit builder: files, units, certificate and BuildKit itself. A change
 * waits until no build runs. What somebody else changed on the machine is seen by the next `preview` and mended by the next
 * `up`. Deleting it leaves the machine as it was before.
 */
export class ManagedHost extends OperationsResource {
    /** `Debian GNU/Linux 12 (bookworm)` */
    declare readonly system: pulumi.Output<string>;
    /** Another one after every change of the machine. */
    declare readonly installation: pulumi.Output<string>;

    constructor(name: string, args: ManagedHostArgs, options?: pulumi.CustomResourceOptions) {
        super(
            "ManagedHost",
            name,
            {
                ...args,
                ssh: pulumi.secret(args.ssh),
                tls: pulumi.secret(args.tls),
                registries: pulumi.secret(args.registries ?? {}),
            },
            ["system", "installation"],
            ["ssh", "tls", "registries"],
            options,
        );
    }
}
