import { FormatError } from "../problems";
import { quote } from "../text";

/**
 * What the kernel knows the programs of an architecture by, as qemu's own names for it: class, byte order and e_machine of the
 * ELF header (System V ABI; the numbers are those of scripts/qemu-binfmt-conf.sh in qemu's source).
 */
const architectures = {
    "386": { machine: "i386", bits: 32, order: "LE", elf: 3 },
    amd64: { machine: "x86_64", bits: 64, order: "LE", elf: 62 },
    arm: { machine: "arm", bits: 32, order: "LE", elf: 40 },
    arm64: { machine: "aarch64", bits: 64, order: "LE", elf: 183 },
    loong64: { machine: "loongarch64", bits: 64, order: "LE", elf: 258 },
    mips64le: { machine: "mips64el", bits: 64, order: "LE", elf: 8 },
    ppc64le: { machine: "ppc64le", bits: 64, order: "LE", elf: 21 },
    riscv64: { machine: "riscv64", bits: 64, order: "LE", elf: 243 },
    s390x: { machine: "s390x", bits: 64, order: "BE", elf: 22 },
} as const;

/** An architecture that can be emulated, by Go's name. */
export type EmulatedArchitecture = keyof typeof architectures;

export const emulatedArchitectures = Object.keys(architectures) as EmulatedArchitecture[];

/** An architecture's facts; the ELF numbers are those of its header. */
export const factsOf = (architecture: EmulatedArchitecture) => architectures[architecture];

/** Whether it is one that can be emulated. */
export const isEmulated = (name: string): name is EmulatedArchitecture => Object.hasOwn(architectures, name);

/** The part of an ELF header that tells what a program is for: `e_ident`, `e_type`, `e_machine`. */
export const HEADER_BYTES = 20;

/** What a program's first bytes have to be, where the mask has ones. */
export interface Pattern {
    magic: Buffer;
    mask: Buffer;
}

/**
 * The pattern of an architecture's programs: any operating system's ABI (EI_OSABI), executables (2) and shared objects (3),
 * everything else exactly. MIPS has programs of two ABI versions.
 */
export function patternOf(architecture: EmulatedArchitecture): Pattern {
    const magic = identify(architecture, 2);
    const mask = Buffer.alloc(HEADER_BYTES, 0xff);
    mask[7] = 0;
    if (architecture === "mips64le") mask[8] = 0xfe;
    mask[architectures[architecture].order === "LE" ? 16 : 17] = 0xfe;
    return { magic, mask };
}

/** The first bytes of an architecture's program; `type` is `e_type`: 2 for an executable. */
export function identify(architecture: EmulatedArchitecture, type: number): Buffer {
    const { bits, order, elf } = architectures[architecture];
    const bytes = Buffer.alloc(HEADER_BYTES);
    bytes.write("\x7fELF", "latin1");
    bytes.set([bits === 64 ? 2 : 1, order === "LE" ? 1 : 2, 1], 4);
    bytes[`writeUInt16${order}`](type, 16);
    bytes[`writeUInt16${order}`](elf, 18);
    return bytes;
}

/** Whether the kernel would hand a program to this handler (Documentation/admin-guide/binfmt-misc.rst). */
export function isHandledBy({ magic, mask }: Pattern, program: Uint8Array, offset = 0): boolean {
    return (
        program.length >= offset + magic.length &&
        magic.every((byte, i) => (((program[offset + i] ?? 0) ^ byte) & (mask[i] ?? 0xff)) === 0)
    );
}

/** One handler, as it is registered. */
export interface Registration {
    /** What it is called in /proc/sys/fs/binfmt_misc. */
    name: string;
    architecture: EmulatedArchitecture;
    /** Absolute path of the emulator. */
    interpreter: string;
    /** `F` has the kernel open the emulator now, so that containers need none; `P` keeps the program's own name; `C`, `O`. */
    flags: string;
}

/**
 * The line for /proc/sys/fs/binfmt_misc/register, and for a file in binfmt.d(5).
 *
 * @throws FormatError where the kernel would take it for something else.
 */
export function binfmtLine({ name, architecture, interpreter, flags }: Registration): string {
    if (!/^[A-Za-z0-9][\w.-]*$/.test(name))
        throw new FormatError(`${quote(name)} is not a handler's name`, "qemu-arm64");
    // The kernel keeps a path of 127 bytes (BINPRM_BUF_SIZE) and takes the line apart at the colons.
    if (!/^\/[^:\s\\]+$/.test(interpreter) || Buffer.byteLength(interpreter) > 127)
        throw new FormatError(
            `${quote(interpreter)} can't be an emulator's path`,
            "an absolute path without : or spaces",
        );
    if (!/^[POCF]*$/.test(flags)) throw new FormatError(`${quote(flags)} are not flags`, "some of P, O, C and F");
    const { magic, mask } = patternOf(architecture);
    return `:${name}:M::${escaped(magic)}:${escaped(mask)}:${interpreter}:${flags}`;
}

const escaped = (bytes: Buffer) => [...bytes].map((byte) => `\\x${byte.toString(16).padStart(2, "0")}`).join("");

/** What a line of binfmt.d(5) that knows programs by their first bytes says; nothing for any other line. */
export function parseBinfmtLine(line: string): (Omit<Registration, "architecture"> & Pattern) | undefined {
    const delimiter = line.charAt(0);
    const [, name = "", type, offset = "", magic = "", mask = "", interpreter = "", flags = ""] = line
        .trim()
        .split(delimiter);
    if (type !== "M" || !/^0?$/.test(offset) || !interpreter.startsWith("/") || magic === "") return undefined;
    const bytes = bytesOf(magic);
    return {
        name,
        magic: bytes,
        mask: mask === "" ? Buffer.alloc(bytes.length, 0xff) : bytesOf(mask),
        interpreter,
        flags,
    };
}

const bytesOf = (text: string) =>
    Buffer.from(
        text.replace(/\\x([0-9a-f]{2})/gi, (_, hex) => String.fromCharCode(Number.parseInt(hex, 16))),
        "latin1",
    );
