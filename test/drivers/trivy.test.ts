import { existsSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, describe, expect, it, vi } from "vitest";
import type { ScanRequest } from "../../drivers/scanners";
import { isolateCache } from "../support/scans";
import { standIn } from "../support/stand-in";

/** In the schema that trivy documents (pkg/types/report.go, SchemaVersion 2). */
const reference = `registry.example.com/app@sha256:${"a".repeat(64)}`;
const report = {
    SchemaVersion: 2,
    CreatedAt: "2026-01-31T12:00:00Z",
    ArtifactName: reference,
    ArtifactType: "container_image",
    Metadata: { OS: { Family: "debian", Name: "12.5" } },
    Results: [
        {
            Target: `${reference} (debian 12.5)`,
            Class: "os-pkgs",
            Type: "debian",
            Packages: [
                { Name: "bash", Version: "5.2.15" },
                { Name: "libidn2-0", Version: "2.3.3" },
            ],
            Vulnerabilities: [
                {
                    VulnerabilityID: "CVE-2026-0001",
                    PkgName: "libidn2-0",
                    InstalledVersion: "2.3.3",
                    FixedVersion: "2.3.3+deb12u1, 2.3.4",
                    Status: "fixed",
                    Severity: "CRITICAL",
                    PrimaryURL: "https://avd.aquasec.com/nvd/cve-2026-0001",
                },
                { VulnerabilityID: "CVE-2026-0002", PkgName: "bash", InstalledVersion: "5.2.15", Severity: "LOW" },
            ],
        },
        { Target: "app/package-lock.json", Class: "lang-pkgs", Type: "npm", Packages: [{ Name: "zod" }] },
    ],
};
const version = {
    Version: "0.66.0",
    VulnerabilityDB: { Version: 2, UpdatedAt: "2026-01-30T06:00:00.123456789Z", NextUpdate: "2026-01-31T06:00:00Z" },
};
const request: ScanRequest = {
    reference,
    platform: "linux/arm64",
    plainHttp: false,
    database: { kind: "public" },
    now: new Date("2026-01-31T12:00:00Z"),
};

let root: string;
let undo: (() => void)[];
let scan: (request: ScanRequest) => Promise<import("../../drivers/scanners").ScanReport>;

beforeEach(async () => {
    root = mkdtempSync(join(tmpdir(), "buildfleet-trivy-"));
    undo = [isolateCache(join(root, "cache"))];
    vi.resetModules(); // a database brought up to date is not brought up to date again in the same process
    const { scannerNamed } = await import("../../drivers/scanners/index.js");
    scan = (each) => scannerNamed("trivy").scan(each);
});
afterEach(() => {
    for (const each of undo.reverse()) each();
    rmSync(root, { recursive: true, force: true });
});

/** A stand-in for trivy, which notes how it was called. */
function trivy(answers: { version?: object; report?: object | string; update?: string; scan?: string } = {}): void {
    const { version: versionAnswer = version, report: reportAnswer = report } = answers;
    writeFileSync(join(root, "version.json"), JSON.stringify(versionAnswer));
    writeFileSync(
        join(root, "report.json"),
        typeof reportAnswer === "string" ? reportAnswer : JSON.stringify(reportAnswer),
    );
    undo.push(
        standIn(
            root,
            "trivy",
            [
                `echo "$* | SSL_CERT_FILE=$SSL_CERT_FILE DOCKER_CONFIG=$DOCKER_CONFIG TRIVY=$(env | grep ^TRIVY_ | sort | tr '\\n' ' ')" >> ${root}/calls`,
                `[ "$1" = version ] && { cat ${root}/version.json; exit 0; }`,
                `[ "$2" = --download-db-only ] && { ${answers.update ?? ":"}; exit $?; }`,
                answers.scan ?? ":",
                `while [ $# -gt 0 ]; do [ "$1" = --output ] && cp ${root}/report.json "$2"; shift; done`,
            ].join("\n"),
        ),
    );
}

const calls = () => readFileSync(join(root, "calls"), "utf8").trim().split("\n");

