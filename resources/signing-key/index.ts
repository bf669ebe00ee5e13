import type * as pulumi from "@pulumi/pulumi";
import { OperationsResource } from "../dynamic";

export interface SigningKeyArgs {
    /** Another number makes another key; default 1. */
    generation?: pulumi.Input<number>;
}

/**
 * A cosign key pair (ECDSA P-256) kept in the stack's encrypted state. For a team of one machine; where others must
 * not be able to sign, use a key in a KMS.
 */
export class SigningKey extends OperationsResource {
    /** PEM, encrypted with the password; a secret. */
    declare readonly privateKey: pulumi.Output<string>;
    /** A secret. */
    declare readonly password: pulumi.Output<string>;
    /** PEM. */
    declare readonly publicKey: pulumi.Output<string>;

    constructor(name: string, args: SigningKeyArgs = {}, options?: pulumi.CustomResourceOptions) {
        super(
            "SigningKey",
            name,
            { generation: 1, ...args },
            ["privateKey", "password", "publicKey"],
            ["privateKey", "password"],
            options,
        );
    }
}
