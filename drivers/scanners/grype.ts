import { join, resolve } from "node:path";
import { z } from "zod";
import { parseReference } from "../../core/reference";
import type { Finding } from "../../core/verdict";
import { CommandError, run } from "../process";
import { readSyftJson } from "../syft";
import { inTemporaryFolder } from "../temporary-folder";
import { emptyConfiguration, withoutVariables } from "../tool-settings";
import { advisoryDatabase } from "./advisories";
import { DatabaseError, DEFAULT_MAX_AGE_DAYS, refreshDatabase, requireFresh } from "./database";
import { parseReport, readReport, severity } from "./report";
import type { Scanner, ScanReport, ScanRequest } from "./scanner";

/** Where the database is and comes from: the user's own settings, which change nothing about what is found. */
const KEPT_VARIABLES = [
    "DB_CACHE_DIR",
    "DB_UPDATE_URL",
    "DB_CA_CERT",
    "DB_UPDATE_AVAILABLE_TIMEOUT",
    "DB_UPDATE_DOWNLOAD_TIMEOUT",
];

const NEXT =
    'let this machine reach https://grype.anchore.io (or a mirror: GRYPE_DB_UPDATE_URL) and run "grype db update", or scan ' +
    "against your own advisories";

/** What is relied on of grype's report (anchore/grype: grype/presenter/models). */
const grypeReport = z.object({
    matches: z.array(
        z.object({
            vulnerability: z.object({
                id: z.string().min(1),
                severity: severity.default("unknown"),
                dataSource: z.string().optional(),
                fix: z.object({ versions: z.array(z.string()), state: z.string() }),
            }),
            artifact: z.object({ name: z.string(), version: z.string(), type: z.string() }),
        }),
    ),
    source: z.object({ target: z.object({ manifestDigest: z.string() }) }),
    descriptor: z.object({
        name: z.literal("grype"),
        version: z.string(),
        db: z.object({ status: z.object({ built: z.iso.datetime({ offset: true }), valid: z.boolean() }) }),
    }),
});

type GrypeReport = z.infer<typeof grypeReport>;

/** Scans the bill of materials with grype. */
export class GrypeScanner implements Scanner {
    readonly name = "grype";

    async scan(request: ScanRequest): Promise<ScanReport> {
        const { database, reference } = request;
        if (request.sbomPath === undefined) {
            throw new Error(`grype reads a bill of materials in syft's format; none was given for ${reference}`);
        }
        const sbomPath = resolve(request.sbomPath);
        const { packages } = readSyftJson(sbomPath);
        if (database.kind === "advisories") {
            const own = await advisoryDatabase(database.directory);
            const env = { GRYPE_DB_CACHE_DIR: own.path, GRYPE_DB_VALIDATE_AGE: "false" };
            const { report, raw } = await this.match(request, sbomPath, env);
            return this.report(report, raw, packages, { source: "advisories", advisories: own.advisories });
        }
        const maxAgeDays = database.maxAgeDays ?? DEFAULT_MAX_AGE_DAYS;
        const refreshFailure = await refreshDatabase("grype", () => updateDatabase(request.signal));
        const env = { GRYPE_DB_VALIDATE_AGE: "false" }; // judged below, by the request's clock and in our words
        const { report, raw } = await this.match(request, sbomPath, env).catch((error: unknown) => {
            throw databaseMissing(error)
                ? new DatabaseError("grype", "it has no vulnerability database", NEXT, refreshFailure)
                : error;
        });
        const { built } = report.descriptor.db.status;
        requireFresh("grype", built, { maxAgeDays, now: request.now }, NEXT, refreshFailure);
        return this.report(report, raw, packages, { source: "public", built });
    }

    private async match(request: ScanRequest, sbomPath: string, database: Record<string, string>) {
        return inTemporaryFolder(async (folder) => {
            const file = join(folder, "report.json");
            const args = [`sbom:${sbomPath}`, "--config", emptyConfiguration(folder), "-o", "json", "--file", file];
            await run("grype", args, {
                cwd: folder,
                env: {
                    ...withoutVariables("GRYPE_", KEPT_VARIABLES),
                    GRYPE_CHECK_FOR_APP_UPDATE: "false",
                    GRYPE_DB_AUTO_UPDATE: "false",
                    TMPDIR: folder,
                    ...database,
                },
                okExitCodes: [0, 2], // 2: findings over a threshold of grype's; thresholds are judged elsewhere
                timeoutMs: request.timeoutMs,
                cpuBound: true,
                signal: request.signal,
                where: `${request.platform}, ${request.reference}`,
            });
            const result = readReport("grype", file, grypeReport);
            const scanned = result.report.source.target.manifestDigest;
            if (scanned !== parseReference(request.reference).digest) {
                throw new Error(`grype scanned ${scanned} where ${request.reference} was asked for`);
            }
            return result;
        });
    }

    private report(report: GrypeReport, raw: Buffer, packages: number, database: ScanReport["database"]): ScanReport {
        return {
            scanner: this.name,
            scannerVersion: report.descriptor.version,
            database,
            findings: findingsOf(report),
            packages,
            raw,
        };
    }
}

/** The findings of a report of grype's. @throws Error when its shape is not known. */
export function parseGrypeReport(raw: Buffer | string): Finding[] {
    return findingsOf(parseReport("grype", raw, grypeReport));
}

function findingsOf(report: GrypeReport): Finding[] {
    return report.matches.map(({ vulnerability, artifact }) => ({
        id: vulnerability.id,
        severity: vulnerability.severity,
        package: artifact.name,
        version: artifact.version,
        ...(vulnerability.fix.versions.length > 0 ? { fixedIn: vulnerability.fix.versions } : {}),
        ecosystem: artifact.type,
        ...(vulnerability.dataSource ? { url: vulnerability.dataSource } : {}),
    }));
}

function updateDatabase(signal?: AbortSignal): Promise<unknown> {
    return inTemporaryFolder((folder) =>
        run("grype", ["db", "update", "--config", emptyConfiguration(folder)], {
            cwd: folder,
            env: { ...withoutVariables("GRYPE_", KEPT_VARIABLES), GRYPE_CHECK_FOR_APP_UPDATE: "false" },
            signal,
        }),
    );
}

function databaseMissing(error: unknown): error is CommandError {
    return (
        error instanceof CommandError &&
        error.lastLines.some((line) => /database (?:does not exist|not found)/.test(line))
    );
}

let reachable: Promise<boolean> | undefined;

/**
 * Whether grype's public database can be reached from here, asked of grype itself (its proxies, its mirror, its CA).
 * Asked once per process.
 */
export function publicDatabaseReachable(options: { timeoutMs: number }): Promise<boolean> {
    reachable ??= inTemporaryFolder(async (folder) => {
        try {
            await run("grype", ["db", "check", "--config", emptyConfiguration(folder)], {
                cwd: folder,
                env: {
                    ...withoutVariables("GRYPE_", KEPT_VARIABLES),
                    GRYPE_CHECK_FOR_APP_UPDATE: "false",
                    GRYPE_DB_UPDATE_AVAILABLE_TIMEOUT: `${options.timeoutMs}ms`,
                },
                okExitCodes: [0, 100], // 100: reachable, and there is a newer one (grype: cmd/grype/cli/commands/db_check.go)
                timeoutMs: options.timeoutMs,
            });
            return true;
        } catch (error) {
            if (error instanceof CommandError) return false;
            throw error;
        }
    });
    return reachable;
}
