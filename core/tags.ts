import { FormatError } from "./problems";
import { isTag } from "./reference";
import { compareVersions, parseSemver, type Version } from "./semver";
import { quote } from "./text";

/** What a wrong version should have been. */
export const versionExpected = 'a SemVer version such as "1.4.2"';

/**
 * Reads a version by SemVer 2.0.
 *
 * @throws FormatError also for build metadata (`1.4.2+5`), which no tag can carry.
 */
export function parseVersion(text: string): string {
    const version = parseSemver(text);
    if (version === undefined) {
        const completed = completedVersion(text);
        const hint = completed ? `did you mean "${completed}"?` : undefined;
        throw new FormatError(`${quote(text)} is not a version`, versionExpected, hint);
    }
    if (version.build.length > 0) {
        const hint = `leave out "+${version.build.join(".")}": a tag can't carry build metadata`;
        throw new FormatError(`${quote(text)} has build metadata`, versionExpected, hint);
    }
    if (!isTag(text)) {
        throw new FormatError(`${quote(text)} is too long for a tag`, versionExpected);
    }
    return text;
}

/** The version that is one small step away: of "v1.4.2" or "1.4". */
function completedVersion(text: string): string | undefined {
    const bare = text.trim().replace(/^[v=]\s*/, "");
    const missing = /^\d+(?:\.\d+){0,2}$/.test(bare) ? 3 - bare.split(".").length : 0;
    const completed = bare + ".0".repeat(missing);
    return parseSemver(completed)?.build.length === 0 ? completed : undefined;
}

/**
 * The tags of a version: `1.4.2` gets `1.4.2`, `1.4` and `1`. A prerelease gets only itself, and there is no tag `0`: SemVer
 * promises nothing across the minors of 0.
 *
 * @param options `isHighest` adds `latest`, for a release (never for a prerelease).
 * @throws FormatError when the version is none.
 */
export function versionTags(version: string, options: { isHighest?: boolean } = {}): string[] {
    const { major, minor, prerelease } = parseSemver(parseVersion(version)) as Version;
    if (prerelease.length > 0) {
        return [version];
    }
    const lines = major === "0" ? [`${major}.${minor}`] : [`${major}.${minor}`, major];
    return [version, ...lines, ...(options.isHighest ? ["latest"] : [])];
}

/**
 * The tags of {@link versionTags} that may move, given what is released: a fix for an old line (1.4.3 after 1.5.0) moves
 * `1.4`, and neither `1` nor `latest`.
 *
 * @param existing all tags of the repository.
 */
export function tagsToMove(version: string, existing: readonly string[]): string[] {
    const own = parseSemver(parseVersion(version)) as Version;
    const newer = existing.filter((tag) => {
        const other = isTag(tag) ? parseSemver(tag) : undefined;
        return other !== undefined && other.prerelease.length === 0 && compareVersions(other, own) > 0;
    });
    return versionTags(version, { isHighest: newer.length === 0 }).filter(
        (tag) => tag === version || !newer.some((other) => versionTags(other).includes(tag)),
    );
}

/** Whether a tag is one full version (`1.4.2`, `2.0.0-rc.1`): once released, such a tag never moves again. */
export function isFullVersion(tag: string): boolean {
    return parseSemver(tag)?.build.length === 0;
}
