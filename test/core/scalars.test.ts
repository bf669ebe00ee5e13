import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { hasPassed, parseDay } from "../../core/day";
import { formatDuration, parseDuration } from "../../core/duration";
import { FormatError } from "../../core/problems";
import { formatSize, parseSize } from "../../core/size";
import { didYouMean, nearest, quote } from "../../core/text";

/** Any text is read, or refused with a FormatError; nothing else is thrown. */
function isTotal(parse: (text: string) => number): void {
    const near = fc.tuple(
        fc.double().map(String),
        fc.constantFrom(" ", ""),
        fc.constantFrom("min", "GB", "s", "toString", "days"),
    );
    fc.assert(
        fc.property(
            fc.oneof(
                fc.string(),
                near.map((parts) => parts.join("")),
            ),
            (text) => {
                try {
                    expect(Number.isSafeInteger(parse(text))).toBe(true);
                } catch (error) {
                    expect(error).toBeInstanceOf(FormatError);
                }
            },
        ),
    );
}

describe("durations", () => {
    it.each([
        ["30 minutes", 1_800_000],
        ["1 hour", 3_600_000],
        ["1.5 days", 129_600_000],
        ["0 seconds", 0],
        ["250 milliseconds", 250],
        ["2 weeks", 1_209_600_000],
    ])("%s is %d ms", (text, ms) => {
        expect(parseDuration(text)).toBe(ms);
    });

    it.each([
        ["30m", 'did you mean "30 minutes"?'],
        ["30 min", 'did you mean "30 minutes"?'],
        ["1h", 'did you mean "1 hour"?'],
        ["90secs", 'did you mean "90 seconds"?'],
        ["5 ms", 'did you mean "5 milliseconds"?'],
        ["2 Hours", 'did you mean "2 hours"?'],
        ["30", "expected a duration such as"],
        ["-1 hours", "expected a duration such as"],
        ["2 fortnights", "expected a duration such as"],
        ["99999999999999 weeks", "is too long"],
    ])("refuses %s", (text, message) => {
        expect(() => parseDuration(text)).toThrow(message);
    });

    it("are read back as they are written", () => {
        fc.assert(fc.property(fc.maxSafeNat(), (ms) => parseDuration(formatDuration(ms)) === ms));
        expect(formatDuration(5_400_000)).toBe("90 minutes");
        expect(formatDuration(86_400_000)).toBe("1 day");
    });

    it("are read or refused, whatever the text", () => isTotal(parseDuration));
});

describe("sizes", () => {
    it.each([
        ["100 GB", 100_000_000_000],
        ["64 GiB", 68_719_476_736],
        ["1.5 MB", 1_500_000],
        ["0 B", 0],
    ])("%s is %d bytes", (text, bytes) => {
        expect(parseSize(text)).toBe(bytes);
    });

    it.each([
        ["100gb", 'did you mean "100 GB"?'],
        ["100 G", 'did you mean "100 GB"?'],
        ["64gi", 'did you mean "64 GiB"?'],
        ["100", "expected a size such as"],
        ["-1 GB", "expected a size such as"],
        ["100 parsecs", "expected a size such as"],
        ["99999999 TB", "is too large"],
    ])("refuses %s", (text, message) => {
        expect(() => parseSize(text)).toThrow(message);
    });

    it("are read back as they are written", () => {
        fc.assert(fc.property(fc.maxSafeNat(), (bytes) => parseSize(formatSize(bytes)) === bytes));
        expect(formatSize(100_000_000_000)).toBe("100 GB");
        expect(formatSize(2 ** 30)).toBe("1 GiB");
    });

    it("are read or refused, whatever the text", () => isTotal(parseSize));
});

describe("days", () => {
    it("last until their end in UTC", () => {
        expect(hasPassed("2026-11-01", new Date("2026-11-01T23:59:59.999Z"))).toBe(false);
        expect(hasPassed("2026-11-01", new Date("2026-11-02T00:00:00Z"))).toBe(true);
        // In a time zone that is ahead the next day has begun; in UTC it has not.
        expect(hasPassed("2026-11-01", new Date("2026-11-02T01:00:00+02:00"))).toBe(false);
    });

    it.each(["2026-02-30", "2026-13-01", "2026-1-1", "01.11.2026", "2026-11-01T00:00:00Z", "", "soon"])(
        "refuse %j",
        (text) => {
            expect(() => parseDay(text)).toThrow("is not a day");
        },
    );

    it("are those of the calendar", () => {
        const moments = fc.date({ min: new Date("0001-01-01"), max: new Date("9999-12-31"), noInvalidDate: true });
        fc.assert(
            fc.property(moments, (moment) => {
                const day = moment.toISOString().slice(0, 10);
                expect(moment.getTime() - parseDay(day)).toBeLessThan(86_400_000);
                expect(hasPassed(day, moment)).toBe(false);
            }),
        );
    });
});

describe("words in messages", () => {
    it("suggest what is near, and nothing that is far", () => {
        expect(didYouMean("hihg", ["high", "low"])).toBe('did you mean "high"?');
        expect(nearest("zzz", ["high", "low"])).toBeUndefined();
        expect(nearest("HIGH", ["high"])).toBe("high");
    });

    it("are short and on one line", () => {
        expect(quote(`a\n${"b".repeat(100)}`)).toBe(`"a\\n${"b".repeat(57)}…"`);
    });
});
