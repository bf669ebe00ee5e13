import { z } from "zod";
import { type Digest, isDigest, matchesDigest } from "../../core/digest";
import { RegistryError } from "./errors";
import { header, type WireReply } from "./transport";

/** What an index or a listing says of one piece of content (OCI image specification, descriptor.md). */
export interface Descriptor {
    mediaType: string;
    digest: Digest;
    /** Bytes. */
    size: number;
    artifactType?: string | undefined;
    annotations?: Record<string, string> | undefined;
}

const descriptor = z.object({
    mediaType: z.string().min(1),
    digest: z.custom<Digest>((value) => typeof value === "string" && isDigest(value), "not a digest"),
    size: z.int().nonnegative(),
    artifactType: z.string().optional(),
    annotations: z.record(z.string(), z.string()).optional(),
});

export const descriptorIndex = z.object({ manifests: z.array(descriptor) });
export const tagList = z.object({ tags: z.array(z.string()).nullish() });

/** An answer with a good status that is not what the distribution specification says it should be. */
export function badContent(reply: WireReply, method: string, reason: string): RegistryError {
    return new RegistryError({
        code: "BAD_CONTENT",
        method,
        url: reply.url,
        status: reply.status,
        reason,
        next: "check that the address is an OCI registry's, and what a proxy in between does to its answers",
    });
}

/** A digest that is not the one it should be. Both are named. */
export function digestMismatch(
    at: { url: URL | string; method: string },
    what: string,
    claimed: string,
    actual: string,
): RegistryError {
    return new RegistryError({
        ...at,
        code: "DIGEST_MISMATCH",
        reason: `${what}: expected ${claimed}, found ${actual}`,
        next: "do not use this content; look for a proxy, cache or storage that changes it",
    });
}

/** `Content-Type` without parameters, in lower case. */
export function contentType(reply: WireReply): string | undefined {
    return header(reply.headers, "content-type")?.split(";")[0]?.trim().toLowerCase() || undefined;
}

/** The digest that the registry names in `Docker-Content-Digest`. */
export function claimedDigest(reply: WireReply, method: string): Digest | undefined {
    const text = header(reply.headers, "docker-content-digest");
    if (text === undefined) return undefined;
    if (!isDigest(text)) throw badContent(reply, method, "Docker-Content-Digest is not a digest");
    return text;
}

/** `Content-Length` as bytes. */
export function contentLength(reply: WireReply): number | undefined {
    const text = header(reply.headers, "content-length");
    return text !== undefined && /^\d+$/.test(text) ? Number(text) : undefined;
}

/** Checks a body against the digest it was asked by, then against the one that the registry names. */
export function verifyBody(reply: WireReply, method: string, actual: Digest, asked: Digest | undefined): void {
    const at = { url: reply.url, method };
    if (asked && !matchesDigest(asked, reply.body))
        throw digestMismatch(at, "the body is other content", asked, actual);
    const claimed = claimedDigest(reply, method);
    if (claimed && !matchesDigest(claimed, reply.body)) {
        throw digestMismatch(at, "Docker-Content-Digest does not fit the body", claimed, actual);
    }
}

/** Checks the digest in the answer's header against the one that was asked or sent. */
export function verifyClaim(reply: WireReply, method: string, expected: Digest, what: string): void {
    const claimed = claimedDigest(reply, method);
    if (claimed && claimed !== expected) throw digestMismatch({ url: reply.url, method }, what, expected, claimed);
}

/** Parses a JSON answer by a schema. */
export function parseJson<T>(reply: WireReply, method: string, schema: z.ZodType<T>, what: string): T {
    const type = contentType(reply);
    if (type !== undefined && !/^(application|text)\/([\w.+-]*\+)?json$/.test(type)) {
        throw badContent(reply, method, `the answer should be ${what} in JSON, and is ${type}`);
    }
    let value: unknown;
    try {
        value = JSON.parse(reply.body.toString("utf8"));
    } catch {
        throw badContent(reply, method, `the answer should be ${what}, and is not valid JSON`);
    }
    const parsed = schema.safeParse(value);
    if (parsed.success) return parsed.data;
    const issue = parsed.error.issues[0];
    throw badContent(reply, method, `the answer should be ${what}; ${issue?.path.join(".")}: ${issue?.message}`);
}
