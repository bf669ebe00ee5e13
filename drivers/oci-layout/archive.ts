import { existsSync } from "node:fs";
import { type FileHandle, open } from "node:fs/promises";
import { matchesDigest } from "../../core/digest";
import type { Blob } from "../blob-check";
import { blobPath, LayoutError, type LayoutReader, PIECE } from "./store";
import { readAt, type TarEntry, TarError, tarEntries } from "./tar";

/** Passes the bytes of a file in a tar on, in order. */
export async function pour(
    file: FileHandle,
    { offset, size }: TarEntry,
    take: (piece: Buffer) => void | Promise<void>,
) {
    for (let at = 0; at < size; ) {
        const piece = await readAt(file, offset + at, Math.min(PIECE, size - at));
        if (piece.length === 0) return;
        at += piece.length;
        await take(piece);
    }
}

/** @throws LayoutError where the file is no tar of a layout, or cut off. */
export async function readArchive(path: string): Promise<LayoutReader> {
    const refuse = (reason: string) =>
        new LayoutError(path, reason, "collect the images again, and compare the sizes of the file here and there");
    if (!existsSync(path)) throw refuse("does not exist");
    const file = await open(path, "r");
    try {
        const entries = new Map<string, TarEntry>();
        for await (const entry of tarEntries(file)) entries.set(entry.name, entry);
        const index = entries.get("index.json");
        if (!index || !entries.has("oci-layout"))
            throw refuse(`is no OCI image layout: it has no ${index ? "oci-layout" : "index.json"}`);
        const entryOf = (blob: Pick<Blob, "digest">) => entries.get(blobPath(blob.digest));
        return {
            where: path,
            index: await readAt(file, index.offset, index.size),
            has: async (blob) => entryOf(blob)?.size === blob.size,
            async bytes(digest) {
                const entry = entryOf({ digest });
                if (!entry) return undefined;
                const bytes = await readAt(file, entry.offset, entry.size);
                if (matchesDigest(digest, bytes)) return bytes;
                throw refuse(`${entry.name} holds other bytes than its name says`);
            },
            async stream(blob, take) {
                const entry = entryOf(blob);
                if (!entry) throw refuse(`has no ${blobPath(blob.digest)}`);
                await pour(file, entry, take);
            },
            close: () => file.close(),
        };
    } catch (error) {
        await file.close();
        throw error instanceof TarError ? refuse(error.message) : error;
    }
}
