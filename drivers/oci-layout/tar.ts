import type { FileHandle } from "node:fs/promises";

/** Everything in a tar is in blocks of so many bytes. */
export const BLOCK = 512;
const LARGEST_OCTAL = 0o77777777777;

/** A file in a tar: where its bytes are. */
export interface TarEntry {
    name: string;
    /** Of its first byte. */
    offset: number;
    /** Bytes. */
    size: number;
}

/** Bytes with the padding after them. */
export const padded = (size: number) => Math.ceil(size / BLOCK) * BLOCK;

/**
 * The header of a file (POSIX.1-2017, pax, "ustar Interchange Format"), with an extended header before it where name or size
 * don't fit. Owner, time and mode are always the same: content is all that counts.
 */
export function tarHeader(name: string, size: number): Buffer {
    const long = Buffer.byteLength(name) > 100;
    const large = size > LARGEST_OCTAL;
    const short = long ? name.slice(-100) : name;
    const header = block(short, large ? 0 : size, "0");
    if (!long && !large) return header;
    const records = Buffer.from((long ? record("path", name) : "") + (large ? record("size", `${size}`) : ""));
    const body = Buffer.alloc(padded(records.length));
    records.copy(body);
    return Buffer.concat([block("pax", records.length, "x"), body, header]);
}

/** `LENGTH key=value\n`, where the length counts itself. */
function record(key: string, value: string): string {
    const rest = Buffer.byteLength(` ${key}=${value}\n`);
    let length = rest + 1;
    while (`${length}`.length + rest !== length) length = `${length}`.length + rest;
    return `${length} ${key}=${value}\n`;
}

function block(name: string, size: number, type: string): Buffer {
    const bytes = Buffer.alloc(BLOCK);
    const octal = (value: number, at: number, width: number) =>
        bytes.write(`${value.toString(8).padStart(width - 1, "0")}\0`, at, "latin1");
    bytes.write(name, 0, 100, "utf8");
    octal(0o644, 100, 8);
    octal(0, 108, 8);
    octal(0, 116, 8);
    octal(size, 124, 12);
    octal(0, 136, 12);
    bytes.write("        ", 148, "latin1");
    bytes.write(type, 156, "latin1");
    bytes.write("ustar\x0000", 257, "latin1");
    const sum = bytes.reduce((total, byte) => total + byte, 0);
    bytes.write(`${sum.toString(8).padStart(6, "0")}\0 `, 148, "latin1");
    return bytes;
}

/** A tar that can't be read any further. */
export class TarError extends Error {}

/**
 * The files of a tar, in order; their bytes are not read. Folders and links are passed over.
 *
 * @throws TarError where it is cut off, damaged, or no tar.
 */
export async function* tarEntries(file: FileHandle): AsyncGenerator<TarEntry> {
    const { size: end } = await file.stat();
    let extended: Record<string, string> = {};
    for (let at = 0; ; ) {
        const header = await readAt(file, at, BLOCK);
        if (header.length === BLOCK && header.every((byte) => byte === 0)) return;
        if (header.length < BLOCK) throw new TarError(`it is cut off after ${end} bytes`);
        checkSum(header, at);
        const type = String.fromCharCode(header[156] ?? 0);
        const size = extended.size === undefined ? number(header.subarray(124, 136)) : Number(extended.size);
        if (!Number.isSafeInteger(size) || size < 0)
            throw new TarError(`its header at byte ${at} is damaged: it says no size`);
        const offset = at + BLOCK;
        at = offset + padded(size);
        if (offset + size > end) throw new TarError(`it is cut off after ${end} bytes`);
        if (type === "x" || type === "L") {
            const body = await readAt(file, offset, Math.min(size, 1 << 20));
            extended = type === "x" ? { ...extended, ...records(body) } : { ...extended, path: text(body) };
            continue;
        }
        const name = extended.path ?? nameOf(header);
        extended = {};
        if (type === "0" || type === "\0") yield { name: name.replace(/^\.\//, ""), offset, size };
    }
}

function checkSum(header: Buffer, at: number): void {
    const stored = Number.parseInt(text(header.subarray(148, 156)).trim(), 8);
    const sum = header.reduce((total, byte, i) => total + (i >= 148 && i < 156 ? 32 : byte), 0);
    if (stored === sum) return;
    const magic = header.subarray(0, 4).toString("hex");
    if (at === 0 && (magic.startsWith("1f8b") || magic === "28b52ffd"))
        throw new TarError("it is compressed; unpack it first (gunzip, unzstd)");
    throw new TarError(at === 0 ? "it is no tar" : `its header at byte ${at} is damaged`);
}

const text = (bytes: Buffer) => bytes.toString("utf8").replace(/\0.*$/s, "");

function nameOf(header: Buffer): string {
    const prefix = text(header.subarray(257, 262)) === "ustar" ? text(header.subarray(345, 500)) : "";
    const name = text(header.subarray(0, 100));
    return prefix ? `${prefix}/${name}` : name;
}

/** Octal digits, or GNU's binary form for what is too large for them. */
function number(field: Buffer): number {
    if (((field[0] ?? 0) & 0x80) === 0) return Number.parseInt(text(field).trim() || "0", 8);
    return field.subarray(1).reduce((value, byte) => value * 256 + byte, (field[0] ?? 0) & 0x7f);
}

function records(body: Buffer): Record<string, string> {
    const found: Record<string, string> = {};
    for (let at = 0; at < body.length; ) {
        const space = body.indexOf(" ", at);
        const length = Number(body.subarray(at, Math.max(at, space)).toString());
        if (!(length > 0)) break;
        const [key = "", value = ""] = body
            .subarray(space + 1, at + length - 1)
            .toString()
            .split(/=(.*)/s);
        found[key] = value;
        at += length;
    }
    return found;
}

/** Up to so many bytes from a place in a file: fewer only at its end. */
export async function readAt(file: FileHandle, position: number, length: number): Promise<Buffer> {
    const bytes = Buffer.alloc(length);
    let filled = 0;
    while (filled < length) {
        const { bytesRead } = await file.read(bytes, filled, length - filled, position + filled);
        if (bytesRead === 0) break;
        filled += bytesRead;
    }
    return bytes.subarray(0, filled);
}
