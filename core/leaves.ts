import { isPercentage } from "./buildkitd-checks";
import type { DiskSpace } from "./buildkitd-settings";
import { type Duration, durationExpected, parseDuration } from "./duration";
import { Platform } from "./platform";
import { FormatError } from "./problems";
import { isRegistry, isTag, parseRepository } from "./reference";
import { type Fault, faultIn, kindOf, leaf, text } from "./schema";
import { parseSize, sizeExpected } from "./size";
import { quote } from "./text";

/** A platform, in its normal spelling afterwards: `linux/aarch64` becomes `linux/arm64`. */
export const platform = text('a platform such as "linux/amd64"', (value) => Platform.parse(value).toString());

/** The platform a text names, to tell repeats in different spellings; nothing for a text that is none. */
export function platformIdentity(value: string): string | undefined {
    try {
        return Platform.parse(value).toString();
    } catch (error) {
        if (error instanceof FormatError) {
            return undefined;
        }
        throw error;
    }
}

export const duration = text<Duration>(durationExpected, (value) => {
    parseDuration(value);
    return value as Duration;
});

/** A duration within bounds, both inclusive. */
export function durationWithin(least: Duration, most: Duration) {
    const expected = `a duration from ${least} to ${most}`;
    return text<Duration>(expected, (value) => {
        const ms = parseDuration(value);
        if (ms < parseDuration(least) || ms > parseDuration(most)) {
            throw new FormatError(`${value} is out of range`, expected);
        }
        return value as Duration;
    });
}

const spaceExpected = `${sizeExpected}, or a part of the disk such as "60%"`;

/** Disk space as buildkitd's garbage collection takes it. */
export const diskSpace = text<DiskSpace>(spaceExpected, (value) => {
    if (!isPercentage(value) && faultIn(() => parseSize(value))) {
        throw new FormatError(`${quote(value)} is no disk space`, spaceExpected);
    }
    return value as DiskSpace;
});

/** A version of BuildKit, as its releases are named, without the `v`. */
export const buildkitVersion = text('a version of BuildKit such as "0.33.1"', (value) => {
    if (!/^\d+\.\d+\.\d+(?:-[\w.]+)?$/.test(value)) {
        const hint = /^v\d/.test(value) ? `did you mean "${value.slice(1)}"?` : undefined;
        throw new FormatError(`${quote(value)} is not a version`, '"0.33.1"', hint);
    }
    return value;
});

/** What is wrong with the name of an entry among registries. */
export const registryFault = (name: string): Fault | undefined =>
    isRegistry(name) ? undefined : { found: `${quote(name)} is not a registry`, expected: "host[:port]" };

/** A repository without tag or digest. */
export const repository = text('a repository such as "registry.example.com/team/app"', (value) => {
    parseRepository(value);
    return value;
});

/** A value that may be anything, also empty, and is not shown: build arguments are often more secret than meant. */
export const unshown = leaf<string>("text", (value) =>
    typeof value === "string" ? undefined : { found: kindOf(value), expected: "text", wrongKind: true },
);

/** A tag of an image. */
export const tag = text("a tag", (value) => {
    if (!isTag(value)) {
        throw new FormatError(
            `${quote(value)} is not a tag`,
            "1 to 128 letters, digits and _ . - that start with none of . -",
        );
    }
    return value;
});

const addressSchemes = ["https", "http", "git", "ssh"];

/** Whether a place is an address (`https://…`, `git@host:path`) and no path on this machine. */
export function isAddress(place: string): boolean {
    return /^(?:[a-z][a-z0-9+.-]*:\/\/|[^/]+@[^/]+:)/i.test(place);
}

/**
 * A folder's path, or the address of a remote one. `more` are further schemes, as named contexts have them.
 * An address with a password is refused, and not repeated: it would end up in Pulumi's state.
 */
export function place(expected: string, more: readonly string[] = []) {
    return leaf<string>(expected, (value): Fault | undefined => {
        if (typeof value !== "string") {
            return { found: kindOf(value), expected, wrongKind: true };
        }
        if (value.trim() === "") {
            return { found: "empty", expected };
        }
        if (value === "-") {
            return { found: '"-" (standard input) has no content to build from', expected };
        }
        const scheme = /^([a-z][a-z0-9+.-]*):\/\//i.exec(value)?.[1];
        if (/^[a-z][a-z0-9+.-]*:\/\/[^/@]*:[^/@]*@/i.test(value)) {
            const hint = "leave the password out, and give it as a secret (GIT_AUTH_TOKEN)";
            return { found: "an address with a password", expected, hint };
        }
        const known = scheme === undefined || [...addressSchemes, ...more].includes(scheme.toLowerCase());
        return known ? undefined : { found: `${quote(`${scheme}://`)} is not a kind of address`, expected };
    });
}
