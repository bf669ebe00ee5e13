import type * as pulumi from "@pulumi/pulumi";
import type { RegistryConnection } from "../../core/registry-connection";

/**
 * Where an image is released, and how that registry is reached. `LocalRegistry.repository` makes one; any object of this
 * shape is one.
 */
export interface Repository {
    /** `registry/path`, without tag: `ghcr.io/team/app`. */
    readonly name: pulumi.Input<string>;
    /** Default: HTTPS, the system's authorities, the credentials in Docker's own configuration. */
    readonly connection?: pulumi.Input<RegistryConnection>;
}
