import type { EcrAccess } from "../../core/registry-connection";
import type { Finding } from "../../core/verdict";

/** What findings are looked up in. */
export type ScanDatabase =
    /** The scanner's public database; one built longer ago than this refuses. Default 5 days. */
    | { kind: "public"; maxAgeDays?: number }
    /** The organization's own advisories: a folder of YAML files. */
    | { kind: "advisories"; directory: string };

/** Which image to scan, and how to reach it. */
export interface ScanRequest {
    /** `host/repository@sha256:…`, one platform's manifest. */
    reference: string;
    /** `linux/arm64`. */
    platform: string;
    /** The image's bill of materials in syft's format, for scanners that read one. */
    sbomPath?: string;
    plainHttp: boolean;
    /** Path of the registry's CA, PEM. */
    ca?: string;
    /** The registry lets in only who has a certificate. */
    asksForClientCertificate?: boolean;
    /** Folder of the Docker configuration with the registry's credentials. */
    dockerConfig?: string;
    /** Where the registry is ECR. */
    ecr?: EcrAccess;
    database: ScanDatabase;
    /** Decides how old the database is. */
    now: Date;
    timeoutMs?: number;
    signal?: AbortSignal;
}

/** What a scanner found: everything it knows of, whatever the policy thinks of it. */
export interface ScanReport {
    scanner: string;
    scannerVersion: string;
    database: {
        source: ScanDatabase["kind"];
        /** ISO 8601, of the public database. */
        built?: string;
        /** How many advisories the database holds, where they are the organization's own. */
        advisories?: number;
    };
    findings: Finding[];
    /** How many packages were looked at; undefined where the scanner does not say, and refuses itself what has none. */
    packages: number | undefined;
    /** The scanner's own report, JSON. */
    raw: Buffer;
}

/** Looks for known vulnerabilities in an image's packages. */
export interface Scanner {
    readonly name: string;
    /**
     * @throws CommandError when the scanner fails, DatabaseError when it has no database or one too old, Error when its
     * report is not understood. It never reports an image clean that it could not scan.
     */
    scan(request: ScanRequest): Promise<ScanReport>;
}
