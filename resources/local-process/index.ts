import * as pulumi from "@pulumi/pulumi";
import type { Limits } from "../../core/limits";
import { OperationsResource } from "../dynamic";

export interface LocalProcessArgs {
    /** A tool's name (PATH, then the tool cache) or an absolute path. */
    command: pulumi.Input<string>;
    /**
     * Arguments; `{port}`, `{folder}`, `{data}`, `{socket}` (a path for a Unix socket) and `{group}` (the control group of its
     * `limits`) are filled in. One of them must name the folder.
     */
    arguments: pulumi.Input<pulumi.Input<string>[]>;
    /** Environment beside the one it inherits; default none. */
    environment?: pulumi.Input<Record<string, pulumi.Input<string>>>;
    /** Its configuration, pid file and log; relative to the stack's program. Made 0700, removed on delete. */
    folder: pulumi.Input<string>;
    /** Files written into the folder, 0600, by relative path; a secret. Filled in like the arguments. */
    files?: pulumi.Input<Record<string, pulumi.Input<string>>>;
    /** What it keeps; relative to the stack's program. */
    dataFolder: pulumi.Input<string>;
    /** Leave the data folder behind on delete; default false. */
    keepData?: pulumi.Input<boolean>;
    /** Port on 127.0.0.1; default 0: any free one, and the same again after a restart while it is free. */
    port?: pulumi.Input<number>;
    /** HTTP path whose answer says that it is ready; default none: it accepts a connection. */
    readinessPath?: pulumi.Input<string>;
    /** Seconds until it must be ready; default 30. */
    readinessSeconds?: pulumi.Input<number>;
    /**
     * The most that it and all it starts use together, enforced by a control group: a systemd scope, or a group that is made by
     * hand where there is no systemd. Refused where neither can be. Default none.
     */
    limits?: pulumi.Input<Limits>;
}

/**
 * A daemon on the machine that runs Pulumi. It outlives the program; an `up` that finds it dead starts it again; deleting
 * the resource stops it.
 */
export class LocalProcess extends OperationsResource {
    declare readonly pid: pulumi.Output<number>;
    /** The port that was asked for; 0 for any. */
    declare readonly port: pulumi.Output<number>;
    declare readonly listenPort: pulumi.Output<number>;
    /** `127.0.0.1:port` */
    declare readonly address: pulumi.Output<string>;

    constructor(name: string, args: LocalProcessArgs, options?: pulumi.CustomResourceOptions) {
        super(
            "LocalProcess",
            name,
            {
                environment: {},
                keepData: false,
                port: 0,
                readinessPath: "",
                readinessSeconds: 30,
                ...args,
                files: pulumi.secret(args.files ?? {}),
            },
            ["pid", "startedAt", "listenPort", "address", "specification"],
            ["files"],
            options,
        );
    }
}
