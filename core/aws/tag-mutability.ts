import { FormatError } from "../problems";
import { isFullVersion, versionTags } from "../tags";
import { quote } from "../text";

/** What ECR is told about tags that may, or may not, be moved (`PutImageTagMutability`). */
export interface TagMutability {
    imageTagMutability: "IMMUTABLE" | "IMMUTABLE_WITH_EXCLUSION" | "MUTABLE_WITH_EXCLUSION";
    /** At most five, with at most two `*` each. */
    filters: string[];
}

export const MOST_FILTERS = 5;

/**
 * Full versions and commits' tags, which never move. `1` and `1.4` do, with each release, and no filter tells `1.4` from `1.4.2`: `*.*`
 * matches both, and `*.*.*` has one `*` more than ECR allows. `1.*.*` has two dots and two stars, so where the moving tags are not
 * known by name, the ones that stay are named instead, by their major.
 */
const NEVER_MOVE = ["0.*.*", "1.*.*", "2.*.*", "3.*.*", "sha-*"];

/**
 * @param moving tags and patterns that may move; `undefined`: not known.
 * @param version the version that is being released: it moves `latest`, `1.4` and `1`.
 */
export function tagMutability(moving: readonly string[] | undefined, version: string | undefined): TagMutability {
    if (moving === undefined && version === undefined)
        return { imageTagMutability: "MUTABLE_WITH_EXCLUSION", filters: NEVER_MOVE };
    const filters = movingTags(moving, version);
    return { imageTagMutability: filters.length > 0 ? "IMMUTABLE_WITH_EXCLUSION" : "IMMUTABLE", filters };
}

/** The tags that may move, where they are known. */
export function movingTags(moving: readonly string[] = [], version?: string): string[] {
    const lines =
        version === undefined ? [] : versionTags(version, { isHighest: true }).filter((tag) => tag !== version);
    return [...new Set([...moving, ...lines])];
}

const filterExpected = 'a tag, or a pattern with at most two "*"';

/** Reads a filter. @throws FormatError also where it would let full versions move. */
export function parseTagFilter(value: string): string {
    if (!/^[0-9a-zA-Z._*-]{1,128}$/.test(value))
        throw new FormatError(`${quote(value)} is not a pattern of tags`, filterExpected);
    if ((value.match(/\*/g)?.length ?? 0) > 2)
        throw new FormatError(`${quote(value)} has more than two "*"`, filterExpected);
    const version = versionIn(value);
    if (version !== undefined) {
        const hint = `name the tags one by one ("1.4", "1"), or give the repository the version that is released`;
        throw new FormatError(`${quote(value)} would let ${version} move`, "tags that are no full version", hint);
    }
    return value;
}

/** What a `*` can stand for in a full version, its pre-release included. */
const PARTS = [
    ...["", "4", ".4", "4.", "4.2", ".4.2", "1.4.", "1.4.2"],
    ...["-", "2-", ".2-", "4.2-", ".4.2-", "1.4.2-", "1.4.2-rc", "-rc.1", "rc.1", ".1"],
];

/** A full version that a pattern matches, if there is one. */
function versionIn(pattern: string): string | undefined {
    const [head = "", ...rest] = pattern.split("*");
    const fill = (text: string, [next, ...others]: string[]): string | undefined => {
        if (next === undefined) return isFullVersion(text) ? text : undefined;
        for (const part of PARTS) {
            const found = fill(text + part + next, others);
            if (found !== undefined) return found;
        }
        return undefined;
    };
    return fill(head, rest);
}
