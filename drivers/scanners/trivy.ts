import { join, resolve } from "node:path";
import { z } from "zod";
import type { Finding } from "../../core/verdict";
import { run } from "../process";
import { inTemporaryFolder } from "../temporary-folder";
import { emptyConfiguration, withoutVariables } from "../tool-settings";
import { DatabaseError, DEFAULT_MAX_AGE_DAYS, refreshDatabase, requireFresh } from "./database";
import { parseReport, readReport, severity } from "./report";
import type { Scanner, ScanReport, ScanRequest } from "./scanner";

/** Where the databases are and come from: the user's own settings, which change nothing about what is found. */
const KEPT_VARIABLES = ["CACHE_DIR", "DB_REPOSITORY", "JAVA_DB_REPOSITORY"];

const NEXT =
    'let this machine reach ghcr.io/aquasecurity/trivy-db (or a mirror: TRIVY_DB_REPOSITORY) and run "trivy image ' +
    '--download-db-only"';

/** What is relied on of trivy's report (aquasecurity/trivy: pkg/types/report.go); Go leaves empty lists out. */
const trivyReport = z.object({
    SchemaVersion: z.literal(2),
    ArtifactName: z.string(),
    ArtifactType: z.literal("container_image"),
    Results: z
        .array(
            z.object({
                Class: z.string(),
                Type: z.string().default(""),
                Packages: z.array(z.object({ Name: z.string() })).nullish(),
                Vulnerabilities: z
                    .array(
                        z.object({
                            VulnerabilityID: z.string().min(1),
                            PkgName: z.string(),
                            InstalledVersion: z.string(),
                            FixedVersion: z.string().default(""),
                            Severity: severity,
                            PrimaryURL: z.string().optional(),
                        }),
                    )
                    .nullish(),
            }),
        )
        .nullish(),
});

type TrivyReport = z.infer<typeof trivyReport>;

/** `trivy version --format json` (pkg/version). */
const trivyVersion = z.object({
    Version: z.string(),
    VulnerabilityDB: z.object({ UpdatedAt: z.iso.datetime({ offset: true }) }).nullish(),
});

/** Scans the image itself with trivy, 0.53 or newer (`--cache-backend memory`, which lets scans run side by side). */
export class TrivyScanner implements Scanner {
    readonly name = "trivy";

    async scan(request: ScanRequest): Promise<ScanReport> {
        if (request.database.kind !== "public") {
            throw new Error("trivy can't scan against your own advisories; choose grype, or leave the advisories out");
        }
        const maxAgeDays = request.database.maxAgeDays ?? DEFAULT_MAX_AGE_DAYS;
        if (request.asksForClientCertificate) {
            throw new Error(
                "trivy has no setting for a registry's client certificate; " +
                    'choose scan.scanner: "grype", which reads the bill of materials',
            );
        }
        return inTemporaryFolder(async (folder) => {
            // Apart from the scan, which must not turn certificate checks off for the database as well.
            const failure = await refreshDatabase("trivy", () =>
                this.trivy(["image", "--download-db-only"], folder, { signal: request.signal }),
            );
            const { Version, VulnerabilityDB } = await this.version(folder);
            if (!VulnerabilityDB) throw new DatabaseError("trivy", "it has no vulnerability database", NEXT, failure);
            requireFresh("trivy", VulnerabilityDB.UpdatedAt, { maxAgeDays, now: request.now }, NEXT, failure);
            const { report, raw } = await this.image(request, folder);
            return {
                scanner: this.name,
                scannerVersion: Version,
                database: { source: "public", built: VulnerabilityDB.UpdatedAt },
                findings: findingsOf(report),
                packages: (report.Results ?? []).reduce((sum, result) => sum + (result.Packages?.length ?? 0), 0),
                raw,
            };
        });
    }

    private async version(folder: string) {
        const { stdout } = await this.trivy(["version", "--format", "json"], folder);
        return parseReport("trivy", stdout, trivyVersion);
    }

    private async image(request: ScanRequest, folder: string) {
        const file = join(folder, "report.json");
        const args = [
            "image",
            ...["--scanners", "vuln", "--list-all-pkgs", "--image-src", "remote", "--platform", request.platform],
            ...["--skip-db-update", "--cache-backend", "memory", "--ignorefile", emptyConfiguration(folder)],
            ...(request.plainHttp ? ["--insecure"] : []),
            ...["--format", "json", "--output", file, request.reference],
        ];
        await this.trivy(args, folder, {
            env: {
                ...(request.ca ? { SSL_CERT_FILE: resolve(request.ca) } : {}),
                ...(request.dockerConfig ? { DOCKER_CONFIG: resolve(request.dockerConfig) } : {}),
            },
            timeoutMs: request.timeoutMs,
            signal: request.signal,
            where: `${request.platform}, ${request.reference}`,
        });
        const result = readReport("trivy", file, trivyReport);
        if (result.report.ArtifactName !== request.reference) {
            throw new Error(`trivy scanned ${result.report.ArtifactName} where ${request.reference} was asked for`);
        }
        return result;
    }

    private trivy(args: string[], folder: string, options: Parameters<typeof run>[2] = {}) {
        return run("trivy", [...args, "--config", emptyConfiguration(folder)], {
            ...options,
            cwd: folder,
            env: { ...withoutVariables("TRIVY_", KEPT_VARIABLES), TMPDIR: folder, ...options.env },
        });
    }
}

function findingsOf(report: TrivyReport): Finding[] {
    return (report.Results ?? []).flatMap((result) =>
        (result.Vulnerabilities ?? []).map((vulnerability) => {
            const fixedIn = vulnerability.FixedVersion.split(",")
                .map((version) => version.trim())
                .filter(Boolean);
            return {
                id: vulnerability.VulnerabilityID,
                severity: vulnerability.Severity,
                package: vulnerability.PkgName,
                version: vulnerability.InstalledVersion,
                ...(fixedIn.length > 0 ? { fixedIn } : {}),
                ecosystem: result.Type || result.Class,
                ...(vulnerability.PrimaryURL ? { url: vulnerability.PrimaryURL } : {}),
            };
        }),
    );
}
