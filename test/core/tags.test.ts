import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { FormatError } from "../../core/problems";
import { isTag } from "../../core/reference";
import { isFullVersion, parseVersion, tagsToMove, versionTags } from "../../core/tags";

const number = fc.nat(50);
const release = fc.tuple(fc.integer({ min: 1, max: 50 }), number, number);
const prerelease = fc.stringMatching(/^(?:alpha|beta|rc)\.(?:0|[1-9][0-9]?)$/);

describe("versionTags", () => {
    it("gives a release its line's tags, and the highest one latest", () => {
        expect(versionTags("1.4.2")).toEqual(["1.4.2", "1.4", "1"]);
        expect(versionTags("1.4.2", { isHighest: true })).toEqual(["1.4.2", "1.4", "1", "latest"]);
        expect(versionTags("0.3.1", { isHighest: true })).toEqual(["0.3.1", "0.3", "latest"]);
        expect(versionTags("2.0.0-rc.1", { isHighest: true })).toEqual(["2.0.0-rc.1"]);
    });

    it("gives tags that are valid and differ, of which only the first never moves", () => {
        fc.assert(
            fc.property(release, fc.option(prerelease), fc.boolean(), (parts, before, isHighest) => {
                const version = parts.join(".") + (before === null ? "" : `-${before}`);
                const tags = versionTags(version, { isHighest });
                expect(tags.every(isTag)).toBe(true);
                expect(new Set(tags).size).toBe(tags.length);
                expect(tags.filter(isFullVersion)).toEqual([version]);
                expect(tags.slice(1).every((tag) => tag === "latest" || version.startsWith(`${tag}.`))).toBe(true);
                expect(before === null || tags.length === 1).toBe(true);
            }),
        );
    });
});

describe("parseVersion", () => {
    it.each([
        ["v1.4.2", 'did you mean "1.4.2"?'],
        ["1.4", 'did you mean "1.4.0"?'],
        [" 1.4.2", 'did you mean "1.4.2"?'],
        ["01.4.2", "expected a SemVer version"],
        ["1.4.2+build.5", 'leave out "+build.5"'],
        ["latest", "expected a SemVer version"],
        ["", "expected a SemVer version"],
        [`1.0.0-${"a".repeat(130)}`, "too long for a tag"],
    ])("refuses %j", (text, message) => {
        expect(() => parseVersion(text)).toThrow(message);
    });

    it("answers any text with the text itself or a FormatError", () => {
        fc.assert(
            fc.property(fc.oneof(fc.string(), fc.stringMatching(/^v?[0-9.+-]{0,10}$/)), (text) => {
                try {
                    expect(parseVersion(text)).toBe(text);
                    expect(isFullVersion(text)).toBe(true);
                } catch (error) {
                    expect(error).toBeInstanceOf(FormatError);
                }
            }),
        );
    });
});

describe("tagsToMove", () => {
    it("moves a line's tag only forward", () => {
        expect(tagsToMove("1.4.3", ["1.4.2", "1.5.0", "1.5", "1", "latest", "main"])).toEqual(["1.4.3", "1.4"]);
        expect(tagsToMove("1.6.0", ["1.4.2", "1.5.0"])).toEqual(["1.6.0", "1.6", "1", "latest"]);
        expect(tagsToMove("1.9.0", ["2.0.0"])).toEqual(["1.9.0", "1.9", "1"]);
        // A prerelease of something newer holds nothing back.
        expect(tagsToMove("1.4.2", ["2.0.0-rc.1"])).toContain("latest");
        expect(tagsToMove("2.0.0-rc.1", ["1.4.2"])).toEqual(["2.0.0-rc.1"]);
    });

    it("leaves each tag at the highest version of its line, whatever order the releases come in", () => {
        fc.assert(
            fc.property(
                fc.array(fc.tuple(fc.integer({ min: 1, max: 3 }), fc.nat(3), fc.nat(3)), { minLength: 1 }),
                (releases) => {
                    const tags = new Map<string, number[]>();
                    for (const parts of releases) {
                        for (const tag of tagsToMove(parts.join("."), [...tags.keys()])) {
                            tags.set(tag, parts);
                        }
                    }
                    const compare = (left: number[], right: number[]) =>
                        left.map((part, index) => part - (right[index] ?? 0)).find((difference) => difference !== 0) ??
                        0;
                    for (const [tag, at] of tags) {
                        const line =
                            tag === "latest"
                                ? releases
                                : releases.filter((one) => `${one.join(".")}.`.startsWith(`${tag}.`));
                        expect([...line].sort(compare).at(-1)).toEqual(at);
                    }
                },
            ),
        );
    });
});
