import type { z } from "zod";
import { checkExports } from "./export-settings";
import { isAddress, platformIdentity } from "./leaves";
import { type Fault, faultIn, report } from "./schema";
import { isTable, textsIn } from "./schema-tables";
import { isFullVersion, parseVersion, versionTags } from "./tags";

type Report = (path: PropertyKey[], fault: Fault) => void;

/**
 * What can only be seen in several settings of an image together. Runs also when some are wrong or not known yet, so each check
 * takes what it finds: a value it can't use is another check's problem.
 */
export function crossChecks(value: unknown, ctx: z.core.$RefinementCtx<unknown>): void {
    if (!isTable(value)) {
        return;
    }
    const tell: Report = (path, fault) => report(ctx, fault, path);
    checkTestPlatforms(value, tell);
    checkCache(value, tell);
    checkTags(value, tell);
    checkGitTags(value, tell);
    checkSecrets(value, tell);
    checkScan(value, tell);
    checkExports(value, tell);
}

function checkTestPlatforms({ platforms, test }: Record<string, unknown>, tell: Report): void {
    const built = textsIn(platforms).map(({ text }) => platformIdentity(text));
    // Platforms that are unknown as yet may be the ones the test names.
    const allKnown = Array.isArray(platforms) && built.length === platforms.length && !built.includes(undefined);
    for (const { text, index } of allKnown && isTable(test) ? textsIn(test.platforms) : []) {
        const tested = platformIdentity(text);
        if (tested !== undefined && !built.includes(tested)) {
            const expected = `one of the platforms that are built: ${built.join(", ")}`;
            tell(["test", "platforms", index], { found: `"${tested}" is not built`, expected });
        }
    }
}

function checkCache({ noCache, cacheFrom }: Record<string, unknown>, tell: Report): void {
    if (noCache === true && Array.isArray(cacheFrom) && cacheFrom.length > 0) {
        const hint = "leave out noCache or cacheFrom";
        tell(["cacheFrom"], {
            found: "set together with noCache, which reads no cache",
            expected: "one of them",
            hint,
        });
    }
}

function checkTags({ version, tags, immutableTags, gitTags }: Record<string, unknown>, tell: Report): void {
    const isVersion = typeof version === "string" && faultIn(() => parseVersion(version)) === undefined;
    const fromVersion = isVersion ? versionTags(version, { isHighest: true }) : [];
    for (const { text, index } of textsIn(tags)) {
        if (fromVersion.includes(text) && text !== "latest") {
            const found = `"${text}" is a tag of version ${version} already`;
            tell(["tags", index], { found, expected: "tags besides the version's", hint: "leave it out" });
        }
    }
    const listed = textsIn(tags).map(({ text }) => text);
    for (const { text, index } of textsIn(immutableTags)) {
        if (text === "latest" || (fromVersion.includes(text) && !isFullVersion(text))) {
            const hint = "leave it out, or release full versions only";
            const found = `"${text}" moves with every release, so it can't be immutable`;
            tell(["immutableTags", index], { found, expected: "tags that never move", hint });
        } else if (
            gitTags === undefined &&
            Array.isArray(tags) &&
            listed.length === tags.length &&
            ![...listed, ...fromVersion].includes(text)
        ) {
            tell(["immutableTags", index], {
                found: `"${text}" is not one of the image's tags`,
                expected: "tags of the image",
            });
        }
    }
}

function checkGitTags({ version, context, gitTags }: Record<string, unknown>, tell: Report): void {
    if (!isTable(gitTags)) {
        return;
    }
    if (version !== undefined && gitTags.version === true) {
        const hint = "leave version out, or gitTags.version";
        tell(["gitTags", "version"], { found: "set together with version", expected: "one of them", hint });
    }
    const remote = (place: unknown) => typeof place === "string" && isAddress(place);
    if (remote(gitTags.folder)) {
        const expected = "a folder's path";
        tell(["gitTags", "folder"], { found: "an address, not a folder", expected });
    } else if (gitTags.folder === undefined && remote(context)) {
        const hint = "set gitTags.folder to a work tree of it";
        tell(["gitTags"], { found: "set for a context that is an address", expected: "a folder as context", hint });
    }
}

function checkSecrets({ secrets, buildArgs }: Record<string, unknown>, tell: Report): void {
    if (!isTable(secrets) || !isTable(buildArgs)) {
        return;
    }
    const hint = "build arguments stay readable in the image's history: keep it in secrets only";
    for (const [name, value] of Object.entries(buildArgs)) {
        const [sameValue] = Object.entries(secrets).find(([, secret]) => isSameText(secret, value)) ?? [];
        if (Object.hasOwn(secrets, name)) {
            tell(["buildArgs", name], { found: "a secret has the same name", expected: "no secrets", hint });
        } else if (sameValue !== undefined) {
            tell(["buildArgs", name], { found: `holds the secret ${sameValue}`, expected: "no secrets", hint });
        }
    }
}

function isSameText(left: unknown, right: unknown): boolean {
    // Short values ("1", "true") are equal by chance.
    return typeof left === "string" && left.length >= 6 && left === right;
}

function checkScan({ scan }: Record<string, unknown>, tell: Report): void {
    if (!isTable(scan)) {
        return;
    }
    if (scan.advisoriesUse === "offline" && scan.advisories === undefined) {
        const expected = "advisories, the folder that is used offline";
        tell(["scan", "advisoriesUse"], { found: "set without advisories", expected });
    }
    if (scan.advisories !== undefined && scan.advisoriesUse !== "offline" && scan.database !== undefined) {
        const hint = "leave out database, or scan against the public one";
        tell(["scan", "database"], {
            found: "set together with advisories, which take its place",
            expected: "one of them",
            hint,
        });
    }
    if (scan.advisories !== undefined && (scan.scanner === "trivy" || scan.scanner === "ecr")) {
        const found = `set for ${scan.scanner}, which has no database of one's own`;
        tell(["scan", "advisories"], { found, expected: 'scanner "grype"' });
    }
    if (scan.scanner === "ecr" && scan.unfixed === "ignore") {
        const found = "set for ecr, whose basic findings don't say what has a fix: all of them would be ignored";
        tell(["scan", "unfixed"], { found, expected: '"fail", or another scanner' });
    }
    if (scan.scanner === "ecr" && scan.noPackages === "allow") {
        const found =
            "set for ecr, which does not say whether it found packages, and calls what it can't read unsupported";
        tell(["scan", "noPackages"], { found, expected: '"fail", or another scanner' });
    }
}
