import type * as pulumi from "@pulumi/pulumi";
import { parseDuration } from "../../core/duration";
import type { ImageSettings } from "../../core/image-settings";
import { PlatformTest } from "../../resources/platform-test";
import { Sbom } from "../../resources/sbom";
import { VulnerabilityScan } from "../../resources/vulnerability-scan";
import type { Database } from "../../resources/vulnerability-scan/operations";
import { applyTransform } from "../transform";
import type { BuiltPlatform, Scope } from "./build";

/** What stands between one platform's image and its release. */
export interface Gates {
    test: PlatformTest | undefined;
    sbom: Sbom | undefined;
    scan: VulnerabilityScan | undefined;
}

export function createGates(scope: Scope, built: BuiltPlatform): Gates {
    const sbom = createSbom(scope, built);
    return { test: createTest(scope, built), sbom, scan: createScan(scope, built, sbom) };
}

const subject = ({ settings }: Scope, { platform, digest }: BuiltPlatform) => ({
    repository: settings.repository,
    connection: settings.connection,
    platform,
    digest,
});

function createTest(scope: Scope, built: BuiltPlatform): PlatformTest | undefined {
    const { test } = scope.settings;
    if (test === false) return undefined;
    const runs = test !== undefined && (test.platforms ?? [built.platform]).includes(built.platform);
    const args = {
        ...subject(scope, built),
        builder: built.builder.name,
        command: runs ? test.command : [],
        ...(test ? { timeoutSeconds: parseDuration(test.timeout) / 1000 } : {}),
    };
    return new PlatformTest(
        `${scope.name}-test-${built.slug}`,
        applyTransform(scope.transform.test, args, built.slug),
        scope.options,
    );
}

function createSbom(scope: Scope, built: BuiltPlatform): Sbom | undefined {
    const { attestSbom, scan } = scope.settings;
    const scanned = scan !== false && scan.scanner === "grype";
    if (!attestSbom && !scanned) return undefined;
    return new Sbom(
        `${scope.name}-sbom-${built.slug}`,
        applyTransform(scope.transform.sbom, subject(scope, built), built.slug),
        scope.options,
    );
}

function createScan(scope: Scope, built: BuiltPlatform, sbom: Sbom | undefined): VulnerabilityScan | undefined {
    const { scan } = scope.settings;
    if (scan === false) return undefined;
    const { scanner, failOn, ignore, unfixed, noPackages } = scan;
    const args = {
        ...subject(scope, built),
        scanner,
        ...(scanner === "grype" && sbom ? { sbom: sbom.syft.digest as pulumi.Output<string> } : {}),
        policy: { failOn, ignore, unfixed, noPackages },
        database: databaseOf(scan),
    };
    return new VulnerabilityScan(
        `${scope.name}-scan-${built.slug}`,
        applyTransform(scope.transform.scan, args, built.slug),
        scope.options,
    );
}

const DAY_MS = 86_400_000;

function databaseOf({ advisories, advisoriesUse, database }: Exclude<ImageSettings["scan"], false>): Database {
    const maxAge = database ? { maxAgeDays: parseDuration(database.maxAge) / DAY_MS } : {};
    if (advisories === undefined) return { kind: "public", ...maxAge };
    if (advisoriesUse === "offline") return { kind: "public-or-advisories", directory: advisories, ...maxAge };
    return { kind: "advisories", directory: advisories };
}
