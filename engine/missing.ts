/** Packages whose plugin is not there. Loaded into the program, too (preload.ts), so it imports nothing of the engine. */
import { accessSync, constants } from "node:fs";
import { delimiter, join } from "node:path";

/** The file of `pulumi-resource-NAME` on PATH. */
export function pluginOnPath(name: string): string | undefined {
    const folders = (process.env.PATH ?? "").split(delimiter).filter(Boolean);
    return folders.map((folder) => join(folder, `pulumi-resource-${name}`)).find(isExecutable);
}

function isExecutable(file: string): boolean {
    try {
        accessSync(file, constants.X_OK);
        return true;
    } catch {
        return false; // not in this folder
    }
}

/** The exit code of a program that was ended by preload.ts; its last line says why. */
export const REFUSED = 33;

const NEXT_STEP = "use the Pulumi CLI, which downloads plugins, or put the plugin on PATH";

/** Why a package can't be worked with, and what to do. */
export const missingPlugin = (name: string) =>
    `no provider for package "${name}": pulumi-resource-${name} is not on PATH; ${NEXT_STEP}`;
