import { X509Certificate } from "node:crypto";
import { describe, expect, it } from "vitest";
import { bundle } from "../../drivers/x509";
import { operations } from "../../resources/certificate-authority/operations";
import { CA, certificatesIn, type Issued, isLetIn, upOn } from "../support/certified";

const signerOf = ({ authority: { certificate, privateKey } }: Issued) => ({ certificate, privateKey });
const nextOf = ({ authority: { next } }: Issued) => ({ certificate: next?.certificate, privateKey: next?.privateKey });
const nameOf = ({ authority }: Issued) => new X509Certificate(authority.certificate).subject;

/** Made so that it ends 120 days from now; its certificates were renewed just before the days of its renewal. */
const beforeRenewal = async () => upOn(-61, await upOn(-3530));

describe("a certificate authority in the days before its end", () => {
    it("makes the next one trusted, and goes on signing itself for the overlap", async () => {
        const before = await beforeRenewal();
        const published = await upOn(-59, before);
        expect(signerOf(published)).toEqual(signerOf(before));
        expect([published.server, published.client]).toEqual([before.server, before.client]);
        expect(certificatesIn(published.authority.trustBundle)).toBe(2);
        expect((await upOn(-29.01, published)).authority).toEqual(published.authority);

        const switched = await upOn(-28.99, published);
        expect(signerOf(switched)).toEqual(nextOf(published));
        expect(switched.authority.next).toBeUndefined();
        // What only trusts has nothing to do: both were in it before.
        expect(switched.authority.trustBundle).toBe(published.authority.trustBundle);
        expect((await upOn(0, switched)).authority).toEqual(switched.authority);
    });

    it("locks nobody out: neither whom a step has not reached yet, nor whom it reached first", async () => {
        const before = await beforeRenewal();
        const published = await upOn(-59, before);
        const switched = await upOn(-28, published);
        for (const [node, client] of [
            [before, before],
            // The node has not looked since before the next one was made; the client is the one of the same `up`.
            [before, published],
            [published, before],
            [published, published],
            // The node has not looked since before the next one signs.
            [published, switched],
            [switched, published],
            [switched, switched],
            // A client of long ago, which another stack keeps.
            [published, before],
        ] as const)
            expect([node.day, client.day, await isLetIn(node, client)]).toEqual([node.day, client.day, true]);
        // What the overlap is for.
        expect(await isLetIn(before, switched)).toBe(false);
    });

    it("lets in whoever looks once in every overlap, exchange after exchange", async () => {
        // So short-lived that the next exchange begins with the end of the one before.
        const settings = { ...CA, validDays: 120 };
        const ups = [await upOn(-100, undefined, settings)];
        for (let day = -90; day <= 0; day += 10) ups.push(await upOn(day, ups.at(-1), settings));
        expect(new Set(ups.map(({ authority }) => authority.certificate)).size).toBe(4);
        for (const newer of ups) {
            for (const older of ups.filter(({ day }) => day <= newer.day && newer.day - day <= 20)) {
                const pair = [older.day, newer.day];
                const letIn = [await isLetIn(older, newer), await isLetIn(newer, older)];
                expect([pair, letIn]).toEqual([pair, [true, true]]);
            }
        }
    });

    it("waits for half of what is left where that is less than the overlap", async () => {
        const settings = { ...CA, validDays: 1, renewBeforeDays: 0.75 };
        const made = await upOn(-0.8, undefined, settings);
        const published = await upOn(-0.5, made, settings);
        expect((await upOn(-0.16, published, settings)).authority).toEqual(published.authority);
        const switched = await upOn(-0.14, published, settings);
        expect(signerOf(switched)).toEqual(nextOf(published));
        expect(Date.parse(published.authority.notAfter)).toBeGreaterThan(Date.now());
        expect(await isLetIn(published, switched)).toBe(true);
    });

    it("is exchanged at once when it has ended, and is trusted no longer", async () => {
        const ended = await upOn(-3651);
        const exchanged = await upOn(0, ended);
        expect(signerOf(exchanged)).not.toEqual(signerOf(ended));
        expect(certificatesIn(exchanged.authority.trustBundle)).toBe(1);
        expect(await isLetIn(exchanged, exchanged)).toBe(true);
        // There is nothing to lose: who has only the one that ended is let in by nobody.
        expect(await isLetIn(ended, ended)).toBe(false);
    });

    it("is exchanged at once when only hours are left", async () => {
        const before = await upOn(-1, await upOn(-3649.9), { ...CA, renewBeforeDays: 0.2 });
        const exchanged = await upOn(0, before);
        expect(signerOf(exchanged)).not.toEqual(signerOf(before));
        expect(certificatesIn(exchanged.authority.trustBundle)).toBe(2);
        expect(await isLetIn({ ...exchanged, server: before.server }, exchanged)).toBe(true);
        expect(await isLetIn(exchanged, { ...exchanged, client: before.client })).toBe(true);
    });

    it("is followed by the one that was published when nobody ran `up` until it had ended", async () => {
        const published = await upOn(-100, await upOn(-3651));
        const exchanged = await upOn(0, published);
        expect(signerOf(exchanged)).toEqual(nextOf(published));
        expect(certificatesIn(exchanged.authority.trustBundle)).toBe(1);
        expect(await isLetIn(exchanged, exchanged)).toBe(true);
    });

    it("is followed by a new one when the published one has ended, too", async () => {
        const settings = { ...CA, validDays: 10, renewBeforeDays: 5 };
        const published = await upOn(-24, await upOn(-30, undefined, settings), settings);
        const exchanged = await upOn(0, published, settings);
        expect(signerOf(exchanged)).not.toEqual(nextOf(published));
        expect(await isLetIn(exchanged, exchanged)).toBe(true);
    });
});

