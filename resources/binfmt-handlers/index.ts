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

/** A host's Docker daemon, and what registers emulators there in a privileged container. */
export interface EmulationDocker {
    /** The daemon's: `unix:///var/run/docker.sock` or `ssh://user@host`. */
    endpoint: pulumi.Input<string>;
    /** tonistiigi/binfmt, or an image whose program takes the same `--install` and `--uninstall`; with its digest. */
    image: pulumi.Input<string>;
}

export interface BinfmtHandlersArgs {
    /** Default: the machine that runs Pulumi, as its user. */
    ssh?: pulumi.Input<SshTarget>;
    /** In place of `ssh`. */
    docker?: pulumi.Input<EmulationDocker>;
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
    /** The emulator's path on the host, or in the image; empty where Docker is the way in and it is somebody else's. */
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
