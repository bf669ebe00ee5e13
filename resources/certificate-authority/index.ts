import type * as pulumi from "@pulumi/pulumi";
import { OperationsResource } from "../dynamic";

export interface CertificateAuthorityArgs {
    commonName: pulumi.Input<string>;
    /** Days; default 3650. */
    validDays?: pulumi.Input<number>;
    /** Days before its end from which on an `up` makes the next one, which is trusted from then on; default 180. */
    renewBeforeDays?: pulumi.Input<number>;
    /**
     * Days for which the next one is trusted before an `up` signs with it; default 30, at most half of what is left of either. Has to be
     * longer than a node takes to learn of it. With less than 3 hours, also of what is left, the next one signs at once.
     */
    overlapDays?: pulumi.Input<number>;
}

/**
 * A certificate authority of the fleet's own: ECDSA P-256; its key is a secret output. It is exchanged in two steps, so that nobody is
 * locked out who learns of it late: an `up` publishes the next one in `trustBundle`, and the first `up` after the overlap signs with it.
 * The one before it stays trusted while it lasts. Another name or validity is such an exchange, too. One that has ended, or will within
 * 6 hours, is exchanged at once; what trusts only that one has to learn of the new one first.
 */
export class CertificateAuthority extends OperationsResource {
    /** PEM of the one that signs. */
    declare readonly certificate: pulumi.Output<string>;
    declare readonly privateKey: pulumi.Output<string>;
    /** PEM, oldest first: the one before while it lasts, the one that signs, and the next one. */
    declare readonly trustBundle: pulumi.Output<string>;
    /** When the one that signs ends; ISO 8601. */
    declare readonly notAfter: pulumi.Output<string>;

    constructor(name: string, args: CertificateAuthorityArgs, options?: pulumi.CustomResourceOptions) {
        super(
            "CertificateAuthority",
            name,
            { validDays: 3650, renewBeforeDays: 180, ...args },
            ["certificate", "privateKey", "trustBundle", "notAfter"],
            // The next one has a key, too.
            ["privateKey", "next"],
            options,
        );
    }
}
