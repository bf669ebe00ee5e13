import { isPrivateAddress } from "./cidr";
import { FormatError } from "./problems";
import { text } from "./schema";
import { quote } from "./text";

/** Names without a dot, of private domains, and private addresses: what is said to them stays inside. */
function isPrivateHost(host: string): boolean {
    const bare = host.replace(/^\[(.*)\]$/, "$1");
    return isPrivateAddress(bare) || /^[a-z0-9-]+$/i.test(bare) || /\.(?:internal|local|lan|home\.arpa)$/i.test(bare);
}

/** Where an archive is fetched from: its checksum is known, but nobody on the way needs to see or hold it up. */
export const archiveUrl = text('an address such as "https://mirror.example.com/buildkit.tar.gz"', (value) => {
    const url = URL.canParse(value) ? new URL(value) : undefined;
    if (url === undefined || !["https:", "http:"].includes(url.protocol)) {
        throw new FormatError(`${quote(value)} is not an address`, "an address with https://");
    }
    if (url.username !== "" || url.password !== "") {
        throw new FormatError("an address with a password", "an address without", "user data is no place for secrets");
    }
    if (url.protocol === "http:" && !isPrivateHost(url.hostname)) {
        throw new FormatError(`${quote(url.host)} is public, and http:// is not`, "https://", 'write "https://"');
    }
    return value;
});

export const sha256 = text("a SHA-256 checksum, 64 hexadecimal digits", (value) => {
    if (!/^[0-9a-f]{64}$/.test(value)) {
        const hex = value.replace(/^sha256:/, "").toLowerCase();
        const hint = /^[0-9a-f]{64}$/.test(hex) ? `did you mean "${hex}"?` : undefined;
        throw new FormatError(`${quote(value)} is not a SHA-256 checksum`, "64 hexadecimal digits in lower case", hint);
    }
    return value;
});
