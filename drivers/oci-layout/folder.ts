import { createReadStream, existsSync, statSync } from "node:fs";
import { mkdir, open, readFile, rename, rm } from "node:fs/promises";
import { dirname, join } from "node:path";
import { type Digest, matchesDigest } from "../../core/digest";
import { type Blob, BlobCheck } from "../blob-check";
import { writeFileAtomic } from "../files";
import {
    type BlobSink,
    blobPath,
    LAYOUT_MARK,
    LayoutError,
    type LayoutReader,
    type LayoutWriter,
    PIECE,
} from "./store";

const sizeOf = (path: string) => statSync(path, { throwIfNoEntry: false })?.size;

/** Passes a file's bytes on, in order. */
async function pour(path: string, take: (piece: Buffer) => void | Promise<void>): Promise<void> {
    for await (const piece of createReadStream(path, { highWaterMark: PIECE })) await take(piece);
}

/** @throws LayoutError where the folder is no layout. */
export async function readFolder(folder: string): Promise<LayoutReader> {
    const pathOf = (digest: Digest) => join(folder, blobPath(digest));
    const absent = ["oci-layout", "index.json"].find((name) => !existsSync(join(folder, name)));
    if (absent)
        throw new LayoutError(
            folder,
            `is no OCI image layout: it has no ${absent}`,
            "collect the images into it first",
        );
    return {
        where: folder,
        index: await readFile(join(folder, "index.json")),
        has: async ({ digest, size }) => sizeOf(pathOf(digest)) === size,
        async bytes(digest) {
            if (!existsSync(pathOf(digest))) return undefined;
            const bytes = await readFile(pathOf(digest));
            if (matchesDigest(digest, bytes)) return bytes;
            throw new LayoutError(pathOf(digest), "holds other bytes than its name says", "collect the images again");
        },
        stream: ({ digest }, take) => pour(pathOf(digest), take),
        close: async () => undefined,
    };
}

export async function writeFolder(folder: string): Promise<LayoutWriter> {
    const pathOf = (digest: Digest) => join(folder, blobPath(digest));
    const index = join(folder, "index.json");
    writeFileAtomic(join(folder, "oci-layout"), LAYOUT_MARK);
    return {
        where: folder,
        index: existsSync(index) ? await readFile(index) : undefined,
        async has(blob) {
            const path = pathOf(blob.digest);
            if (sizeOf(path) !== blob.size) return false;
            const check = new BlobCheck(blob);
            await pour(path, (piece) => check.update(piece));
            return check.problem() === undefined;
        },
        open: (blob) => openPart(blob, pathOf(blob.digest)),
        finish: async (bytes) => writeFileAtomic(index, bytes),
        close: async () => undefined,
    };
}

/** A blob under another name until it is whole; what a run that ended early has left of it is gone on with. */
async function openPart(blob: Blob, path: string): Promise<BlobSink> {
    const part = `${path}.part`;
    await mkdir(dirname(part), { recursive: true });
    const check = new BlobCheck(blob);
    if ((sizeOf(part) ?? blob.size) < blob.size) await pour(part, (piece) => check.update(piece));
    else await rm(part, { force: true });
    const file = await open(part, "a");
    return {
        check,
        async write(piece) {
            check.update(piece);
            await file.writeFile(piece);
        },
        async finish() {
            await file.close();
            await rename(part, path);
        },
        async abort() {
            await file.close();
            // Bytes that came so far may be right, and are compared at the end; a whole one that is wrong is of no use.
            if (check.received >= blob.size) await rm(part, { force: true });
        },
    };
}
