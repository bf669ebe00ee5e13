import * as pulumi from "@pulumi/pulumi";
import { OperationsResource } from "../dynamic";

/** Who signs a certificate: the outputs of a `CertificateAuthority`. */
export interface CertificateSigner {
    certificate: pulumi.Input<string>;
    privateKey: pulumi.Input<string>;
}

export interface CertificateArgs {
    authority: pulumi.Input<CertificateSigner>;
    commonName: pulumi.Input<string>;
    /** `server` for a node, `client` for whoever builds on it. */
    usage: pulumi.Input<"server" | "client">;
    /** Names a client may dial; default none. */
    dnsNames?: pulumi.Input<pulumi.Input<string>[]>;
    /** Addresses a client may dial; default none. */
    ipAddresses?: pulumi.Input<pulumi.Input<string>[]>;
    /** Days; default 365. */
    validDays?: pulumi.Input<number>;
    /** Days before its end at which an `up` issues a new one; default 30. */
    renewBeforeDays?: pulumi.Input<number>;
}

/** A server or client certificate, renewed by the first `up` in the days before its end, or when its authority changed. */
export class Certificate extends OperationsResource {
    declare readonly certificate: pulumi.Output<string>;
    declare readonly privateKey: pulumi.Output<string>;
    /** ISO 8601. */
    declare readonly notAfter: pulumi.Output<string>;

    constructor(name: string, args: CertificateArgs, options?: pulumi.CustomResourceOptions) {
        super(
            "Certificate",
            name,
            {
                dnsNames: [],
                ipAddresses: [],
                validDays: 365,
                renewBeforeDays: 30,
                ...args,
                authority: pulumi.secret(args.authority),
            },
            ["certificate", "privateKey", "notAfter"],
            ["authority", "privateKey"],
            options,
        );
    }
}
