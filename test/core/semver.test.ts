import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { compareVersions, parseSemver, type Version } from "../../core/semver";
import { parseVersion, tagsToMove, versionTags } from "../../core/tags";

/** The lists that semver.org links to beside its regular expression (regex101.com/r/Ly7O1x/3). */
const valid = `0.0.4 1.2.3 10.20.30 1.1.2-prerelease+meta 1.1.2+meta 1.1.2+meta-valid 1.0.0-alpha 1.0.0-beta
1.0.0-alpha.beta 1.0.0-alpha.beta.1 1.0.0-alpha.1 1.0.0-alpha0.valid 1.0.0-alpha.0valid
1.0.0-alpha-a.b-c-somethinglong+build.1-aef.1-its-okay 1.0.0-rc.1+build.1 2.0.0-rc.1+build.123 1.2.3-beta
10.2.3-DEV-SNAPSHOT 1.2.3-SNAPSHOT-123 1.0.0 2.0.0 1.1.7 2.0.0+build.1848 2.0.1-alpha.1227 1.0.0-alpha+beta
1.2.3----RC-SNAPSHOT.12.9.1--.12+788 1.2.3----R-S.12.9.1--.12+meta 1.2.3----RC-SNAPSHOT.12.9.1--.12
1.0.0+0.build.1-rc.10000aaa-kk-0.1 99999999999999999999999.999999999999999999.99999999999999999
1.0.0-0A.is.legal`.split(/\s/);
const invalid = `1 1.2 1.2.3-0123 1.2.3-0123.0123 1.1.2+.123 +invalid -invalid -invalid+invalid -invalid.01 alpha
alpha.beta alpha.beta.1 alpha.1 alpha+beta alpha_beta alpha. alpha.. beta 1.0.0-alpha_beta -alpha. 1.0.0-alpha..
1.0.0-alpha..1 1.0.0-alpha...1 1.0.0-alpha....1 1.0.0-alpha.....1 1.0.0-alpha......1 1.0.0-alpha.......1 01.1.1 1.01.1
1.1.01 1.2.3.DEV 1.2-SNAPSHOT 1.2.31.2.3----RC-SNAPSHOT.12.09.1--..12+788 1.2-RC-SNAPSHOT -1.0.3-gamma+b7718
+justmeta 9.8.7+meta+meta 9.8.7-whatever+meta+meta
99999999999999999999999.999999999999999999.99999999999999999----RC-SNAPSHOT.12.09.1----..12`.split(/\s/);

/** Item 11 of the specification, "Precedence": 11.2, 11.3, and the chain of 11.4. */
const chains = [
    ["1.0.0", "2.0.0", "2.1.0", "2.1.1"],
    ["1.0.0-alpha", "1.0.0"],
    [
        "1.0.0-alpha",
        "1.0.0-alpha.1",
        "1.0.0-alpha.beta",
        "1.0.0-beta",
        "1.0.0-beta.2",
        "1.0.0-beta.11",
        "1.0.0-rc.1",
        "1.0.0",
    ],
];

const read = (text: string) => parseSemver(text) as Version;
const print = ({ major, minor, patch, prerelease, build }: Version) =>
    `${major}.${minor}.${patch}${prerelease.length ? `-${prerelease.join(".")}` : ""}` +
    (build.length ? `+${build.join(".")}` : "");

const numeral = fc.oneof(fc.nat(12).map(String), fc.bigInt({ min: 0n, max: 10n ** 30n }).map(String));
const identifier = fc.oneof(numeral, fc.stringMatching(/^[0-9a-zA-Z-]{0,4}[a-zA-Z-][0-9a-zA-Z-]{0,4}$/));
const dotted = (part: fc.Arbitrary<string>) => fc.array(part, { maxLength: 3 });
const anyVersion = fc.record({
    major: numeral,
    minor: numeral,
    patch: numeral,
    prerelease: dotted(identifier),
    build: dotted(fc.stringMatching(/^[0-9a-zA-Z-]{1,5}$/)),
});

