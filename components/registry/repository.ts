import type * as pulumi from "@pulumi/pulumi";

/** A registry of Amazon ECR. */
export interface EcrAccessArgs {
    /** `eu-central-1` */
    region: pulumi.Input<string>;
    /** The account, 12 digits; default that of the credentials. */
    registryId?: pulumi.Input<string>;
}

/** What a client shows to a registry that lets in only who has a certificate of its authority. */
export interface ClientCertificateArgs {
    /** PEM; intermediate certificates may follow it. */
    certificate: pulumi.Input<string>;
    /** PEM, not encrypted. A secret. */
    privateKey: pulumi.Input<string>;
}

/** A password of one registry. */
export interface RegistryCredentialArgs {
    /** `host[:port]` */
    address: pulumi.Input<string>;
    username: pulumi.Input<string>;
    /** A secret. */
    password: pulumi.Input<string>;
}

/** How a registry is reached. */
export interface RegistryConnectionArgs {
    /** Plain HTTP; default false. */
    plainHttp?: pulumi.Input<boolean>;
    /** PEM of the private authority that signed the registry's certificate; default the system's. */
    ca?: pulumi.Input<string>;
    /** For a registry that asks for one; default none. */
    clientCertificate?: pulumi.Input<ClientCertificateArgs>;
    /** With `password`; default what Docker's own configuration says. */
    username?: pulumi.Input<string>;
    /** A secret. */
    password?: pulumi.Input<string>;
    /**
     * Passwords of its mirrors, which nodes ask first and get from whoever builds; default what Docker's own configuration says.
     * `RegistryConnection` sets it.
     */
    mirrorCredentials?: pulumi.Input<pulumi.Input<RegistryCredentialArgs>[]>;
    /**
     * The registry is Amazon's: whoever runs Pulumi gets a token with AWS credentials of their own when one is needed, and
     * it is renewed by itself; in place of `username` and `password`. `EcrRepository` sets it. It can hold outputs, but must
     * be seen when the program runs: it makes the image log in to the registry.
     */
    ecr?: EcrAccessArgs;
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
    /**
     * Ask the registry, before anything is built, whether it is there and takes a push to this repository; a wrong password, an
     * unknown authority or plain HTTP is then one error in place of one for each platform. Default false.
     */
    readonly check?: boolean;
}
