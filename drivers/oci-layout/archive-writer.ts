import { existsSync } from "node:fs";
import { type FileHandle, mkdir, open, rename } from "node:fs/promises";
import { dirname } from "node:path";
import { isDigest } from "../../core/digest";
import { type Blob, BlobCheck } from "../blob-check";
import { pour, readArchive } from "./archive";
import { type BlobSink, blobPath, LAYOUT_MARK, LayoutError, type LayoutReader, type LayoutWriter } from "./store";
import { BLOCK, padded, type TarEntry, TarError, tarEntries, tarHeader } from "./tar";

/** Blobs up to this size are written in one piece, so that they wait for nobody while they come; in bytes. */
const AT_ONCE = 1024 * 1024;

/**
 * Writes a layout's tar under another name until it is whole. What a run that ended early has left is gone on with, as far as
 * its bytes are right; what the archive of an earlier run has is taken from there.
 */
export async function writeArchive(path: string): Promise<LayoutWriter> {
    await mkdir(dirname(path), { recursive: true });
    const earlier = existsSync(path) ? await readArchive(path).catch(unlessDamaged) : undefined;
    const partial = `${path}.partial`;
    const file = await open(partial, existsSync(partial) ? "r+" : "w+");
    const writer = new ArchiveWriter(path, file, earlier);
    await writer.salvage();
    return writer;
}

/** An archive that can't be read is made anew. */
function unlessDamaged(error: unknown): undefined {
    if (!(error instanceof LayoutError)) throw error;
}

class ArchiveWriter implements LayoutWriter {
    /** What stands in the new file. */
    readonly #written = new Set<string>();
    #end = 0;
    /** A tar has one end to write at: whoever writes has to wait for the one before. */
    #turn: Promise<void> = Promise.resolve();

    constructor(
        readonly where: string,
        readonly file: FileHandle,
        readonly earlier: LayoutReader | undefined,
    ) {}

    get index(): Buffer | undefined {
        return this.earlier?.index;
    }

    /** Keeps the whole and right blobs at the beginning of what is there, and cuts off the rest. */
    async salvage(): Promise<void> {
        try {
            for await (const entry of tarEntries(this.file)) {
                if (!(await this.#isRight(entry))) break;
                this.#written.add(entry.name);
                this.#end = entry.offset + padded(entry.size);
            }
        } catch (error) {
            if (!(error instanceof TarError)) throw error;
        }
        await this.file.truncate(this.#end);
    }

    async has(blob: Blob): Promise<boolean> {
        if (this.#written.has(blobPath(blob.digest))) return true;
        if (!this.earlier || !(await this.earlier.has(blob))) return false;
        const sink = await this.open(blob);
        try {
            await this.earlier.stream(blob, (piece) => sink.write(piece));
            if (sink.check.problem() === undefined) {
                await sink.finish();
                return true;
            }
        } catch (error) {
            // Whoever waits for its turn would wait for ever. What went wrong first is what tells.
            await sink.abort().catch(() => undefined);
            throw error;
        }
        await sink.abort();
        return false;
    }

    async open(blob: Blob): Promise<BlobSink> {
        return blob.size <= AT_ONCE ? this.#openSmall(blob) : this.#openLarge(blob);
    }

    async finish(index: Buffer): Promise<void> {
        await this.#append("oci-layout", LAYOUT_MARK);
        await this.#append("index.json", index);
        await this.file.truncate(this.#end + 2 * BLOCK);
        await this.file.sync();
        await rename(`${this.where}.partial`, this.where);
    }

    async close(): Promise<void> {
        await this.file.close();
        await this.earlier?.close();
    }

    #openSmall(blob: Blob): BlobSink {
        const check = new BlobCheck(blob);
        const pieces: Buffer[] = [];
        return {
            check,
            async write(piece) {
                check.update(piece);
                pieces.push(Buffer.from(piece));
            },
            finish: async () => {
                const release = await this.#takeTurn();
                await this.#append(blobPath(blob.digest), Buffer.concat(pieces)).finally(release);
            },
            abort: async () => undefined,
        };
    }

    #openLarge(blob: Blob): BlobSink {
        const check = new BlobCheck(blob);
        const name = blobPath(blob.digest);
        const header = tarHeader(name, blob.size);
        let release: (() => void) | undefined;
        return {
            check,
            write: async (piece) => {
                release ??= await this.#takeTurn();
                const at = this.#end + header.length + check.received;
                check.update(piece);
                await this.#writeAt(piece, at);
            },
            finish: async () => {
                // The header comes last: without it, what follows is not there.
                await this.#writeAt(header, this.#end);
                this.#end += header.length + padded(blob.size);
                await this.file.truncate(this.#end);
                this.#written.add(name);
                release?.();
            },
            abort: async () => {
                try {
                    if (release) await this.file.truncate(this.#end);
                } finally {
                    release?.();
                }
            },
        };
    }

    async #append(name: string, bytes: Buffer): Promise<void> {
        const header = tarHeader(name, bytes.length);
        await this.#writeAt(bytes, this.#end + header.length);
        await this.#writeAt(header, this.#end);
        this.#end += header.length + padded(bytes.length);
        await this.file.truncate(this.#end);
        this.#written.add(name);
    }

    async #takeTurn(): Promise<() => void> {
        const before = this.#turn;
        let release = () => {};
        this.#turn = new Promise((done) => {
            release = done;
        });
        await before;
        return release;
    }

    async #writeAt(bytes: Buffer, position: number): Promise<void> {
        for (let done = 0; done < bytes.length; ) {
            const { bytesWritten } = await this.file.write(bytes, done, bytes.length - done, position + done);
            done += bytesWritten;
        }
    }

    async #isRight(entry: TarEntry): Promise<boolean> {
        const digest = entry.name.replace(/^blobs\//, "").replace("/", ":");
        if (!isDigest(digest)) return false;
        const check = new BlobCheck({ digest, size: entry.size });
        await pour(this.file, entry, (piece) => check.update(piece));
        return check.problem() === undefined;
    }
}
