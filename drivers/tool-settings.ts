import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
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

/**
 * Runs `use` in a folder of its own and removes it. As a tool's working directory and its TMPDIR it keeps the tool from
 * reading a configuration file that lies in the program's folder, and from leaving layers behind when it is killed.
 */
export async function inTemporaryFolder<T>(use: (folder: string) => Promise<T>, parent = tmpdir()): Promise<T> {
    mkdirSync(parent, { recursive: true });
    const folder = mkdtempSync(join(parent, "buildfleet-"));
    try {
        return await use(folder);
    } finally {
        rmSync(folder, { recursive: true, force: true });
    }
}

/** Writes a configuration that sets nothing; named on the command line, no other file is searched for. */
export function emptyConfiguration(folder: string): string {
    const path = join(folder, "configuration.yaml");
    writeFileSync(path, "{}\n");
    return path;
}
