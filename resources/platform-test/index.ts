import * as pulumi from "@pulumi/pulumi";
import type { RegistryConnection } from "../../core/registry-connection";
import { OperationsResource } from "../dynamic";

export interface PlatformTestArgs {
    /** `registry/path` */
    repository: pulumi.Input<string>;
    connection?: pulumi.Input<RegistryConnection>;
    platform: pulumi.Input<string>;
    /** Of the platform's image. */
    digest: pulumi.Input<string>;
    /** The registered builder whose node runs it. */
    builder: pulumi.Input<string>;
    /** What is run in the image, without a shell; exit code 0 passes. Default: nothing is run. */
    command?: pulumi.Input<pulumi.Input<string>[]>;
    /** Seconds; default 300. */
    timeoutSeconds?: pulumi.Input<number>;
}

/**
 * Tests one platform's image on that platform's own node: runs the command, and looks at the file the image starts
 * with (a script's interpreter), which must be an executable of the platform's architecture.
 */
export class PlatformTest extends OperationsResource {
    /** `/usr/local/bin/app is arm64` */
    declare readonly entrypoint: pulumi.Output<string>;

    constructor(name: string, args: PlatformTestArgs, options?: pulumi.CustomResourceOptions) {
        super(
            "PlatformTest",
            name,
            { command: [], timeoutSeconds: 300, ...args, connection: pulumi.secret(args.connection ?? {}) },
            ["entrypoint"],
            ["connection"],
            options,
        );
    }
}
