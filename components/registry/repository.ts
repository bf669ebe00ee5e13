import type * as pulumi from "@pulumi/pulumi";

/** How a registry is reached. */
export interface RegistryConnectionArgs {
    /** Plain HTTP; default false. */
    plainHttp?: pulumi.Input<boolean>;
    /** PEM of the private authority that signed the registry's certificate; default the system's. */
    ca?: pulumi.Input<string>;
    /** With `password`; default what Docker's own configuration says. */
    username?: pulumi.Input<string>;
    /** A secret. */
    password?: pulumi.Input<string>;
}

/**
 * Where an image is released, and how that registry is reached. `LocalRegistry.repository` makes one; any object of this
 * shape is one.
 */
export interface Repository {
    /** `registry/path`, without tag: `ghcr.io/team/app`. */
    readonly name: pulumi.Input<string>;
    /** Default: HTTPS, the system's authorities, the credentials in Docker's own configuration. */
    readonly connection?: pulumi.Input<RegistryConnectionArgs>;
}