describe("the specification's own examples", () => {
    it.each(valid)("%s is a version", (text) => {
        expect(print(read(text))).toBe(text);
    });

    it.each(invalid)("%s is none", (text) => {
        expect(parseSemver(text)).toBeUndefined();
    });

    it.each(chains.map((chain) => [chain.join(" < "), chain] as const))("%s", (_name, chain) => {
        for (const [i, left] of chain.entries()) {
            for (const [j, right] of chain.entries()) {
                expect(Math.sign(compareVersions(read(left), read(right)))).toBe(Math.sign(i - j));
            }
        }
    });

    it("builds of one version are equal (item 10)", () => {
        expect(compareVersions(read("1.0.0+20130313144700"), read("1.0.0+exp.sha.5114f85"))).toBe(0);
    });

    it("a valid version without build metadata is taken, and tagged; the moving tags are a release's alone", () => {
        for (const text of valid.filter((one) => !one.includes("+"))) {
            expect(parseVersion(text)).toBe(text);
            const { major, prerelease } = read(text);
            const release = major === "0" ? 3 : 4;
            expect(versionTags(text, { isHighest: true })).toHaveLength(prerelease.length > 0 ? 1 : release);
        }
    });
});

describe("versions", () => {
    it("read back as they are written", () => {
        fc.assert(
            fc.property(anyVersion, (version) => {
                expect(parseSemver(print(version))).toEqual(version);
            }),
        );
    });

    it("have one order: antisymmetric, transitive, blind to build metadata", () => {
        const near = fc.record({
            major: fc.nat(1).map(String),
            minor: fc.nat(1).map(String),
            patch: fc.constant("0"),
            prerelease: dotted(fc.constantFrom("1", "2", "11", "alpha", "beta", "alpha-1", "A")),
            build: dotted(fc.constantFrom("1", "x")),
        });
        fc.assert(
            fc.property(near, near, near, (a, b, c) => {
                const order = Math.sign(compareVersions(a, b));
                expect(Math.sign(compareVersions(b, a)) + order).toBe(0);
                expect(compareVersions({ ...a, build: [] }, a)).toBe(0);
                if (order <= 0 && compareVersions(b, c) <= 0) {
                    expect(compareVersions(a, c)).toBeLessThanOrEqual(0);
                }
            }),
        );
    });

    it("are compared as numbers, however long", () => {
        fc.assert(
            fc.property(fc.bigInt({ min: 0n }), fc.bigInt({ min: 0n }), (a, b) => {
                const order = compareVersions(read(`1.${a}.0`), read(`1.${b}.0`));
                expect(Math.sign(order)).toBe(a < b ? -1 : a > b ? 1 : 0);
            }),
        );
    });

    it("a prerelease moves no tag but its own, and holds no release back", () => {
        const line = fc.record({
            major: fc.integer({ min: 1, max: 3 }).map(String),
            minor: fc.nat(3).map(String),
            patch: fc.nat(3).map(String),
            prerelease: fc.constant<string[]>([]),
            build: fc.constant<string[]>([]),
        });
        fc.assert(
            fc.property(
                line,
                fc.array(line),
                fc.array(line),
                fc.array(identifier, { minLength: 1, maxLength: 2 }),
                (own, others, coming, pre) => {
                    const released = others.map(print);
                    const before = print({ ...own, prerelease: pre });
                    expect(tagsToMove(before, released)).toEqual([before]);
                    const next = coming.map((other) => print({ ...other, prerelease: pre }));
                    expect(tagsToMove(print(own), [...released, before, ...next])).toEqual(
                        tagsToMove(print(own), released),
                    );
                    const highest = others.every((other) => compareVersions(other, own) <= 0);
                    expect(tagsToMove(print(own), released).includes("latest")).toBe(highest);
                },
            ),
        );
    });
});
