import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { open } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, expect, it } from "vitest";
import { sha256 } from "../../core/digest";
import { readLayout, writeLayout } from "../../drivers/oci-layout";
import { BLOCK, TarError, tarEntries, tarHeader } from "../../drivers/oci-layout/tar";

let folder: string;
beforeEach(() => {
    folder = mkdtempSync(join(tmpdir(), "oci-layout-test-"));
});
afterEach(() => rmSync(folder, { recursive: true, force: true }));

const INDEX = Buffer.from('{"schemaVersion":2,"manifests":[]}');
/** Larger than what is written in one piece. */
const blobOf = (fill: string) => {
    const bytes = Buffer.alloc(3 * 1024 * 1024, fill);
    return { bytes, blob: { digest: sha256(bytes), size: bytes.length } };
};

async function put(layout: Awaited<ReturnType<typeof writeLayout>>, { bytes, blob }: ReturnType<typeof blobOf>) {
    const sink = await layout.open(blob);
    await sink.write(bytes);
    await sink.finish();
}

/** The real one writes; after `pieces` its disk is full, until it is told otherwise. */
function fillDisk(layout: Awaited<ReturnType<typeof writeLayout>>, pieces: number, also: "truncate"[] = []) {
    const { file } = layout as unknown as { file: Record<"write" | "truncate", (...args: never[]) => unknown> };
    const full = () => Promise.reject(Object.assign(new Error("ENOSPC: no space left on device"), { code: "ENOSPC" }));
    const { write } = file;
    let left = pieces;
    file.write = (...args) => (left-- > 0 ? write.apply(file, args) : full());
    for (const name of also) file[name] = full;
    return () => {
        for (const name of ["write", ...also] as const) Reflect.deleteProperty(file, name);
    };
}

it.each<[string, "truncate"[]]>([
    ["", []],
    [", not even for its being cut off", ["truncate"]],
])(
    "what an earlier archive has is an error where the disk is full%s, and keeps nobody waiting",
    async (_case, also) => {
        const archive = join(folder, "images.tar");
        const [one, two] = [blobOf("1"), blobOf("2")];
        const earlier = await writeLayout({ archive });
        await put(earlier, one);
        await earlier.finish(INDEX);
        await earlier.close();

        const layout = await writeLayout({ archive });
        const empty = fillDisk(layout, 1, also);
        await expect(layout.has(one.blob)).rejects.toThrow("ENOSPC");
        empty();
        await put(layout, two);
        expect(await layout.has(one.blob)).toBe(true);
        await layout.finish(INDEX);
        await layout.close();
        const read = await readLayout({ archive });
        expect((await read.bytes(one.blob.digest))?.equals(one.bytes)).toBe(true);
        expect((await read.bytes(two.blob.digest))?.equals(two.bytes)).toBe(true);
        await read.close();
    },
    30_000,
);

/** A header with another text for its size, its sum right. */
function sized(size: string, header = tarHeader("file", 0)): Buffer {
    header.fill(0, 124, 136).write(size, 124, "latin1");
    header.write("        ", 148, "latin1");
    const sum = header.reduce((total, byte) => total + byte, 0);
    header.write(`${sum.toString(8).padStart(6, "0")}\0 `, 148, "latin1");
    return header;
}

/** An extended header that says the size of the file after it. */
function extended(size: string): Buffer {
    const record = `${`10 size=${size}\n`.length} size=${size}\n`;
    const header = sized(record.length.toString(8).padStart(11, "0"), tarHeader("pax", 0));
    header.write("x", 156, "latin1");
    const body = Buffer.alloc(BLOCK);
    body.write(record);
    return Buffer.concat([sized(record.length.toString(8).padStart(11, "0"), header), body, tarHeader("file", 0)]);
}

it.each<[string, Buffer]>([
    ["an extended header's negative one", extended("-1024")],
    ["an extended header's fraction", extended("0.5")],
    ["an extended header's word", extended("large")],
    ["negative octal digits", sized("-0000002000")],
    ["no digits", sized("zzz")],
    ["GNU's negative binary form", sized(String.fromCharCode(...Array(12).fill(0xff)))],
])("a tar whose size is %s is refused, and not read for ever", async (_case, header) => {
    const path = join(folder, "a.tar");
    writeFileSync(path, Buffer.concat([header, Buffer.alloc(4 * BLOCK)]));
    const file = await open(path);
    const entries = async () => {
        for await (const { size } of tarEntries(file)) expect(size).toBeGreaterThanOrEqual(0);
    };
    await expect(entries()).rejects.toThrow(TarError);
    await file.close();
});
