import { spawnSync } from "node:child_process";
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import fc from "fast-check";
import { afterAll, describe, expect, it } from "vitest";
import {
    binfmtLine,
    emulatedArchitectures,
    factsOf,
    identify,
    isHandledBy,
    parseBinfmtLine,
    patternOf,
} from "../../core/emulation/binfmt";
import { parseHostEmulation, planHandler } from "../../core/emulation/plan";
import { PROBE_EXIT_CODE, probeProgram } from "../../core/emulation/probe";
import { identifyExecutable } from "../../core/executable";

const folder = mkdtempSync(join(tmpdir(), "binfmt-test-"));
afterAll(() => rmSync(folder, { recursive: true, force: true }));

const architecture = fc.constantFrom(...emulatedArchitectures);
const line = (name: (typeof emulatedArchitectures)[number]) =>
    binfmtLine({ name: "x", architecture: name, interpreter: "/usr/bin/qemu", flags: "OCF" });

describe("a handler's pattern", () => {
    it("takes the programs of its architecture, of any OS ABI, executable or position-independent, and of no other", () => {
        fc.assert(
            fc.property(architecture, architecture, fc.constantFrom(2, 3), fc.nat(255), (mine, theirs, type, abi) => {
                const program = identify(theirs, type);
                program[7] = abi;
                expect(isHandledBy(patternOf(mine), program)).toBe(mine === theirs);
            }),
        );
    });

    it("leaves object files, cores, scripts and short files alone", () => {
        for (const name of emulatedArchitectures) {
            expect(isHandledBy(patternOf(name), identify(name, 1))).toBe(false);
            expect(isHandledBy(patternOf(name), identify(name, 4))).toBe(false);
            expect(isHandledBy(patternOf(name), Buffer.from("#!/bin/sh\necho hello, world\n"))).toBe(false);
            expect(isHandledBy(patternOf(name), identify(name, 2).subarray(0, 19))).toBe(false);
        }
    });

    // Those of this machine's own architecture have no file here.
    it.each(emulatedArchitectures.filter((name) => name !== "amd64" && name !== "386"))(
        "takes the same programs as the line of Debian's package does: %s",
        (name) => {
            const debian = parseBinfmtLine(
                readFileSync(`/usr/lib/binfmt.d/qemu-${factsOf(name).machine}.conf`, "utf8"),
            );
            if (!debian) throw new Error("not a line");
            for (const other of emulatedArchitectures)
                expect(isHandledBy(debian, probeProgram(other))).toBe(
                    isHandledBy(patternOf(name), probeProgram(other)),
                );
        },
    );
});

