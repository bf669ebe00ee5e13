import { statSync } from "node:fs";
import { readArchive } from "./archive";
import { writeArchive } from "./archive-writer";
import { readFolder, writeFolder } from "./folder";
import { LayoutError, type LayoutReader, type LayoutWriter } from "./store";

export { digestsByName } from "./names";
export { type BlobSink, LayoutError, type LayoutReader, type LayoutWriter } from "./store";

/** Where a layout is: exactly one of the two. */
export interface LayoutPlace {
    /** A folder. */
    folder?: string;
    /** A tar, uncompressed. */
    archive?: string;
}

/** @throws LayoutError where there is none. */
export function readLayout({ folder, archive }: LayoutPlace): Promise<LayoutReader> {
    return archive === undefined ? readFolder(folder ?? "") : readArchive(archive);
}

/** @throws LayoutError where something else is in the way. */
export async function writeLayout({ folder, archive }: LayoutPlace): Promise<LayoutWriter> {
    const path = archive ?? folder ?? "";
    const there = statSync(path, { throwIfNoEntry: false });
    if (there && there.isDirectory() === (archive !== undefined)) {
        const [found, next] = there.isDirectory() ? ["a folder", "folder"] : ["a file", "archive"];
        throw new LayoutError(path, `is ${found}`, `set "${next}", or name another place`);
    }
    return archive === undefined ? writeFolder(path) : writeArchive(path);
}
