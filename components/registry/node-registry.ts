import type * as pulumi from "@pulumi/pulumi";
import type { ClientCertificateArgs } from "./repository";

/** How a node reaches one registry. `RegistryConnection.nodeSettings` has it for a registry and its mirrors. */
export interface NodeRegistry {
    /** Plain HTTP; default false. */
    http?: pulumi.Input<boolean>;
    /** Files on the node: private authorities, PEM; default the system's. */
    ca?: pulumi.Input<pulumi.Input<string>[]>;
    /** Registries asked first, `host[:port][/path]`; default none. */
    mirrors?: pulumi.Input<pulumi.Input<string>[]>;
    /** PEM of private authorities, besides `ca`: the fleet writes the file. */
    caPem?: pulumi.Input<string>;
    /** For a registry that asks for one: the fleet writes the files. */
    clientCertificate?: pulumi.Input<ClientCertificateArgs>;
}
