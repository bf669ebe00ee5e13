import * as pulumi from "@pulumi/pulumi";
import type { RegistryConnection } from "../../core/registry-connection";
import type { Signer } from "../../drivers/cosign";
import { OperationsResource } from "../dynamic";

export type { Signer } from "../../drivers/cosign";

export interface SignatureArgs {
    /** `registry/path` */
    repository: pulumi.Input<string>;
    connection?: pulumi.Input<RegistryConnection>;
    /** The index, then its children: clients verify whichever they pull. */
    digests: pulumi.Input<pulumi.Input<string>[]>;
    signer: pulumi.Input<Signer>;
}

/** cosign's signatures of an index and its children; what this key has signed already is not signed again. */
export class Signature extends OperationsResource {
    /** PEM; empty where an identity signed without a key of its own. */
    declare readonly publicKey: pulumi.Output<string>;

    constructor(name: string, args: SignatureArgs, options?: pulumi.CustomResourceOptions) {
        super(
            "Signature",
            name,
            { ...args, signer: pulumi.secret(args.signer), connection: pulumi.secret(args.connection ?? {}) },
            ["publicKey"],
            ["connection", "signer"],
            options,
        );
    }
}
