import type * as pulumi from "@pulumi/pulumi";
import type { SshTarget } from "../../core/ssh-target";
import { OperationsResource } from "../dynamic";

/** An emulator that the host fetches: a static program of qemu-user for that host. */
export interface EmulatorArgs {
    /** `https://mirror.example.com/qemu-aarch64-static` */
    url: pulumi.Input<string>;
    /** 64 hexadecimal digits. */
    sha256: pulumi.Input<string>;
}

export interface BinfmtHandlersArgs {
    /** Default: the machine that runs Pulumi, as its user. */
    ssh?: pulumi.Input<SshTarget>;
    /** What is emulated: `linux/arm64`. */
    platforms: string[];
    /** By platform; default: the emulators of the host's package. */
    emulators?: Record<string, EmulatorArgs>;
    /** Who asks, unique among those who use the host; a file's name. */
    owner: pulumi.Input<string>;
}

/** How one platform is emulated. */
export interface EmulationHandler {
    /** Its name in /proc/sys/fs/binfmt_misc. */
    handler: string;
    /** The emulator's path on the host. */
    interpreter: string;
    /** Whether it was put there by this library, and goes with its last user. */
    ours: boolean;
}

/** Handlers for programs of other architectures, registered with a host's kernel (binfmt_misc). */
export class BinfmtHandlers extends OperationsResource {
    /** By platform. */
    declare readonly handlers: pulumi.Output<Record<string, EmulationHandler>>;

    constructor(name: string, args: BinfmtHandlersArgs, options?: pulumi.CustomResourceOptions) {
        super("BinfmtHandlers", name, { emulators: {}, ...args }, ["handlers"], ["ssh"], options);
    }
}
