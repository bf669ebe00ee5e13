import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { builderName } from "../../components/images/builder-name";

const parts = fc.tuple(
    fc.stringMatching(/^[a-zA-Z0-9_.-]{1,100}$/),
    fc.stringMatching(/^[a-zA-Z0-9_.-]{1,100}$/),
    fc.string({ minLength: 1, maxLength: 100, unit: "binary" }),
    fc.constantFrom("linux-amd64", "linux-arm64", "linux-arm-v7"),
);

describe("builderName", () => {
    it("is a name buildx takes, of at most 60 characters, and the same every time", () => {
        fc.assert(
            fc.property(parts, (names) => {
                const name = builderName(...names);
                expect(name).toMatch(/^[a-zA-Z][a-zA-Z0-9._-]*$/);
                expect(name.length).toBeLessThanOrEqual(60);
                expect(builderName(...names)).toBe(name);
            }),
        );
    });

    it("is another one for everything else", () => {
        fc.assert(
            fc.property(parts, parts, (one, other) => {
                fc.pre(one.some((part, i) => part !== other[i]));
                expect(builderName(...one)).not.toBe(builderName(...other));
            }),
        );
    });

    type Parts = Parameters<typeof builderName>;
    it.each<{ one: Parts; other: Parts }>([
        { one: ["a-b", "c", "app", "linux-amd64"], other: ["a", "b-c", "app", "linux-amd64"] },
        { one: ["shop", "dev", "App", "linux-amd64"], other: ["shop", "dev", "app", "linux-amd64"] },
        { one: ["shop", "dev", "a.b", "linux-amd64"], other: ["shop", "dev", "a:b", "linux-amd64"] },
    ])("tells $one from $other", ({ one, other }) => {
        expect(builderName(...one)).not.toBe(builderName(...other));
    });

    // A change here would rebuild every image of every user.
    it("stays what it is", () => {
        expect(builderName("shop", "dev", "app", "linux-arm64")).toBe("shop-dev-app-linux-arm64-3f4cddb9");
    });
});
