import type { EmulatorSource } from "../../core/emulation/plan";
import type { SshTarget } from "../../core/ssh-target";

export interface Inputs {
    /** Default: the machine that runs Pulumi. */
    ssh?: SshTarget;
    /** Through a host's Docker daemon, in place of `ssh`. */
    docker?: DockerPlace;
    platforms: string[];
    emulators: Record<string, EmulatorSource>;
    /** Who asks, unique on the host: a file's name. */
    owner: string;
}

export interface DockerPlace {
    endpoint: string;
    /** With a digest. */
    image: string;
}

export interface HandlerState {
    handler: string;
    interpreter: string;
    /** Whether it is one of ours, which goes with its last user. */
    ours: boolean;
}

/** By platform. */
export type Handlers = Record<string, HandlerState>;

/** A host, reached in one way or another. */
export interface Place {
    /**
     * Tells the host from others under whatever name it is reached, or nothing where it has no such thing; `run` changes with
     * every boot, too, where that can be seen.
     */
    identify(): Promise<{ machine?: string; run: string }>;
    /** Whether the owner's name is on all these handlers. */
    isUsedBy(owner: string, handlers: readonly string[]): Promise<boolean>;
    /** Registers and proves them all; what it has put there goes again when one of them fails. */
    put(inputs: Inputs): Promise<Handlers>;
    /** Whether nothing is left to be done. No side effect. */
    isInPlace(inputs: Inputs, known: Handlers): Promise<boolean>;
    /** Takes the owner's name off handlers of ours; each goes with its last user. */
    release(owner: string, handlers: readonly string[]): Promise<void>;
}
