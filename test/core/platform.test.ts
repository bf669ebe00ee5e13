import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { Platform } from "../../core/platform";
import { FormatError } from "../../core/problems";

const spellings: [spelling: string, normal: string][] = [
    ["linux/arm64", "linux/arm64"],
    ["linux/arm64/v8", "linux/arm64"],
    ["linux/arm64/8", "linux/arm64"],
    ["linux/aarch64", "linux/arm64"],
    ["aarch64", "linux/arm64"],
    ["arm64", "linux/arm64"],
    ["x86_64", "linux/amd64"],
    ["linux/x86-64", "linux/amd64"],
    ["linux/amd64/v1", "linux/amd64"],
    ["linux/amd64/v3", "linux/amd64/v3"],
    ["armhf", "linux/arm/v7"],
    ["linux/armhf/v7", "linux/arm/v7"],
    ["linux/armhf", "linux/arm/v7"],
    ["armel", "linux/arm/v6"],
    ["linux/arm64v8", "linux/arm64"],
    ["linux/aarch64/v8", "linux/arm64"],
    ["arm32v5", "linux/arm/v5"],
    ["linux/arm32v6", "linux/arm/v6"],
    ["armv7l", "linux/arm/v7"],
    ["arm/v7", "linux/arm/v7"],
    ["arm64/v8", "linux/arm64"],
    ["amd64/v2", "linux/amd64/v2"],
    ["loongarch64", "linux/loong64"],
    ["linux/mips64el", "linux/mips64le"],
    ["linux/arm", "linux/arm/v7"],
    ["linux/arm/v7", "linux/arm/v7"],
    ["linux/arm/6", "linux/arm/v6"],
    ["linux/i386", "linux/386"],
    ["linux/riscv64", "linux/riscv64"],
    ["linux/ppc64el", "linux/ppc64le"],
    ["Linux/AMD64", "linux/amd64"],
    ["macos/aarch64", "darwin/arm64"],
    ["windows/amd64", "windows/amd64"],
];

const wrong: [text: string, hint: string][] = [
    ["linux/arm64/v9", 'did you mean "linux/arm64" (= linux/arm64/v8)?'],
    ["linux/amr64", 'did you mean "linux/arm64" (= linux/arm64/v8)?'],
    ["linx/amd64", 'did you mean "linux/amd64"?'],
    ["linux/armhf/v6", 'did you mean "linux/arm/v7"?'],
    ["arm64/v9", 'did you mean "linux/arm64" (= linux/arm64/v8)?'],
    ["linux/x86", 'did you mean "linux/386"?'],
    ["linux/riscv64/v1", 'did you mean "linux/riscv64"?'],
    ["unknown/unknown", 'expected a platform such as "linux/amd64" or "linux/arm64"'],
    ["", 'expected a platform such as "linux/amd64" or "linux/arm64"'],
    ["linux/constructor", 'expected a platform such as "linux/amd64" or "linux/arm64"'],
    ["a/b/c/d", 'expected a platform such as "linux/amd64" or "linux/arm64"'],
];

const normals = [...new Set(spellings.map(([, normal]) => normal))];
const anyPlatform = fc.constantFrom(...normals).map((text) => Platform.parse(text));

describe("Platform.parse", () => {
    it.each(spellings)("reads %s as %s", (spelling, normal) => {
        expect(Platform.parse(spelling).toString()).toBe(normal);
    });

    it.each(wrong)("refuses %j", (text, hint) => {
        expect(() => Platform.parse(text)).toThrow(`is not a platform; ${hint}`);
    });

    it("reads back what it prints", () => {
        fc.assert(
            fc.property(anyPlatform, (platform) => {
                expect(Platform.parse(platform.toString()).equals(platform)).toBe(true);
                expect(JSON.parse(JSON.stringify({ platform }))).toEqual({ platform: platform.toString() });
                expect(platform.slug).toMatch(/^[a-z0-9]+(-[a-z0-9]+)+$/);
            }),
        );
    });

    it("answers any text with a platform or a FormatError", () => {
        const texts = fc.oneof(
            fc.string(),
            fc.array(fc.constantFrom("linux", "arm", "v8", "__proto__", "/", "v")).map((p) => p.join("/")),
        );
        fc.assert(
            fc.property(texts, (text) => {
                try {
                    const normal = Platform.parse(text).toString();
                    expect(Platform.parse(normal).toString()).toBe(normal);
                } catch (error) {
                    expect(error).toBeInstanceOf(FormatError);
                }
            }),
        );
    });
});

describe("Platform.runsNativelyOn", () => {
    const cases: [platform: string, host: string, native: boolean][] = [
        ["linux/amd64", "x86_64", true],
        ["linux/arm64", "x86_64", false],
        ["linux/amd64", "aarch64", false],
        ["linux/arm64", "aarch64", true],
        ["linux/386", "x86_64", true],
        ["linux/amd64", "linux/386", false],
        ["linux/arm/v7", "aarch64", false],
        ["linux/arm64", "linux/arm/v7", false],
        ["linux/arm/v6", "linux/arm/v7", true],
        ["linux/arm/v7", "linux/arm/v6", false],
        ["linux/amd64/v3", "linux/amd64", false],
        ["linux/amd64", "linux/amd64/v3", true],
        ["linux/riscv64", "x86_64", false],
        ["linux/riscv64", "riscv64", true],
        ["windows/amd64", "x86_64", false],
    ];

    it.each(cases)("%s on %s: %s", (platform, host, native) => {
        expect(Platform.parse(platform).runsNativelyOn(Platform.parse(host))).toBe(native);
    });

    it("is left open, for the owner to say, for 32-bit ARM on arm64 alone", () => {
        const depends = (platform: string, host: string) =>
            Platform.parse(platform).dependsOnProcessorOf(Platform.parse(host));
        for (const variant of ["v5", "v6", "v7", "v8"]) expect(depends(`linux/arm/${variant}`, "aarch64")).toBe(true);
        expect(depends("linux/arm64", "linux/arm/v7")).toBe(false);
        expect(depends("windows/arm", "linux/arm64")).toBe(false);
        fc.assert(
            fc.property(anyPlatform, anyPlatform, (platform, host) => {
                const isOpen = platform.dependsOnProcessorOf(host);
                expect(isOpen && platform.runsNativelyOn(host)).toBe(false);
                const pair = [platform.architecture, host.architecture];
                expect(isOpen).toBe(platform.os === host.os && pair.join(" on ") === "arm on arm64");
            }),
        );
    });

    it("is true of every platform on itself", () => {
        fc.assert(fc.property(anyPlatform, (platform) => platform.runsNativelyOn(platform)));
    });
});
