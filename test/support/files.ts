import { type Dirent, readdirSync } from "node:fs";
import { join } from "node:path";

/**
 * Paths of all files below a folder, which daemons may go on changing: what is removed meanwhile is passed over, and so is the
 * folder where there is none.
 *
 * @param depth of folders that are looked into, besides the folder itself; default all
 */
export function filesBelow(folder: string, depth = Number.POSITIVE_INFINITY): string[] {
    let entries: Dirent[];
    try {
        entries = readdirSync(folder, { withFileTypes: true });
    } catch (error) {
        if ((error as NodeJS.ErrnoException).code !== "ENOENT") throw error;
        return [];
    }
    return entries.flatMap((entry) => {
        const path = join(folder, entry.name);
        if (entry.isDirectory()) return depth > 0 ? filesBelow(path, depth - 1) : [];
        return entry.isFile() ? [path] : [];
    });
}

/** Removes what belonged to a namespace: its mounts and control groups go with its last process, which the kernel takes a moment for. */
export async function removedSoon(remove: () => void): Promise<void> {
    for (let tries = 0; ; tries++) {
        try {
            return remove();
        } catch (error) {
            if (tries === 50) throw error;
            await new Promise((done) => setTimeout(done, 100));
        }
    }
}
