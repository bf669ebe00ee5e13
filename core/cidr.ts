import { isIPv4, isIPv6 } from "node:net";
import { FormatError } from "./problems";
import { quote } from "./text";

/** A block of addresses: all from `first` to `last`. */
export interface Cidr {
    /** As it was written. */
    text: string;
    family: 4 | 6;
    prefix: number;
    first: bigint;
    last: bigint;
}

export const cidrExpected = 'a block of addresses such as "10.0.0.0/16"';

const WIDTH = { 4: 32, 6: 128 } as const;

/**
 * Reads a block in CIDR notation, IPv4 or IPv6. As in EC2, the host's bits must be zero: `10.0.0.5/16` is more likely a slip than a wish.
 *
 * @throws FormatError with the block that was likely meant.
 */
export function parseCidr(text: string): Cidr {
    const [, address = "", length = ""] = /^([^/]+)\/(\d{1,3})$/.exec(text) ?? [];
    const family = isIPv4(address) ? 4 : isIPv6(address) && !address.includes("%") ? 6 : undefined;
    if (family === undefined || Number(length) > WIDTH[family]) {
        const bare = isIPv4(text) ? 32 : isIPv6(text) ? 128 : undefined;
        const hint = bare === undefined ? undefined : `did you mean "${text}/${bare}"?`;
        throw new FormatError(`${quote(text)} is not a block of addresses`, cidrExpected, hint);
    }
    const prefix = Number(length);
    const size = 1n << BigInt(WIDTH[family] - prefix);
    const value = family === 4 ? number4(address) : number6(address);
    const first = value - (value % size);
    if (first !== value) {
        const meant = family === 4 ? `did you mean "${text4(first)}/${prefix}"?` : undefined;
        throw new FormatError(`${quote(text)} has bits of a host`, `a block whose last bits are zero`, meant);
    }
    return { text, family, prefix, first, last: first + size - 1n };
}

export const overlap = (one: Cidr, other: Cidr) =>
    one.family === other.family && one.first <= other.last && other.first <= one.last;

/** How many addresses some blocks of one family have together; what is in several counts once. */
export function addressesIn(blocks: readonly Cidr[]): bigint {
    let [total, end] = [0n, -1n];
    for (const { first, last } of [...blocks].sort((a, b) => (a.first < b.first ? -1 : 1))) {
        const from = first > end ? first : end + 1n;
        if (last >= from) {
            total += last - from + 1n;
            end = last;
        }
    }
    return total;
}

/** Blocks that no route of the Internet leads to (RFC 1918, 6598, 3927, 5735, 4193, 4291). */
const PRIVATE = [
    "10.0.0.0/8",
    "172.16.0.0/12",
    "192.168.0.0/16",
    "100.64.0.0/10",
    "169.254.0.0/16",
    "127.0.0.0/8",
    "fc00::/7",
    "fe80::/10",
    "::1/128",
];

export const isPrivate = (block: Cidr) => PRIVATE.map(parseCidr).some((one) => within(block, one));

/** Whether an address, IPv4 or IPv6, is a private one. */
export const isPrivateAddress = (address: string) =>
    (isIPv4(address) && isPrivate(parseCidr(`${address}/32`))) ||
    (isIPv6(address) && isPrivate(parseCidr(`${address}/128`)));

export const within = (inner: Cidr, outer: Cidr) =>
    inner.family === outer.family && inner.first >= outer.first && inner.last <= outer.last;

const number4 = (address: string) => address.split(".").reduce((sum, part) => sum * 256n + BigInt(part), 0n);

const text4 = (value: bigint) => [24n, 16n, 8n, 0n].map((shift) => (value >> shift) & 255n).join(".");

/** `::` stands for as many groups of zeros as are missing; the last 32 bits may be written as IPv4 (RFC 4291, 2.2). */
function number6(address: string): bigint {
    const hex = address.replace(/(?<=:)\d+\.\d+\.\d+\.\d+$/, (ipv4) => {
        const value = number4(ipv4);
        return `${(value >> 16n).toString(16)}:${(value & 0xffffn).toString(16)}`;
    });
    const [head = "", tail] = hex.split("::");
    const groups = (part: string) => part.split(":").filter((group) => group !== "");
    const [before, after] = [groups(head), groups(tail ?? "")];
    const zeros = Array.from({ length: 8 - before.length - after.length }, () => "0");
    return [...before, ...zeros, ...after].reduce((sum, group) => sum * 65_536n + BigInt(`0x${group}`), 0n);
}
