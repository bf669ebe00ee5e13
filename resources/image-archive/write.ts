import { createHash } from "node:crypto";
import { createReadStream } from "node:fs";
import { mkdir, open, rename, rm, stat } from "node:fs/promises";
import { dirname, join } from "node:path";
import type { Digest } from "../../core/digest";
import { BLOCK, padded, tarHeader } from "../../drivers/oci-layout/tar";
import type { Item } from "./layout";

/** Beside its place until it is whole; what a run that was killed has left is written over. */
export const partial = (path: string) => `${path}.buildfleet-partial`;

/** Writes items as a tar. */
export async function writeTar(path: string, items: Item[]): Promise<void> {
    await mkdir(dirname(path), { recursive: true });
    const file = await open(path, "w");
    const write = (bytes: Buffer) => file.writeFile(bytes);
    try {
        for (const item of items) {
            await write(tarHeader(item.name, item.size));
            await item.read(write);
            await write(Buffer.alloc(padded(item.size) - item.size));
        }
        await write(Buffer.alloc(2 * BLOCK));
        await file.sync();
    } finally {
        await file.close();
    }
}

/** Writes items as files below a folder. */
export async function writeFolder(folder: string, items: Item[]): Promise<void> {
    for (const item of items) {
        const path = join(folder, item.name);
        await mkdir(dirname(path), { recursive: true });
        const file = await open(path, "w");
        try {
            await item.read((piece) => file.writeFile(piece));
            await file.sync();
        } finally {
            await file.close();
        }
    }
}

export async function digestOfFile(path: string): Promise<Digest> {
    const hash = createHash("sha256");
    for await (const piece of createReadStream(path, { highWaterMark: 1 << 20 })) hash.update(piece);
    return `sha256:${hash.digest("hex")}`;
}

/** Puts what was written in its place: at once, or for a folder after the one that was there has gone. */
export async function place(from: string, path: string): Promise<void> {
    if ((await stat(path).catch(unlessAbsent))?.isDirectory()) await rm(path, { recursive: true });
    await rename(from, path);
}

/** Nothing, where the error says that there is nothing. */
export function unlessAbsent(error: unknown): undefined {
    if ((error as NodeJS.ErrnoException).code !== "ENOENT" && (error as NodeJS.ErrnoException).code !== "ENOTDIR")
        throw error;
}
