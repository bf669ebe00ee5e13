import { createHash } from "node:crypto";
import type { Stats } from "node:fs";
import { lstat, readdir, readlink } from "node:fs/promises";
import { join } from "node:path";
import type { Digest } from "../../core/digest";
import { digestOfFile } from "./write";

interface Entry {
    /** Below the folder. */
    path: string;
    stats: Stats;
}

async function* walk(folder: string, below = ""): AsyncGenerator<Entry> {
    for (const name of (await readdir(join(folder, below))).sort()) {
        const path = below === "" ? name : `${below}/${name}`;
        const stats = await lstat(join(folder, path));
        yield { path, stats };
        if (stats.isDirectory()) yield* walk(folder, path);
    }
}

async function content(folder: string, { path, stats }: Entry): Promise<string> {
    if (stats.isFile()) return `file ${stats.size} ${await digestOfFile(join(folder, path))}`;
    if (stats.isSymbolicLink()) return `link ${JSON.stringify(await readlink(join(folder, path)))}`;
    return stats.isDirectory() ? "folder" : `device ${stats.rdev}`;
}

/**
 * The digest of a folder: of a listing with path, permissions and content of everything in it, in the order of the names. Owners
 * and times are no part of it.
 */
export async function folderDigest(folder: string): Promise<Digest> {
    const hash = createHash("sha256");
    for await (const entry of walk(folder)) {
        // Links have no permissions of their own.
        const mode = entry.stats.isSymbolicLink() ? "" : (entry.stats.mode & 0o7777).toString(8);
        hash.update(`${JSON.stringify(entry.path)} ${mode} ${await content(folder, entry)}\n`);
    }
    return `sha256:${hash.digest("hex")}`;
}

/** The paths of everything in a folder, below it. */
export async function pathsIn(folder: string): Promise<string[]> {
    const found: string[] = [];
    for await (const { path } of walk(folder)) found.push(path);
    return found;
}

/**
 * What changes whenever anything in a file or folder does, as far as the file system tells without reading it: sizes, and times of
 * change. And the bytes of all files.
 */
export async function stampOf(path: string): Promise<{ stamp: string; size: number }> {
    const hash = createHash("sha256");
    let size = 0;
    const add = (name: string, { size: bytes, mtimeMs, ctimeMs, mode, ino }: Stats, isFile: boolean) => {
        if (isFile) size += bytes;
        hash.update(`${JSON.stringify(name)} ${isFile ? bytes : ""} ${mtimeMs} ${ctimeMs} ${mode} ${ino}\n`);
    };
    const stats = await lstat(path);
    add("", stats, stats.isFile());
    if (stats.isDirectory()) for await (const entry of walk(path)) add(entry.path, entry.stats, entry.stats.isFile());
    return { stamp: hash.digest("hex"), size };
}
