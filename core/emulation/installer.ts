import { parseReference } from "../reference";
import { type EmulatedArchitecture, factsOf } from "./binfmt";
import { PREFIX } from "./plan";

// What tonistiigi/binfmt's image does (its cmd/binfmt/main.go): `--install arm64` mounts binfmt_misc and registers the image's
// static emulator with the flags C and F, under its file name; `--uninstall NAME` takes a handler away; each ends with a status
// in JSON, and with exit code 0 whatever became of it. QEMU_BINARY_PATH and QEMU_BINARY_PREFIX say where the emulators are.

/** What the installer prints at its end. */
export interface InstallerStatus {
    /** Platforms whose programs run, as it saw by running one of each: `linux/arm64`. */
    supported: string[];
    /** Names of the handlers that are enabled, whoever put them there. */
    emulators: string[];
}

/**
 * Reads the installer's standard output.
 *
 * @throws Error where it is no status; the installer's own words are on its standard error.
 */
export function parseInstallerStatus(text: string): InstallerStatus {
    let status: Partial<InstallerStatus> | undefined;
    try {
        status = JSON.parse(text);
    } catch {
        // Told below.
    }
    const { supported, emulators } = status ?? {};
    // Go writes an empty list as null.
    if (![supported, emulators].every((list) => list === null || isTexts(list)))
        throw new Error("the image does not say what it emulates, as tonistiigi/binfmt does");
    return { supported: supported ?? [], emulators: emulators ?? [] };
}

const isTexts = (value: unknown): value is string[] =>
    Array.isArray(value) && value.every((one) => typeof one === "string");

/** How an architecture's emulator of an image is registered. */
export interface InstallerPlan {
    /** The handler's name, which the installer makes of the emulator's file name: ours by its first part, and this image's alone. */
    handler: string;
    /** A link that has the handler's name, beside the emulator. */
    link: string;
    /** The emulator's path in the image. */
    interpreter: string;
    /** What has the installer find the emulator by the link. */
    environment: Record<string, string>;
}

/**
 * A handler of the image's own, beside whatever is there: the kernel takes the one that came last.
 *
 * @param image with a digest
 * @param imageEnvironment `NAME=value`, as the image's configuration has it
 */
export function planInstaller(
    image: string,
    architecture: EmulatedArchitecture,
    imageEnvironment: readonly string[],
): InstallerPlan {
    const own = (name: string) =>
        imageEnvironment.findLast((one) => one.startsWith(`${name}=`))?.slice(name.length + 1);
    const folder = own("QEMU_BINARY_PATH") || "/usr/bin";
    const emulator = `${own("QEMU_BINARY_PREFIX") ?? ""}qemu-${factsOf(architecture).machine}`;
    const prefix = `${PREFIX}${digestOf(image).slice(0, 12)}-`;
    const handler = handlerOf(image, architecture);
    return {
        handler,
        link: `${folder}/${handler}`,
        interpreter: `${folder}/${emulator}`,
        environment: { QEMU_BINARY_PATH: folder, QEMU_BINARY_PREFIX: prefix },
    };
}

/** The name of an architecture's handler from an image. */
export const handlerOf = (image: string, architecture: EmulatedArchitecture): string =>
    `${PREFIX}${digestOf(image).slice(0, 12)}-qemu-${factsOf(architecture).machine}`;

function digestOf(image: string): string {
    const { digest } = parseReference(image);
    if (digest === undefined) throw new Error(`${image} has no digest`);
    return digest.slice(digest.indexOf(":") + 1);
}

/** Whether a handler is one of this library's for an architecture, put there by an image or by a script. */
export const isOurs = (handler: string, architecture: EmulatedArchitecture): boolean =>
    handler.startsWith(PREFIX) && handler.endsWith(`-${factsOf(architecture).machine}`);
