import { mkdirSync, readFileSync, renameSync, statSync, writeFileSync } from "node:fs";
import { dirname } from "node:path";

let counter = 0;

/**
 * Writes a file so that a reader, or a crash, sees the old bytes or the new ones and nothing between.
 * A file that already has these bytes and this mode is left alone. It is not synced: nothing that is written so is
 * believed unread (certificates are compared, documents are named by their digest), and while BuildKit unpacks
 * layers on the same disk, a sync waits for those.
 */
export function writeFileAtomic(path: string, content: string | Uint8Array, mode = 0o644): void {
    const bytes = Buffer.from(content as Uint8Array);
    try {
        if ((statSync(path).mode & 0o777) === mode && readFileSync(path).equals(bytes)) return;
    } catch (error) {
        if ((error as NodeJS.ErrnoException).code !== "ENOENT") throw error;
    }
    mkdirSync(dirname(path), { recursive: true });
    const temporary = `${path}.${process.pid}.${counter++}.tmp`;
    writeFileSync(temporary, bytes, { mode });
    renameSync(temporary, path);
}