describe("a handler's line", () => {
    it("reads back as it was written", () => {
        fc.assert(
            fc.property(architecture, fc.stringMatching(/^\/[a-z0-9/._-]{1,100}$/), (name, interpreter) => {
                const registration = { name: "buildfleet-x", architecture: name, interpreter, flags: "OCF" };
                const { architecture: _, ...rest } = registration;
                expect(parseBinfmtLine(binfmtLine(registration))).toEqual({ ...rest, ...patternOf(name) });
            }),
        );
    });

    it.each([
        ["a name that is a path", { name: "../status" }, /not a handler's name/],
        ["the kernel's delimiter in a path", { interpreter: "/opt/a:b" }, /emulator's path/],
        ["a relative path", { interpreter: "qemu" }, /emulator's path/],
        ["a path that the kernel cuts off", { interpreter: `/${"a".repeat(127)}` }, /emulator's path/],
        ["flags that are none", { flags: "OX" }, /not flags/],
        ["a line break", { interpreter: "/opt/a\n:x" }, /emulator's path/],
    ])("refuses %s", (_what, changed, message) => {
        const right = { name: "a", architecture: "arm64", interpreter: "/q", flags: "F" } as const;
        expect(() => binfmtLine({ ...right, ...changed })).toThrow(message);
    });
});

describe("the probe", () => {
    it.each(emulatedArchitectures)("is a program of %s that runs and says so", (name) => {
        const program = join(folder, name);
        writeFileSync(program, probeProgram(name), { mode: 0o755 });
        expect(identifyExecutable(probeProgram(name))).toEqual({ kind: "elf", architecture: name });
        const { status, stderr } = spawnSync(`qemu-${factsOf(name).machine}-static`, [program], { encoding: "utf8" });
        expect({ status, stderr }).toEqual({ status: PROBE_EXIT_CODE, stderr: "" });
    });
});

describe("planHandler", () => {
    const handler = (name: string, flags: string, state = "enabled") =>
        `handler ${name}\n  ${state}\n  interpreter /usr/bin/qemu-${name}\n  flags: ${flags}\n  offset 0\n` +
        `  magic ${patternOf("arm64").magic.toString("hex")}\n  mask ${patternOf("arm64").mask.toString("hex")}\n`;
    const debian = `offered ${line("arm64")}\n`;
    const plan = (text: string, platform = "linux/arm64", source?: { url: string; sha256: string }) =>
        planHandler(parseHostEmulation(`machine x86_64\n${text}`), platform, "me", source);
    const source = { url: "https://mirror/qemu", sha256: "0123456789abcdef".repeat(4) };

    it("uses a handler that containers can use, and puts one of our own beside any other", () => {
        expect(plan(handler("qemu-aarch64", "POF"))).toMatchObject({ ours: false, handler: "qemu-aarch64" });
        const own = { ours: true, handler: "buildfleet-aarch64", interpreter: "/usr/bin/qemu", inPlace: false };
        expect(plan(handler("qemu-aarch64", "PO") + debian)).toMatchObject(own);
        expect(plan(handler("qemu-aarch64", "POF", "disabled") + debian)).toMatchObject(own);
        expect(plan(`handler jar\n  enabled\n  interpreter /j\n  flags: F\n  extension .jar\n${debian}`)).toMatchObject(
            own,
        );
        expect(plan(debian)).toMatchObject(own);
    });

    it("has the emulator that was named, although another one is there", () => {
        expect(plan(handler("qemu-aarch64", "POF"), "linux/arm64", source)).toMatchObject({
            ours: true,
            interpreter: "/opt/buildfleet-emulation/buildfleet-aarch64/qemu-0123456789abcdef",
        });
    });

    it("knows its own work, and what is missing of it", () => {
        const mine = line("arm64").replace(":x:", ":buildfleet-aarch64:");
        const registered = handler("buildfleet-aarch64", "OCF").replace(
            "/usr/bin/qemu-buildfleet-aarch64",
            "/usr/bin/qemu",
        );
        const kept = `kept ${mine}\n`;
        const user = "user buildfleet-aarch64 me\n";
        const inPlace = (text: string) => (plan(debian + text) as { inPlace: boolean }).inPlace;
        expect(inPlace(registered + kept + user)).toBe(true);
        expect(inPlace(kept + user)).toBe(false);
        expect(inPlace(registered + user)).toBe(false);
        expect(inPlace(registered + kept)).toBe(false);
        expect(inPlace(registered.replace("enabled", "disabled") + kept + user)).toBe(false);
        expect(inPlace(registered.replace("OCF", "OC") + kept + user)).toBe(false);
    });

    it("lets 32-bit ARM through on an arm64 host, whose processors may not run it", () => {
        const host = `machine aarch64\n${debian}offered ${line("arm")}\n`;
        expect(plan(host, "linux/arm/v7")).toMatchObject({ ours: true, handler: "buildfleet-arm", inPlace: false });
        expect(() => plan(host, "linux/arm64")).toThrow(/linux\/arm64 needs no emulation on aarch64/);
    });

    it("refuses what can't be, and says what would help", () => {
        expect(() => plan("")).toThrow(
            /no emulator for linux\/arm64 is installed; install the package qemu-user-static/,
        );
        expect(() => plan(debian, "linux/amd64")).toThrow(/linux\/amd64 needs no emulation on x86_64; leave it out/);
        expect(() => plan(debian, "linux/386")).toThrow(/needs no emulation/);
        expect(() => plan(debian, "windows/arm64")).toThrow(/can't be emulated; these can: 386, amd64/);
        const others = "user buildfleet-aarch64 other\n";
        const kept = `kept ${line("arm64").replace(":x:", ":buildfleet-aarch64:").replace("/usr/bin/qemu", "/old")}\n`;
        expect(() => plan(debian + kept + others)).toThrow(/is used by other with another emulator \(\/old\)/);
    });
});
