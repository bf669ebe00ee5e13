import { isIP } from "node:net";

const HOST_NAME =
    /^(?:\*\.)?(?:[a-z0-9_](?:[a-z0-9_-]{0,61}[a-z0-9_])?)(?:\.[a-z0-9_](?:[a-z0-9_-]{0,61}[a-z0-9_])?)*$/i;

/** @throws Error when a certificate of this name and validity can't be made. */
export function requireNameAndDays(name: string, days: number): void {
    if (name.trim() === "") {
        throw new Error("a certificate needs a name");
    }
    if (name.length > 64) {
        throw new Error(`certificate "${name}": a common name has at most 64 characters (RFC 5280, ub-common-name)`);
    }
    if (!(days > 0 && Number.isFinite(days))) {
        throw new Error(`certificate "${name}": a validity of ${days} days; expected a positive number`);
    }
}

/** @throws Error when a server has no name to be dialled by, or a name or an address is none. */
export function requireAlternativeNames(usage: "server" | "client", dnsNames: string[], ipAddresses: string[]): void {
    if (usage === "server" && dnsNames.length + ipAddresses.length === 0) {
        throw new Error("a server certificate needs at least one DNS name or IP address that its clients dial");
    }
    const badName = dnsNames.find((name) => !HOST_NAME.test(name) || isIP(name) !== 0);
    if (badName !== undefined) {
        throw new Error(`"${badName}" is not a DNS name${isIP(badName) ? "; an address goes to ipAddresses" : ""}`);
    }
    const badAddress = ipAddresses.find((address) => isIP(address) === 0);
    if (badAddress !== undefined) {
        throw new Error(`"${badAddress}" is not an IP address; a host name goes to dnsNames`);
    }
}

/** Node prints alternative names as `DNS:a, IP Address:1.2.3.4`; a value with a comma or quote in it as a JSON string. */
export function alternativeNames(text: string): { type: string; value: string }[] {
    return [...text.matchAll(/(?:^|, )([A-Za-z ]+):("(?:[^"\\]|\\.)*"|[^,]*)/g)].map(([, type = "", value = ""]) => ({
        type,
        value: value.startsWith('"') ? String(JSON.parse(value)) : value,
    }));
}

/** `::1` for `0:0:0:0:0:0:0:1`. */
export function canonicalAddress(address: string): string {
    return isIP(address) === 6 ? new URL(`http://[${address}]`).hostname.slice(1, -1) : address;
}
