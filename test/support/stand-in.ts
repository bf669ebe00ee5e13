import { chmodSync, writeFileSync } from "node:fs";
import { delimiter, join } from "node:path";

/**
 * Puts a program of the given name first on PATH: for tools that can't be had where the tests run, and for failures that
 * the real one can't be made to show.
 *
 * @param script the body of a `sh` script.
 * @returns undoes it.
 */
export function standIn(folder: string, name: string, script: string): () => void {
    writeFileSync(join(folder, name), `#!/bin/sh\n${script}\n`);
    chmodSync(join(folder, name), 0o755);
    const before = process.env.PATH;
    process.env.PATH = `${folder}${delimiter}${before}`;
    return () => {
        process.env.PATH = before;
    };
}