describe("trivy, played by a stand-in that writes a report of the documented schema", () => {
    it("gives its findings, its packages and the age of its database", async () => {
        trivy();
        const result = await scan(request);
        expect(result).toMatchObject({
            scanner: "trivy",
            scannerVersion: "0.66.0",
            database: { source: "public", built: "2026-01-30T06:00:00.123456789Z" },
            packages: 3,
        });
        expect(result.findings).toEqual([
            {
                id: "CVE-2026-0001",
                severity: "critical",
                package: "libidn2-0",
                version: "2.3.3",
                fixedIn: ["2.3.3+deb12u1", "2.3.4"],
                ecosystem: "debian",
                url: "https://avd.aquasec.com/nvd/cve-2026-0001",
            },
            { id: "CVE-2026-0002", severity: "low", package: "bash", version: "5.2.15", ecosystem: "debian" },
        ]);
        expect(JSON.parse(result.raw.toString())).toEqual(report);
    });

    it("is asked for everything it knows of one platform, from the registry, without settings of its own", async () => {
        trivy();
        process.env.TRIVY_IGNORE_UNFIXED = "true";
        process.env.TRIVY_DB_REPOSITORY = "mirror.example.com/trivy-db";
        undo.push(() => {
            delete process.env.TRIVY_IGNORE_UNFIXED;
            delete process.env.TRIVY_DB_REPOSITORY;
        });
        await scan({ ...request, ca: "/etc/ca.pem", dockerConfig: "/run/docker" });
        const call = calls().at(-1) ?? "";
        expect(call).toContain("--scanners vuln --list-all-pkgs --image-src remote --platform linux/arm64");
        expect(call).toContain("--skip-db-update");
        expect(call).toContain("SSL_CERT_FILE=/etc/ca.pem DOCKER_CONFIG=/run/docker");
        expect(call).toContain("TRIVY=TRIVY_DB_REPOSITORY=mirror.example.com/trivy-db");
        expect(call).not.toContain("TRIVY_IGNORE_UNFIXED");
        expect(call).not.toContain("--insecure");
    });

    it("is not asked where the registry wants a client certificate, which it has no setting for", async () => {
        trivy();
        await expect(scan({ ...request, asksForClientCertificate: true })).rejects.toThrow('scan.scanner: "grype"');
        expect(existsSync(join(root, "calls"))).toBe(false);
    });

    it("may use plain HTTP for the image, never for its database", async () => {
        trivy();
        await scan({ ...request, plainHttp: true });
        expect(calls().map((call) => call.includes("--insecure"))).toEqual([false, false, true]);
    });

    it("of an image in which it sees no package says 0", async () => {
        const { Results: _, ...rest } = report;
        trivy({ report: rest });
        expect(await scan(request)).toMatchObject({ packages: 0, findings: [] });
    });

    it("without a database refuses and says why there is none", async () => {
        trivy({ version: { Version: "0.66.0" }, update: "echo 'FATAL dial tcp: no such host' >&2; exit 1" });
        await expect(scan(request)).rejects.toThrow(
            /no vulnerability database[\s\S]*no such host[\s\S]*next: let this/,
        );
    });

    it("with a database that is too old refuses; with one that is fresh enough goes on although the update failed", async () => {
        trivy({ update: "echo 'FATAL no route to host' >&2; exit 1" });
        const later = { ...request, now: new Date("2026-02-10T00:00:00Z") };
        await expect(scan(later)).rejects.toThrow(/built on 2026-01-30, 10 days ago, at most 5[\s\S]*no route to host/);
        await expect(scan({ ...later, database: { kind: "public", maxAgeDays: 30 } })).resolves.toMatchObject({
            packages: 3,
        });
        await expect(scan(request)).resolves.toMatchObject({ packages: 3 });
    });

    it("that fails refuses, with the platform, the exit code and its last lines", async () => {
        trivy({ scan: "echo 'FATAL image scan error: scan failed' >&2; exit 1" });
        await expect(scan(request)).rejects.toThrow(/exited with 1 \(linux\/arm64, .*[\s\S]*scan failed/);
    });

    it("that exits with 0 and writes no report refuses", async () => {
        trivy({ scan: "exit 0" });
        await expect(scan(request)).rejects.toThrow(/without a report/);
    });

    it.each([
        ["of another schema", { ...report, SchemaVersion: 3 }, /SchemaVersion/],
        ["of another image", { ...report, ArtifactName: "other" }, /trivy scanned other where/],
        [
            "with findings that have no severity",
            {
                ...report,
                Results: [
                    { Class: "x", Vulnerabilities: [{ VulnerabilityID: "A", PkgName: "b", InstalledVersion: "c" }] },
                ],
            },
            /Severity/,
        ],
        ["cut off in the middle", JSON.stringify(report).slice(0, 300), /not JSON/],
        ["of the old list form", [{ Target: "x", Vulnerabilities: null }], /shape this version does not know/],
    ])("whose report is one %s refuses", async (_case, changed, message) => {
        trivy({ report: changed });
        await expect(scan(request)).rejects.toThrow(message);
    });

    it("refuses the organization's own advisories, which it can't read", async () => {
        await expect(scan({ ...request, database: { kind: "advisories", directory: "x" } })).rejects.toThrow(
            /choose grype/,
        );
    });
});
