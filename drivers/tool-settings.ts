import { writeFileSync } from "node:fs";
import { join } from "node:path";

/**
 * Environment changes that keep a tool's own variables from changing what it finds: a `GRYPE_ONLY_FIXED` somebody once
 * exported must not decide what is released. Goes into the `env` of `run`.
 *
 * @param prefix of the tool's variables: `GRYPE_`.
 * @param keep names (without the prefix) that say where things are, not what is found.
 */
export function withoutVariables(prefix: string, keep: string[] = []): Record<string, undefined> {
    const names = Object.keys(process.env).filter(
        (name) => name.startsWith(prefix) && !keep.includes(name.slice(prefix.length)),
    );
    return Object.fromEntries(names.map((name) => [name, undefined]));
}

/** Writes a configuration that sets nothing; named on the command line, no other file is searched for. */
export function emptyConfiguration(folder: string): string {
    const path = join(folder, "configuration.yaml");
    writeFileSync(path, "{}\n");
    return path;
}
