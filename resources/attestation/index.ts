import * as pulumi from "@pulumi/pulumi";
import type { RegistryConnection } from "../../core/registry-connection";
import type { Signer } from "../../drivers/cosign";
import { OperationsResource } from "../dynamic";

export interface AttestationArgs {
    /** `registry/path` */
    repository: pulumi.Input<string>;
    connection?: pulumi.Input<RegistryConnection>;
    /** What it is about. */
    digest: pulumi.Input<string>;
    /** URI of the predicate's type: `https://spdx.dev/Document`. */
    predicateType: pulumi.Input<string>;
    /** Digest of a stored document that is the predicate (`Sbom.spdx`, `VulnerabilityScan.document`). */
    document?: pulumi.Input<string>;
    /** The predicate itself, where there is no document. */
    predicate?: pulumi.Input<Record<string, unknown>>;
    signer: pulumi.Input<Signer>;
}

/** A signed in-toto statement about a digest, stored beside it by cosign; the same one is never stored twice. */
export class Attestation extends OperationsResource {
    /** `repository@digest` */
    declare readonly reference: pulumi.Output<string>;

    constructor(name: string, args: AttestationArgs, options?: pulumi.CustomResourceOptions) {
        super(
            "Attestation",
            name,
            {
                document: "",
                predicate: {},
                ...args,
                signer: pulumi.secret(args.signer),
                connection: pulumi.secret(args.connection ?? {}),
            },
            ["reference"],
            ["connection", "signer"],
            options,
        );
    }
}
