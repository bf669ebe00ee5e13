import * as pulumi from "@pulumi/pulumi";
import type { RegistryConnection } from "../../core/registry-connection";
import type { StoredDocument } from "../../drivers/documents";
import { OperationsResource } from "../dynamic";

export interface SbomArgs {
    /** `registry/path` */
    repository: pulumi.Input<string>;
    connection?: pulumi.Input<RegistryConnection>;
    platform: pulumi.Input<string>;
    /** Of the platform's image. */
    digest: pulumi.Input<string>;
}

/** The packages of one platform's image, listed by syft. The documents are kept by digest, not in the state. */
export class Sbom extends OperationsResource {
    /** SPDX 2.3, JSON: what is attested. */
    declare readonly spdx: pulumi.Output<StoredDocument>;
    /** syft's own format: what grype reads. */
    declare readonly syft: pulumi.Output<StoredDocument>;
    declare readonly packages: pulumi.Output<number>;

    constructor(name: string, args: SbomArgs, options?: pulumi.CustomResourceOptions) {
        super(
            "Sbom",
            name,
            { ...args, connection: pulumi.secret(args.connection ?? {}) },
            ["spdx", "syft", "packages"],
            ["connection"],
            options,
        );
    }
}
