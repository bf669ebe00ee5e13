import type { z } from "zod";
import { type Fault, report } from "../schema";
import { isTable, textsIn } from "../schema-tables";
import { matchesTag, NO_RELEASES } from "./ecr-lifecycle";
import { MOST_FILTERS, movingTags } from "./tag-mutability";
import { needsCredentials } from "./upstreams";

type Report = (path: PropertyKey[], fault: Fault) => void;

/** What can only be seen in several settings of a repository together; values that are wrong or unknown are others' problem. */
export function repositoryChecks(value: unknown, ctx: z.core.$RefinementCtx<unknown>): void {
    if (!isTable(value)) {
        return;
    }
    const tell: Report = (path, fault) => report(ctx, fault, path);
    checkMovingTags(value, tell);
    checkEncryption(value, tell);
    checkLifecycle(value, tell);
    checkUpstreams(value, tell);
    checkCacheName(value, tell);
}

function checkMovingTags({ version, movingTags: given }: Record<string, unknown>, tell: Report): void {
    const tags = textsIn(given).map(({ text }) => text);
    const all = typeof version === "string" && /^\d+\.\d+\.\d+/.test(version) ? movingTags(tags, version) : tags;
    if (all.length > MOST_FILTERS) {
        const found = `${all.length} tags would move (${all.join(", ")})`;
        tell(["movingTags"], { found, expected: `at most ${MOST_FILTERS}, which is all that ECR takes` });
    }
}

function checkEncryption({ encryption, kmsKey }: Record<string, unknown>, tell: Report): void {
    if (encryption === "aes256" && kmsKey !== undefined) {
        const hint = "leave out one of them";
        tell(["kmsKey"], { found: 'set together with encryption "aes256"', expected: "one of them", hint });
    }
}

/** ECR takes 50 rules; one of them is ours. */
const MOST_RULES = 49;

function checkLifecycle({ lifecycle }: Record<string, unknown>, tell: Report): void {
    if (!isTable(lifecycle)) {
        return;
    }
    const releases: unknown[] = Array.isArray(lifecycle.releases) ? lifecycle.releases : [];
    const shielded = textsIn(lifecycle.protectedTags);
    for (const [i, rule] of releases.entries()) {
        const pattern = isTable(rule) && typeof rule.tags === "string" ? rule.tags : undefined;
        const hit = pattern === undefined ? undefined : NO_RELEASES.find(({ tag }) => matchesTag(pattern, tag));
        if (hit !== undefined) {
            const found = `"${pattern}" matches ${hit.what}, too, which are no releases`;
            const hint = 'write a pattern of the releases\' own tags, such as "*.*.*" or "release-*"';
            tell(["lifecycle", "releases", i, "tags"], { found, expected: "a pattern of releases alone", hint });
        }
        if (pattern !== undefined && shielded.some(({ text }) => text === pattern)) {
            const found = `"${pattern}" is protected, so nothing of it expires`;
            tell(["lifecycle", "releases", i, "tags"], { found, expected: "a pattern that is not in protectedTags" });
        }
    }
    if (releases.length + shielded.length > MOST_RULES) {
        const found = `${releases.length + shielded.length} rules`;
        tell(["lifecycle"], { found, expected: `at most ${MOST_RULES} releases and protectedTags together` });
    }
}

function checkUpstreams({ pullThroughCache }: Record<string, unknown>, tell: Report): void {
    for (const [prefix, rule] of isTable(pullThroughCache) ? Object.entries(pullThroughCache) : []) {
        if (!isTable(rule) || typeof rule.upstream !== "string") {
            continue;
        }
        if (needsCredentials(rule.upstream) && rule.credentialArn === undefined) {
            const expected = "the ARN of the secret with its credentials: ECR asks this registry only with some";
            tell(["pullThroughCache", prefix, "credentialArn"], { found: "missing", expected });
        }
    }
}

function checkCacheName({ name, cache, replication }: Record<string, unknown>, tell: Report): void {
    if (typeof name !== "string" || !isTable(cache)) {
        return;
    }
    const cacheName = typeof cache.name === "string" ? cache.name : `cache/${name}`;
    if (cacheName.length > 256) {
        tell(["cache", "name"], { found: `"${cacheName}" is too long`, expected: "a name of at most 256 characters" });
    } else if (cacheName === name) {
        tell(["cache", "name"], { found: "the same as the repository's", expected: "another name" });
    } else if (replication !== undefined && cacheName.startsWith(name)) {
        const found = `"${cacheName}" begins with "${name}", and so would be replicated, too`;
        tell(["cache", "name"], { found, expected: `a name that does not, such as "cache/${name}"` });
    }
}
