// e_machine (System V ABI, "ELF header"; the numbers are the registry's in glibc's elf.h) to Go's architecture names.
const machines = new Map([
    [3, "386"],
    [8, "mips64le"],
    [21, "ppc64le"],
    [22, "s390x"],
    [40, "arm"],
    [62, "amd64"],
    [183, "arm64"],
    [243, "riscv64"],
    [258, "loong64"],
]);

/** What a file that is to be executed turns out to be. */
export type Executable =
    | { kind: "elf"; architecture: string }
    /** A script; the kernel runs its interpreter. */
    | { kind: "script"; interpreter: string }
    | { kind: "other" };

/** Looks at the first bytes of a file, as the kernel does before it runs one. */
export function identifyExecutable(head: Uint8Array): Executable {
    const bytes = Buffer.from(head.buffer, head.byteOffset, head.byteLength);
    if (bytes.length >= 20 && bytes.readUInt32BE(0) === 0x7f454c46) {
        const bigEndian = bytes[5] === 2;
        const machine = bigEndian ? bytes.readUInt16BE(18) : bytes.readUInt16LE(18);
        return { kind: "elf", architecture: machines.get(machine) ?? `ELF machine ${machine}` };
    }
    if (bytes.length > 2 && bytes.toString("latin1", 0, 2) === "#!") {
        const [line = ""] = bytes.toString("utf8", 2).split("\n");
        const [interpreter = ""] = line.trim().split(/\s/);
        if (interpreter.startsWith("/")) return { kind: "script", interpreter };
    }
    return { kind: "other" };
}
