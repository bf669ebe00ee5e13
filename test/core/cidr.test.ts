import { BlockList } from "node:net";
import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { addressesIn, isPrivate, isPrivateAddress, overlap, parseCidr } from "../../core/cidr";

const ipv4 = fc.tuple(fc.nat(0xffff_ffff), fc.integer({ min: 0, max: 32 })).map(([number, prefix]) => {
    const first = prefix === 0 ? 0 : (number >>> (32 - prefix)) << (32 - prefix);
    return `${[24, 16, 8, 0].map((shift) => (first >>> shift) & 255).join(".")}/${prefix}`;
});
/** Blocks near each other, so that they overlap often. */
const near = fc
    .tuple(fc.nat(255), fc.integer({ min: 20, max: 32 }))
    .map(([last, prefix]) => `10.0.0.${prefix < 24 ? 0 : (last >>> (32 - prefix)) << (32 - prefix)}/${prefix}`);

describe("blocks of addresses", () => {
    it.each([
        ["10.0.0.0/16", 4, 0x0a00_0000n, 0x0a00_ffffn],
        ["0.0.0.0/0", 4, 0n, 0xffff_ffffn],
        ["203.0.113.7/32", 4, 0xcb00_7107n, 0xcb00_7107n],
        ["::/0", 6, 0n, (1n << 128n) - 1n],
        ["2001:db8::/32", 6, 0x2001_0db8n << 96n, (0x2001_0db9n << 96n) - 1n],
        ["::ffff:10.0.0.0/104", 6, 0xffff_0a00_0000n, 0xffff_0aff_ffffn],
    ])("%s", (text, family, first, last) => {
        expect(parseCidr(text)).toMatchObject({ text, family, first, last });
    });

    it.each(["", "10.0.0.0", "10.0.0.0/33", "10.0.0/8", "::/129", "10.0.0.0/-1", "fe80::%eth0/10", "10.0.0.0/16 "])(
        "%j is none",
        (text) => {
            expect(() => parseCidr(text)).toThrow("is not a block of addresses");
        },
    );

    it("are the same in any spelling", () => {
        for (const text of ["::0/0", "0::/0", "0:0:0:0:0:0:0:0/0", "0::0.0.0.0/0"])
            expect({ ...parseCidr(text), text: "" }).toEqual({ ...parseCidr("::/0"), text: "" });
    });

    it("overlap as node's own block list says", () => {
        fc.assert(
            fc.property(fc.oneof(near, ipv4), fc.oneof(near, ipv4), (left, right) => {
                const [one, other] = [parseCidr(left), parseCidr(right)];
                const list = new BlockList();
                const [address = "", prefix] = left.split("/");
                list.addSubnet(address, Number(prefix));
                const inside = list.check(right.split("/")[0] ?? "");
                // Of two blocks, either one is in the other or they are apart.
                const contains = one.prefix <= other.prefix ? inside : overlap(other, one);
                expect(overlap(one, other)).toBe(contains);
                expect(overlap(one, other)).toBe(overlap(other, one));
            }),
        );
    });

    it("are counted once together", () => {
        fc.assert(
            fc.property(fc.array(near, { maxLength: 6 }), (texts) => {
                const counted = new Set<bigint>();
                for (const { first, last } of texts.map(parseCidr))
                    for (let address = first; address <= last; address++) counted.add(address);
                expect(addressesIn(texts.map(parseCidr))).toBe(BigInt(counted.size));
            }),
            { numRuns: 30 },
        );
    });

    it("are private or not", () => {
        for (const text of ["10.1.0.0/16", "172.31.0.0/16", "192.168.0.0/16", "100.64.0.0/10", "fd12::/16"])
            expect(isPrivate(parseCidr(text)), text).toBe(true);
        for (const text of ["172.32.0.0/16", "8.8.8.0/24", "0.0.0.0/0", "2a01::/16"])
            expect(isPrivate(parseCidr(text)), text).toBe(false);
        expect([isPrivateAddress("10.2.3.4"), isPrivateAddress("52.1.2.3"), isPrivateAddress("host")]).toEqual([
            true,
            false,
            false,
        ]);
    });
});
