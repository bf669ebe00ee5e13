import { EcrScanner } from "./ecr";
import { GrypeScanner } from "./grype";
import type { Scanner } from "./scanner";
import { TrivyScanner } from "./trivy";

export { DatabaseError } from "./database";
export { publicDatabaseReachable } from "./grype";
export type { ScanDatabase, Scanner, ScanReport, ScanRequest } from "./scanner";

const scanners = {
    grype: () => new GrypeScanner(),
    trivy: () => new TrivyScanner(),
    ecr: () => new EcrScanner(),
} satisfies Record<string, () => Scanner>;

export type ScannerName = keyof typeof scanners;

/** The scanner of that name. */
export function scannerNamed(name: ScannerName): Scanner {
    return scanners[name]();
}
