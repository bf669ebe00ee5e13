import * as pulumi from "@pulumi/pulumi";
import type { SshTarget } from "../../core/ssh-target";
import { OperationsResource } from "../dynamic";

/** The registry's program (CNCF distribution) for the host's architecture, fetched by the host. */
export interface RegistryArtifactArgs {
    /** The program itself, or a release's archive: `https://mirror.example.com/registry_3.1.2_linux_amd64.tar.gz`. */
    url: pulumi.Input<string>;
    /** Of what the URL serves, 64 hexadecimal digits. */
    sha256: pulumi.Input<string>;
}

/** What the registry shows to its clients. */
export interface ServerCertificateArgs {
    /** PEM, with those between it and its authority. */
    certificate: pulumi.Input<string>;
    /** PEM, a secret. */
    privateKey: pulumi.Input<string>;
}

export interface GarbageCollectionInputs {
    schedule: pulumi.Input<string>;
    quietSeconds: pulumi.Input<number>;
}

export interface RegistryServiceArgs {
    ssh: pulumi.Input<SshTarget>;
    /** Of its units and folders. */
    name: pulumi.Input<string>;
    /** Who manages it; one that another one manages is refused. */
    owner: pulumi.Input<string>;
    port: pulumi.Input<number>;
    artifact: pulumi.Input<RegistryArtifactArgs>;
    /** Absolute path on the host. */
    storage: pulumi.Input<string>;
    /** Default: plain HTTP. */
    tls?: pulumi.Input<ServerCertificateArgs>;
    /** Passwords by user, a secret; default none: everybody may push. */
    users?: pulumi.Input<Record<string, pulumi.Input<string>>>;
    /** Default: never. */
    garbageCollection?: pulumi.Input<GarbageCollectionInputs>;
    /** Whether what is stored goes with it; default false. */
    removeData?: pulumi.Input<boolean>;
}

/** A registry as a service of a host that is reached over SSH. */
export class RegistryService extends OperationsResource {
    declare readonly port: pulumi.Output<number>;

    constructor(name: string, args: RegistryServiceArgs, options?: pulumi.CustomResourceOptions) {
        const { users = {}, tls } = args;
        super(
            "RegistryService",
            name,
            { removeData: false, ...args, users: pulumi.secret(users), ...(tls ? { tls: pulumi.secret(tls) } : {}) },
            ["hashes"],
            ["ssh", "users", "tls", "hashes"],
            options,
        );
    }
}
