import * as pulumi from "@pulumi/pulumi";
import { checkExternalFleetSettings } from "../../core/external-fleet-settings";
import { type BuilderClient, type BuilderNode, secretKeys } from "../../resources/buildx-builder";
import { withoutOutputs } from "../plain";
import type { Fleet } from "./fleet";

/** A machine that runs BuildKit and that somebody else set up. */
export type ExternalNode = Omit<BuilderNode, "ec2">;

export interface ExternalFleetArgs {
    /** At least one. */
    nodes: pulumi.Input<pulumi.Input<ExternalNode>[]>;
    /** What lets a client in to `tcp://` nodes; needed where one of them is not on this machine. */
    client?: pulumi.Input<BuilderClient>;
}

/**
 * Machines that exist: somebody set up BuildKit on them, and this only builds there. What a node can build is asked of it;
 * where `platforms` says it, both are compared; 32-bit ARM is what an arm64 node runs itself where `platforms` names it. A node that would emulate a platform is refused for it, unless an image says
 * `emulation: "allow"`. Declares nothing on the machines.
 *
 * ```ts
 * const fleet = new ExternalFleet("room", {
 *     nodes: [
 *         { name: "arm-1", endpoint: "tcp://arm-1.room:1234" },
 *         { name: "x86-1", endpoint: "ssh://ci@x86-1.room", maxBuilds: 4 },
 *     ],
 *     client: { ca, certificate, privateKey: config.requireSecret("builderKey") },
 * });
 * ```
 *
 * Over `ssh://` a client notices a cut cable only where its configuration has `ServerAliveInterval` (ssh_config(5)).
 *
 * @throws SettingsError with every problem of the arguments at once, before anything is declared.
 */
export class ExternalFleet extends pulumi.ComponentResource implements Fleet {
    /** A secret where one of them has a private key for a registry. */
    readonly nodes: pulumi.Output<pulumi.Unwrap<BuilderNode>[]>;
    /** Its private key is a secret. */
    readonly client: pulumi.Output<pulumi.Unwrap<BuilderClient>> | undefined;

    constructor(name: string, args: ExternalFleetArgs, options?: pulumi.ComponentResourceOptions) {
        checkExternalFleetSettings(`ExternalFleet ${JSON.stringify(name)}`, withoutOutputs(args));
        super("buildfleet:index:ExternalFleet", name, {}, options);
        this.nodes = secretKeys(args.nodes);
        this.client = args.client === undefined ? undefined : secretKey(args.client);
        this.registerOutputs({ nodes: this.nodes });
    }
}

const secretKey = (client: pulumi.Input<BuilderClient>): pulumi.Output<pulumi.Unwrap<BuilderClient>> =>
    pulumi.secret(client) as pulumi.Output<pulumi.Unwrap<BuilderClient>>;
