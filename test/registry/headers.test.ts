import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { mergeScopes, parseChallenges } from "../../drivers/registry/challenge";
import { parseRetryAfter } from "../../drivers/registry/retry";

const token = fc.stringMatching(/^[A-Za-z][A-Za-z0-9_-]{0,8}$/);
const text = fc.string({ unit: "binary-ascii", maxLength: 20 }).filter((value) => /^[\x20-\x7e]*$/.test(value));
const challenge = fc.record({
    scheme: token,
    parameters: fc.uniqueArray(fc.tuple(token, text), {
        selector: ([name]) => name.toLowerCase(),
        minLength: 1,
        maxLength: 4,
    }),
});

describe("WWW-Authenticate", () => {
    it("is read back as it was written, quotes, commas, several challenges in one header or in many", () => {
        const write = ({ scheme, parameters }: { scheme: string; parameters: [string, string][] }) =>
            `${scheme} ${parameters.map(([name, value]) => `${name}="${value.replace(/["\\]/g, "\\$&")}"`).join(",")}`;
        fc.assert(
            fc.property(fc.array(challenge, { maxLength: 3 }), fc.boolean(), (challenges, oneHeader) => {
                const headers = challenges.map(write);
                const expected = challenges.map(({ scheme, parameters }) => ({
                    scheme: scheme.toLowerCase(),
                    parameters: Object.fromEntries(parameters.map(([name, value]) => [name.toLowerCase(), value])),
                }));
                expect(parseChallenges(oneHeader ? headers.join(", ") : headers)).toEqual(expected);
            }),
        );
    });

    it("of any shape ends the reading, never the program", () => {
        fc.assert(
            fc.property(fc.string({ unit: "binary", maxLength: 200 }), (header) => {
                expect(Array.isArray(parseChallenges(header))).toBe(true);
            }),
        );
        expect(parseChallenges('Negotiate YII==, Bearer realm = "r" , service=s, Basic realm="x"')).toEqual([
            { scheme: "negotiate", parameters: {} },
            { scheme: "bearer", parameters: { realm: "r", service: "s" } },
            { scheme: "basic", parameters: { realm: "x" } },
        ]);
        expect(parseChallenges('Bearer realm="never closed')).toEqual([{ scheme: "bearer", parameters: {} }]);
        expect(parseChallenges(undefined)).toEqual([]);
    });
});

describe("scopes", () => {
    it("of one resource are joined, ports and all", () => {
        expect(mergeScopes(["repository:b:pull", "repository:b:push,pull repository:a:5000/x:pull", ""])).toEqual([
            "repository:a:5000/x:pull",
            "repository:b:pull,push",
        ]);
    });
});

describe("Retry-After", () => {
    const now = Date.UTC(2026, 10, 22, 12);
    it("is seconds or an HTTP date, never negative, else nothing", () => {
        expect(parseRetryAfter("120", now)).toBe(120_000);
        expect(parseRetryAfter(" 0 ", now)).toBe(0);
        expect(parseRetryAfter("Sun, 22 Nov 2026 12:00:30 GMT", now)).toBe(30_000);
        expect(parseRetryAfter("Sun, 22 Nov 2020 12:00:30 GMT", now)).toBe(0);
        for (const text of [undefined, "", "-1", "1.5", "soon", "2026-11-22"])
            expect(parseRetryAfter(text, now)).toBeUndefined();
    });
});
