import type * as pulumi from "@pulumi/pulumi";
import { OperationsResource } from "../dynamic";

export interface CertificateAuthorityArgs {
    commonName: pulumi.Input<string>;
    /** Days; default 3650. */
    validDays?: pulumi.Input<number>;
    /** Days before its end at which an `up` makes a new one; default 180. The old one stays trusted while it lasts. */
    renewBeforeDays?: pulumi.Input<number>;
}

/** A certificate authority of the fleet's own: ECDSA P-256; its key is a secret output. */
export class CertificateAuthority extends OperationsResource {
    declare readonly certificate: pulumi.Output<string>;
    declare readonly privateKey: pulumi.Output<string>;
    /** PEM: this certificate and, after a renewal, the one before it. */
    declare readonly trustBundle: pulumi.Output<string>;
    /** ISO 8601. */
    declare readonly notAfter: pulumi.Output<string>;

    constructor(name: string, args: CertificateAuthorityArgs, options?: pulumi.CustomResourceOptions) {
        super(
            "CertificateAuthority",
            name,
            { validDays: 3650, renewBeforeDays: 180, ...args },
            ["certificate", "privateKey", "trustBundle", "notAfter"],
            ["privateKey"],
            options,
        );
    }
}
