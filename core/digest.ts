import { createHash } from "node:crypto";
import { FormatError } from "./problems";
import { quote } from "./text";

/** A content digest, `sha256:` and 64 hexadecimal digits, or `sha512:` and 128. */
export type Digest = `sha256:${string}` | `sha512:${string}`;

/** The algorithms registered in the OCI image specification (descriptor.md, "Registered algorithms") that registries use. */
const digestPattern = /^(?:sha256:[a-f0-9]{64}|sha512:[a-f0-9]{128})$/;

/** Whether a text is a digest, in full. */
export function isDigest(text: string): text is Digest {
    return digestPattern.test(text);
}

/** @throws FormatError when the text is no digest. */
export function parseDigest(text: string): Digest {
    if (!isDigest(text)) {
        throw new FormatError(`${quote(text)} is not a digest`, '"sha256:" and 64 hexadecimal digits in lower case');
    }
    return text;
}

/** The SHA-256 digest of bytes; text is taken as UTF-8. */
export function sha256(bytes: Uint8Array | string): Digest {
    return `sha256:${createHash("sha256").update(bytes).digest("hex")}`;
}

/** Whether bytes have this digest, by the algorithm it names. */
export function matchesDigest(digest: Digest, bytes: Uint8Array): boolean {
    const [algorithm = "", expected] = digest.split(":");
    return createHash(algorithm).update(bytes).digest("hex") === expected;
}

/** `sha256-…`: how registries without a referrers API name a digest's tag (OCI distribution specification, "Referrers tag schema"). */
export function digestTag(digest: Digest): string {
    return digest.replace(":", "-");
}