describe("a certificate authority with other settings", () => {
    const OTHER = { ...CA, commonName: "others" };

    it("is exchanged in the same two steps", async () => {
        const before = await upOn(-100);
        const published = await upOn(-90, before, OTHER);
        expect(signerOf(published)).toEqual(signerOf(before));
        const switched = await upOn(-59, published, OTHER);
        expect([nameOf(published), nameOf(switched)]).toEqual(["CN=builders", "CN=others"]);
        expect(await isLetIn(before, published)).toBe(true);
        expect(await isLetIn(published, switched)).toBe(true);
    });

    it("forgets a published one that is wanted no longer, and begins again", async () => {
        const published = await upOn(-90, await upOn(-100), OTHER);
        const again = await upOn(-70, published, { ...CA, commonName: "third" });
        expect(certificatesIn(again.authority.trustBundle)).toBe(2);
        expect(again.authority.trustBundle).not.toContain(published.authority.next?.certificate.trim());
        const waiting = await upOn(-41, again, { ...CA, commonName: "third" });
        expect(signerOf(waiting)).toEqual(signerOf(published));
        expect(nameOf(await upOn(-39, waiting, { ...CA, commonName: "third" }))).toBe("CN=third");
    });

    it("never signs with one that is about to end while the one before it is good", async () => {
        const brief = { ...CA, validDays: 1, renewBeforeDays: 0.1 };
        const before = await upOn(-10);
        const published = await upOn(-9, before, brief);
        const late = await upOn(-5, published, brief);
        expect(signerOf(late)).toEqual(signerOf(before));
        expect(nextOf(late)).not.toEqual(nextOf(published));
    });

    it("trusts the one before it until the next exchange, and no longer", async () => {
        const first = await upOn(-100);
        const second = await upOn(-60, await upOn(-95, first, OTHER), OTHER);
        const third = await upOn(-50, second);
        // A node that looked before the second one signed shows a certificate of the first.
        expect(certificatesIn(third.authority.trustBundle)).toBe(3);
        const last = await upOn(-19, third);
        expect(certificatesIn(last.authority.trustBundle)).toBe(2);
        expect(last.authority.trustBundle).not.toContain(first.authority.certificate.trim());
    });

    it("is exchanged at once where no overlap is wanted, and when that is said later", async () => {
        const settings = { ...OTHER, overlapDays: 0 };
        const before = await upOn(-100);
        expect(nameOf(await upOn(-90, before, settings))).toBe("CN=others");
        expect(nameOf(await upOn(-89, await upOn(-90, before, OTHER), settings))).toBe("CN=others");
    });

    it.each([-1, "1 day", null])("refuses an overlap of %j", async (overlapDays) => {
        const { failures } = await operations.check({}, { ...CA, overlapDays: overlapDays as number });
        expect(failures).toEqual([
            {
                property: "overlapDays",
                reason: `found ${JSON.stringify(overlapDays)}; expected a number of days, 0 or more`,
            },
        ]);
        expect((await operations.check({}, { ...CA, overlapDays: 0.5 })).failures).toEqual([]);
        expect((await operations.check({}, CA)).failures).toEqual([]);
    });
});

describe("the state of an older version", () => {
    /** As it was: no next one, and a bundle of this one and the one before. */
    async function older(): Promise<{ first: Issued; state: Issued }> {
        const [first, second] = [await upOn(-200), await upOn(-61, await upOn(-3530))];
        const { certificate, privateKey, notAfter } = second.authority;
        const trustBundle = bundle([certificate, first.authority.certificate]);
        return { first, state: { ...second, authority: { ...CA, certificate, privateKey, notAfter, trustBundle } } };
    }

    it("asks for nothing before its time, and is renewed in two steps then", async () => {
        const { first, state } = await older();
        expect((await upOn(-60.5, state, { ...CA, overlapDays: 7 })).authority).toEqual(state.authority);
        const published = await upOn(-59, state);
        expect(signerOf(published)).toEqual(signerOf(state));
        // Who still shows a certificate of the one before is let in.
        expect(certificatesIn(published.authority.trustBundle)).toBe(3);
        expect(await isLetIn({ ...state, server: first.server }, published)).toBe(true);
        expect(await isLetIn(published, { ...state, client: first.client })).toBe(true);
        expect(await isLetIn(state, published)).toBe(true);
        const switched = await upOn(-28, published);
        expect(signerOf(switched)).toEqual(nextOf(published));
        expect(certificatesIn(switched.authority.trustBundle)).toBe(2);
        expect(await isLetIn(published, switched)).toBe(true);
    });
});
