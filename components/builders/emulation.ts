import * as pulumi from "@pulumi/pulumi";
import { checkEmulationSettings, type EmulationSettings } from "../../core/emulation/settings";
import { Platform } from "../../core/platform";
import {
    BinfmtHandlers,
    type BinfmtHandlersArgs,
    type EmulationDocker,
    type EmulationHandler,
    type EmulatorArgs,
} from "../../resources/binfmt-handlers";
import { withoutOutputs } from "../plain";
import { type SshArgs, sshTarget } from "../ssh-args";
import { applyTransform, type Transform } from "../transform";

export interface EmulationArgs {
    /** The host, whose root the user is or becomes; default the machine that runs Pulumi, as its root. */
    ssh?: SshArgs;
    /**
     * The host's Docker daemon, in place of `ssh`: a privileged container of an installer's image registers the emulators that it
     * has. They last until the host's next boot; the `up` after it puts them there again.
     */
    docker?: EmulationDocker;
    /** What is emulated: `["linux/arm64"]`; one of each architecture, and none that the host runs itself. */
    platforms: string[];
    /** Where the host fetches emulators from, by platform; default those of its package `qemu-user-static`. */
    emulators?: Record<string, EmulatorArgs>;
    transform?: EmulationTransform;
}

/** Last word on a child's arguments. */
export interface EmulationTransform {
    handlers?: Transform<BinfmtHandlersArgs>;
}

/**
 * Lets a host run programs of other architectures under qemu (the kernel's binfmt_misc), containers too. A handler that is there
 * already is used and left alone; one that was put there is called `buildfleet-…`, comes back at every boot (not through `docker`),
 * and goes with its last user. Each is proved: a program of that architecture has to run in a root file system of its own. Builds use emulation only
 * where they say `emulation: "allow"`.
 *
 * ```ts
 * new Emulation("arm", { ssh: { host: "x86-1.room" }, platforms: ["linux/arm64"] });
 * ```
 *
 * @throws SettingsError with every problem of the arguments at once, before anything is declared.
 */
export class Emulation extends pulumi.ComponentResource {
    /** How each platform is emulated, by platform; known once it was proved. */
    readonly handlers: pulumi.Output<Record<string, EmulationHandler>>;

    constructor(name: string, args: EmulationArgs, options?: pulumi.ComponentResourceOptions) {
        const { platforms } = resolve(name, args);
        super("buildfleet:index:Emulation", name, {}, options);
        const handlers = applyTransform(args.transform?.handlers, {
            ...(args.ssh ? { ssh: sshTarget(args.ssh) } : {}),
            ...(args.docker ? { docker: args.docker } : {}),
            platforms,
            emulators: Object.fromEntries(
                Object.entries(args.emulators ?? {}).map(([platform, one]) => [`${Platform.parse(platform)}`, one]),
            ),
            owner: ownerOf(name),
        });
        this.handlers = new BinfmtHandlers(`${name}-handlers`, handlers, { parent: this }).handlers;
        this.registerOutputs({ handlers: this.handlers });
    }
}

function resolve(name: string, { transform, ...args }: EmulationArgs): EmulationSettings {
    return checkEmulationSettings(`Emulation ${JSON.stringify(name)}`, withoutOutputs(args)) as EmulationSettings;
}

/** A file's name, another one for every stack that uses the host. */
const ownerOf = (name: string) =>
    [pulumi.getProject(), pulumi.getStack(), name].map((part) => part.replace(/[^\w.-]+/g, "-")).join("_");
