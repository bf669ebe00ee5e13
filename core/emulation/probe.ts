import { type EmulatedArchitecture, factsOf, HEADER_BYTES, identify } from "./binfmt";

/** What the probe exits with; nothing that a shell says of a program that could not be run. */
export const PROBE_EXIT_CODE = 42;

/** exit(42), by the system call's number for each architecture (syscall(2), "Architecture calling conventions"). */
const code: Record<EmulatedArchitecture, string> = {
    // mov ebx,42; mov eax,1; int 0x80
    "386": "bb2a000000 b801000000 cd80",
    // mov edi,42; mov eax,60; syscall
    amd64: "bf2a000000 b83c000000 0f05",
    // mov r0,#42; mov r7,#1; svc 0
    arm: "2a00a0e3 0170a0e3 000000ef",
    // mov x0,#42; mov x8,#93; svc 0
    arm64: "400580d2 a80b80d2 010000d4",
    // addi.w $a0,$zero,42; addi.w $a7,$zero,93; syscall 0
    loong64: "04a88002 0b748102 00002b00",
    // addiu $a0,$zero,42; addiu $v0,$zero,5058; syscall
    mips64le: "2a000424 c2130224 0c000000",
    // li 3,42; li 0,1; sc
    ppc64le: "2a006038 01000038 02000044",
    // li a0,42; li a7,93; ecall
    riscv64: "1305a002 9308d005 73000000",
    // lghi %r2,42; svc 1
    s390x: "a729002a 0a01",
};

/** e_flags without which an emulator takes a program for that of another ABI: ARM's EABI 5, PowerPC's ELFv2, MIPS's 64r2. */
const flags: Partial<Record<EmulatedArchitecture, number>> = {
    arm: 0x05000000,
    ppc64le: 2,
    mips64le: 0x80000000,
    loong64: 0x43,
};

const BASE = 0x400000;

/**
 * A whole program of an architecture, a hundred and some bytes, which needs no file beside it and exits with
 * {@link PROBE_EXIT_CODE}: what runs it runs that architecture (ELF header, one segment, and the code; System V ABI).
 */
export function probeProgram(architecture: EmulatedArchitecture): Buffer {
    const { bits, order } = factsOf(architecture);
    const wide = bits === 64;
    const machineCode = Buffer.from(code[architecture].replaceAll(" ", ""), "hex");
    const [headerSize, segmentSize] = wide ? [64, 56] : [52, 32];
    const start = headerSize + segmentSize;
    const bytes = Buffer.alloc(start + machineCode.length);
    let at = HEADER_BYTES;
    const put = (value: number, size: number) => {
        if (size === 8) bytes[`writeBigUInt64${order}`](BigInt(value), at);
        else if (size === 4) bytes[`writeUInt32${order}`](value, at);
        else bytes[`writeUInt16${order}`](value, at);
        at += size;
    };
    const word = wide ? 8 : 4;
    const length = bytes.length;
    bytes.set(identify(architecture, 2));
    const header: [number, number][] = [
        ...([
            [1, 4],
            [BASE + start, word],
            [headerSize, word],
            [0, word],
            [flags[architecture] ?? 0, 4],
        ] as const),
        ...([
            [headerSize, 2],
            [segmentSize, 2],
            [1, 2],
            [0, 2],
            [0, 2],
            [0, 2],
        ] as const),
    ].map(([value, size]) => [value, size]);
    // One loadable segment, readable and executable; the two classes order its fields differently.
    const segment: [number, number][] = wide
        ? [
              [1, 4],
              [5, 4],
              [0, 8],
              [BASE, 8],
              [BASE, 8],
              [length, 8],
              [length, 8],
              [0x10000, 8],
          ]
        : [
              [1, 4],
              [0, 4],
              [BASE, 4],
              [BASE, 4],
              [length, 4],
              [length, 4],
              [5, 4],
              [0x10000, 4],
          ];
    for (const [value, size] of [...header, ...segment]) put(value, size);
    bytes.set(machineCode, start);
    return bytes;
}
