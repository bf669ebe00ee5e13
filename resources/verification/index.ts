import * as pulumi from "@pulumi/pulumi";
import type { RegistryConnection } from "../../core/registry-connection";
import type { Verifier } from "../../drivers/cosign";
import { OperationsResource } from "../dynamic";

export type { Verifier } from "../../drivers/cosign";

export interface VerificationArgs {
    /** `registry/path` */
    repository: pulumi.Input<string>;
    connection?: pulumi.Input<RegistryConnection>;
    /** Of the index. */
    digest: pulumi.Input<string>;
    children: pulumi.Input<pulumi.Input<string>[]>;
    /** Types of the statements that each child must carry, URIs; default none. */
    predicateTypes?: pulumi.Input<pulumi.Input<string>[]>;
    verifier: pulumi.Input<Verifier>;
}

/**
 * Reads signatures and attestations back from the registry with the public half, as whoever pulls the image will:
 * the type of what was signed, its digest, and the key.
 */
export class Verification extends OperationsResource {
    /** The index's digest, known only when everything verified. */
    declare readonly verifiedDigest: pulumi.Output<string>;

    constructor(name: string, args: VerificationArgs, options?: pulumi.CustomResourceOptions) {
        super(
            "Verification",
            name,
            { predicateTypes: [], ...args, connection: pulumi.secret(args.connection ?? {}) },
            ["verifiedDigest"],
            ["connection"],
            options,
        );
    }
}
