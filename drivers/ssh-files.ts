/** A file as it is written on another machine. */
export interface RemoteFile {
    /** Absolute. */
    path: string;
    /** Permissions, octal: `"0600"`. */
    mode: string;
    /** By name; one that is there already. Default `root`. */
    group?: string;
    content: string | Buffer;
}

const BLOCK = 512;
/** A file that is not whole yet has this after its name; what a connection that broke has left is written over. */
const UNFINISHED = ".buildfleet-new";

/**
 * Files as a tar archive (POSIX.1-1988 "ustar", pax(1)), under their unfinished names, all root's.
 *
 * @throws Error for a path that is not absolute or too long for the format.
 */
export function packFiles(files: readonly RemoteFile[]): Buffer {
    const blocks = files.flatMap(({ path, mode, group, content }) => {
        const bytes = Buffer.from(content as string);
        const padding = Buffer.alloc((BLOCK - (bytes.length % BLOCK)) % BLOCK);
        return [header(`${path}${UNFINISHED}`, mode, bytes.length, group), bytes, padding];
    });
    return Buffer.concat([...blocks, Buffer.alloc(2 * BLOCK)]);
}

/** For bash: unpacks what {@link packFiles} made from standard input; each file is seen as it was or as it is to be. */
export function unpackScript(files: readonly RemoteFile[]): string {
    const moves = files.map(({ path }) => `mv -T -- ${word(`${path}${UNFINISHED}`)} ${word(path)}`);
    return ["set -eu", "umask 022", "tar --extract --file - --directory / --preserve-permissions", ...moves].join("\n");
}

/** A text as one word of a shell. */
export function word(text: string): string {
    return `'${text.replaceAll("'", "'\\''")}'`;
}

function header(path: string, mode: string, size: number, group = "root"): Buffer {
    if (!path.startsWith("/") || path.includes("\0"))
        throw new Error(`${JSON.stringify(path)} is not an absolute path`);
    const [prefix, name] = split(path.slice(1));
    const octal = (value: number, length: number) => `${value.toString(8).padStart(length - 1, "0")}\0`;
    const block = Buffer.alloc(BLOCK);
    const put = (text: string, offset: number) => block.write(text, offset, "utf8");
    put(name, 0);
    put(octal(Number.parseInt(mode, 8), 8), 100);
    put(octal(0, 8), 108);
    put(octal(0, 8), 116);
    put(octal(size, 12), 124);
    put(octal(Math.floor(Date.now() / 1000), 12), 136);
    put(" ".repeat(8), 148);
    put("0", 156);
    put("ustar\x0000", 257);
    put("root", 265);
    put(group, 297);
    put(prefix, 345);
    put(
        `${octal(
            block.reduce((sum, byte) => sum + byte, 0),
            7,
        )} `,
        148,
    );
    return block;
}

/** At a slash, so that at most 155 bytes are before and at most 100 after it. */
function split(path: string): [prefix: string, name: string] {
    if (Buffer.byteLength(path) <= 100) return ["", path];
    for (let at = path.indexOf("/"); at >= 0; at = path.indexOf("/", at + 1)) {
        const parts: [string, string] = [path.slice(0, at), path.slice(at + 1)];
        if (Buffer.byteLength(parts[0]) <= 155 && Buffer.byteLength(parts[1]) <= 100) return parts;
    }
    throw new Error(`${path} is too long a path to be written over SSH`);
}
