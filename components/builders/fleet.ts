import type * as pulumi from "@pulumi/pulumi";
import type { NodeRegistrySettings } from "../../core/node-registries";
import type { BuilderClient, BuilderNode } from "../../resources/buildx-builder";

/**
 * Machines that run BuildKit. `LocalFleet` is one, `ExternalFleet` another, which checks what it is given; any object of this
 * shape is one, too.
 */
export interface Fleet {
    readonly nodes: pulumi.Input<pulumi.Input<BuilderNode>[]>;
    /** What lets a client in to `tcp://` nodes; absent where none is needed. */
    readonly client?: pulumi.Input<BuilderClient>;
    /** How the nodes reach registries, by `host[:port]`, where the fleet sees to it; absent where others do. */
    readonly registries?: pulumi.Input<Record<string, NodeRegistrySettings>>;
}
