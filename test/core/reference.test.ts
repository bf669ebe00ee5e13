import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { digestTag, isDigest, matchesDigest, parseDigest, sha256 } from "../../core/digest";
import { FormatError } from "../../core/problems";
import {
    formatReference,
    isRegistry,
    isRepositoryName,
    isTag,
    parseReference,
    parseRepository,
} from "../../core/reference";

// The expressions of the OCI distribution specification 1.1 and of distribution/reference (regexp.go), letter by letter.
const specName = "[a-z0-9]+((\\.|_|__|-+)[a-z0-9]+)*(\\/[a-z0-9]+((\\.|_|__|-+)[a-z0-9]+)*)*";
const specTag = "[a-zA-Z0-9_][a-zA-Z0-9._-]{0,127}";
const hostPart = "(?:[a-zA-Z0-9]|[a-zA-Z0-9][a-zA-Z0-9-]*[a-zA-Z0-9])";
const specHost = `(?:${hostPart}(?:\\.${hostPart})*|\\[(?:[a-fA-F0-9:]+)\\])(?::[0-9]+)?`;
const anchored = (expression: string) => new RegExp(`^${expression}$`);

const digest = fc.string().map((text) => sha256(text));
const name = fc.stringMatching(anchored(specName)).filter((text) => text.length < 200);
const tag = fc.stringMatching(anchored(specTag));
const registry = fc
    .oneof(
        fc.tuple(fc.domain(), fc.option(fc.nat(65_535))),
        fc.tuple(fc.ipV4(), fc.option(fc.nat(65_535))),
        fc.tuple(fc.constantFrom("[::1]", "[fd00::1:2]", "localhost"), fc.option(fc.nat(65_535))),
        fc.tuple(fc.stringMatching(/^[a-z][a-z0-9]{0,10}$/), fc.nat(65_535)),
    )
    .map(([host, port]) => (port === null ? host : `${host}:${port}`));

/** Texts near the grammar: from its own letters and separators, so that many are just wrong. */
const nearName = fc
    .array(fc.constantFrom("a", "0", ".", "_", "__", "-", "--", "/", "B", ":"), { maxLength: 12 })
    .map((p) => p.join(""));

describe("grammar", () => {
    it("agrees with the specification on names", () => {
        fc.assert(
            fc.property(
                fc.oneof(name, nearName, fc.string()),
                (text) => isRepositoryName(text) === anchored(specName).test(text),
            ),
        );
    });

    it("agrees with the specification on tags", () => {
        fc.assert(
            fc.property(fc.oneof(tag, nearName, fc.string()), (text) => isTag(text) === anchored(specTag).test(text)),
        );
        expect(isTag("a".repeat(128))).toBe(true);
        expect(isTag("a".repeat(129))).toBe(false);
        expect(isTag("a\n")).toBe(false);
    });

    it("agrees with the specification on registries, and knows the highest port", () => {
        fc.assert(
            fc.property(fc.oneof(registry, nearName, fc.string()), (text) => {
                const port = Number(/:([0-9]+)$/.exec(text)?.[1] ?? 0);
                return isRegistry(text) === (anchored(specHost).test(text) && port <= 65_535);
            }),
        );
        expect(isRegistry("registry:65536")).toBe(false);
    });
});

describe("parseReference", () => {
    it("reads back what formatReference writes", () => {
        const reference = fc.record(
            { registry, repository: name, tag, digest },
            { requiredKeys: ["registry", "repository"] },
        );
        fc.assert(
            fc.property(reference, (parts) => {
                expect(parseReference(formatReference(parts))).toEqual(parts);
            }),
        );
    });

    it("answers any text with a reference or a FormatError", () => {
        fc.assert(
            fc.property(fc.oneof(fc.string(), nearName), (text) => {
                try {
                    const { registry: host, repository } = parseReference(text);
                    expect(isRegistry(host) && isRepositoryName(repository)).toBe(true);
                } catch (error) {
                    expect(error).toBeInstanceOf(FormatError);
                }
            }),
        );
    });

    const full = sha256("x");
    it.each([
        ["ubuntu", { registry: "docker.io", repository: "library/ubuntu" }],
        ["team/app:1", { registry: "docker.io", repository: "team/app", tag: "1" }],
        ["localhost/app", { registry: "localhost", repository: "app" }],
        ["localhost:5000/app", { registry: "localhost:5000", repository: "app" }],
        ["127.0.0.1:5000/a/b:t", { registry: "127.0.0.1:5000", repository: "a/b", tag: "t" }],
        ["[::1]:5000/app", { registry: "[::1]:5000", repository: "app" }],
        ["[2001:db8::1]/app:1", { registry: "[2001:db8::1]", repository: "app", tag: "1" }],
        [`ghcr.io/a/b:1@${full}`, { registry: "ghcr.io", repository: "a/b", tag: "1", digest: full }],
    ])("reads %s", (text, parts) => {
        expect(parseReference(text)).toEqual(parts);
    });

    it.each([
        ["https://ghcr.io/a", 'leave out "https://"'],
        ["ghcr.io/Team/App", 'repository names are in lower case: "team/app"'],
        ["ghcr.io/a:", "has no valid tag"],
        ["ghcr.io/a:.x", "has no valid tag"],
        ["ghcr.io/a@sha256:abc", "has no valid digest"],
        ["ghcr.io/", "has no valid repository name"],
        ["ghcr.io/a//b", "has no valid repository name"],
        ["-x.io/a", "has no valid registry"],
        ["[::g]/a", "has no valid registry"],
        ["a".repeat(64), "has no valid repository name"],
        [`ghcr.io/${"a".repeat(250)}`, "is too long"],
        ["", "has no valid repository name"],
    ])("refuses %s", (text, message) => {
        expect(() => parseReference(text)).toThrow(message);
    });
});

describe("parseRepository", () => {
    it("refuses a tag or a digest, and says what to name", () => {
        expect(parseRepository("ghcr.io/a/b")).toEqual({ registry: "ghcr.io", repository: "a/b" });
        expect(() => parseRepository("ghcr.io/a/b:1")).toThrow(
            'carries a tag; name the repository alone: "ghcr.io/a/b"',
        );
        expect(() => parseRepository(`ghcr.io/a/b@${sha256("")}`)).toThrow("carries a digest");
    });
});

describe("digests", () => {
    it("are SHA-256 of the bytes", () => {
        // The digest of nothing, known from everywhere.
        expect(sha256("")).toBe("sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855");
        fc.assert(
            fc.property(fc.uint8Array(), fc.uint8Array(), (bytes, others) => {
                const same = Buffer.from(bytes).equals(Buffer.from(others));
                expect(matchesDigest(sha256(bytes), bytes)).toBe(true);
                expect(matchesDigest(sha256(bytes), others)).toBe(same);
            }),
        );
    });

    it.each([
        "",
        "sha256:",
        `sha256:${"A".repeat(64)}`,
        `sha256:${"a".repeat(63)}`,
        `md5:${"a".repeat(32)}`,
        ` ${sha256("")}`,
    ])("refuses %j", (text) => {
        expect(isDigest(text)).toBe(false);
        expect(() => parseDigest(text)).toThrow("is not a digest");
    });

    it("name tags of the referrers' fallback", () => {
        expect(digestTag(sha256(""))).toMatch(/^sha256-[a-f0-9]{64}$/);
    });
});
