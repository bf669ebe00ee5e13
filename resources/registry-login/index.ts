import type * as pulumi from "@pulumi/pulumi";
import type { EcrAccess } from "../../core/registry-connection";
import { OperationsResource } from "../dynamic";

export interface RegistryLoginArgs {
    /** Host of the registry, as image names have it. */
    registry: pulumi.Input<string>;
    /** Where its token comes from. */
    ecr: pulumi.Input<EcrAccess>;
}

/**
 * A login in Docker's configuration on the machine that runs Pulumi, for what reads its credentials there and nowhere
 * else: the provider `docker-build`. An entry that is missing, or half of whose time is over, is made again by the next
 * `up`, and leads to nothing else. Deleting the resource takes out the entry it made.
 *
 * `pulumi up --refresh` configures the providers of the last run before it logs in: on a machine that is not logged in
 * yet, run `pulumi refresh` and `pulumi up` one after the other.
 */
export class RegistryLogin extends OperationsResource {
    /** When the token was made, ISO 8601. */
    declare readonly madeAt: pulumi.Output<string>;

    constructor(name: string, args: RegistryLoginArgs, options?: pulumi.CustomResourceOptions) {
        super("RegistryLogin", name, { ...args }, ["madeAt"], [], options);
    }
}
