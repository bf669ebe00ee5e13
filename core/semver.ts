/**
 * A version by Semantic Versioning 2.0.0 (semver.org). The numbers stay decimal text: the specification gives them no upper
 * limit, and what reads them as numbers refuses, or rounds, versions that are right.
 */
export interface Version {
    major: string;
    minor: string;
    patch: string;
    /** `["rc", "1"]` of `2.0.0-rc.1`; empty for a release. */
    prerelease: readonly string[];
    /** `["build", "5"]` of `1.4.2+build.5`; plays no part in the order. */
    build: readonly string[];
}

const number = "(?:0|[1-9]\\d*)";
const identifier = `(?:${number}|\\d*[a-zA-Z-][0-9a-zA-Z-]*)`;
const word = "[0-9a-zA-Z-]+";

/** The expression that semver.org suggests (FAQ, "Is there a suggested regular expression"). */
const pattern = new RegExp(
    `^(${number})\\.(${number})\\.(${number})(?:-(${identifier}(?:\\.${identifier})*))?(?:\\+(${word}(?:\\.${word})*))?$`,
);

/** Reads a version; nothing for a text that is none, such as `v1.4.2` or `1.4`. */
export function parseSemver(text: string): Version | undefined {
    const [, major, minor, patch, prerelease, build] = pattern.exec(text) ?? [];
    if (major === undefined || minor === undefined || patch === undefined) {
        return undefined;
    }
    return { major, minor, patch, prerelease: prerelease?.split(".") ?? [], build: build?.split(".") ?? [] };
}

/**
 * The order of versions (semver.org, item 11): negative where `left` comes before `right`, 0 where they differ in their build
 * metadata at most.
 */
export function compareVersions(left: Version, right: Version): number {
    return (
        compareNumbers(left.major, right.major) ||
        compareNumbers(left.minor, right.minor) ||
        compareNumbers(left.patch, right.patch) ||
        comparePrereleases(left.prerelease, right.prerelease)
    );
}

/** Decimal numbers without leading zeros: the longer one is the greater. */
function compareNumbers(left: string, right: string): number {
    return left.length - right.length || compareText(left, right);
}

function comparePrereleases(left: readonly string[], right: readonly string[]): number {
    if (left.length === 0 || right.length === 0) {
        // A release comes after all of its prereleases.
        return right.length - left.length;
    }
    const differences = left.map((one, i) => compareIdentifiers(one, right[i]));
    return differences.find((difference) => difference !== 0) ?? left.length - right.length;
}

/** Numbers come before words; a list that goes on comes after the one that has ended. */
function compareIdentifiers(left: string, right: string | undefined): number {
    if (right === undefined) {
        return 1;
    }
    const [leftNumber, rightNumber] = [/^\d+$/.test(left), /^\d+$/.test(right)];
    if (leftNumber && rightNumber) {
        return compareNumbers(left, right);
    }
    return leftNumber === rightNumber ? compareText(left, right) : Number(rightNumber) - Number(leftNumber);
}

/** By ASCII, which no locale changes. */
function compareText(left: string, right: string): number {
    return left === right ? 0 : left < right ? -1 : 1;
}
