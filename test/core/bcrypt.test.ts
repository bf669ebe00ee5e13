import { execFileSync } from "node:child_process";
import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { bcrypt, isBcryptOf } from "../../core/bcrypt";

/** libxcrypt's, by way of Perl's crypt; the password on standard input. */
const theirs = (password: string, setting: string) =>
    execFileSync("perl", ["-e", "local $/; print crypt(<STDIN>, $ARGV[0])", setting], {
        input: password,
        encoding: "utf8",
    });

const password = fc.string({ unit: "grapheme", minLength: 1, maxLength: 72 }).filter((text) => {
    const length = Buffer.byteLength(text);
    return length > 0 && length <= 72 && !text.includes("\0") && !/\p{Cs}/u.test(text);
});
const salt = fc.uint8Array({ minLength: 16, maxLength: 16 });

describe("bcrypt", () => {
    it("is what libxcrypt makes of the same password and salt", () => {
        fc.assert(
            fc.property(password, salt, fc.integer({ min: 4, max: 6 }), (text, bytes, cost) => {
                const hash = bcrypt(text, bytes, cost);
                expect(theirs(text, hash.slice(0, 29))).toBe(hash);
            }),
            { numRuns: 60 },
        );
    });

    it("is what its authors' test vector says", () => {
        // crypt_blowfish's wrapper.c, with the prefix for which it is the same.
        const hash = "$2y$05$CCCCCCCCCCCCCCCCCCCCC.E5YPO9kmyuRGyh0XouQYb4YMJKvyOeW";
        expect(isBcryptOf(hash, "U*U")).toBe(true);
        expect(isBcryptOf(hash, "U*U*")).toBe(false);
        expect(isBcryptOf(hash.replace("W", ""), "U*U")).toBe(false);
    });

    it("knows the password again, and no other", () => {
        fc.assert(
            fc.property(password, password, salt, (text, other, bytes) => {
                const hash = bcrypt(text, bytes, 4);
                expect(isBcryptOf(hash, text)).toBe(true);
                if (other !== text) expect(isBcryptOf(hash, other)).toBe(false);
            }),
            { numRuns: 40 },
        );
    });

    it("refuses what it would cut off without a word", () => {
        const bytes = new Uint8Array(16);
        for (const wrong of ["", "a\0b", "a".repeat(73), "é".repeat(37)])
            expect(() => bcrypt(wrong, bytes)).toThrow(/1 to 72 bytes/);
        expect(() => bcrypt("a", new Uint8Array(15))).toThrow(/salt of 16 bytes/);
        expect(() => bcrypt("a", bytes, 3)).toThrow(/cost from 4/);
    });
});
