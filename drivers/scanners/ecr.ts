import type * as Sdk from "@aws-sdk/client-ecr";
import { parseReference } from "../../core/reference";
import type { EcrAccess } from "../../core/registry-connection";
import type { Finding, Severity } from "../../core/verdict";
import { withAws } from "../aws/clients";
import { AwsError } from "../aws/errors";
import { type Clock, systemClock } from "../registry/retry";
import { DEFAULT_MAX_AGE_DAYS, requireFresh } from "./database";
import type { Scanner, ScanReport, ScanRequest } from "./scanner";

type Page = Sdk.DescribeImageScanFindingsCommandOutput;
/** ECR begins to scan a moment after the push. */
const GRACE_MS = 10_000;
const POLL_MS = 3_000;
/** Basic scans take under a minute, the first enhanced one of a repository several. */
const TIMEOUT_MS = 900_000;

const NEXT = "look at the image's scan in ECR's console, or choose another scanner (scan.scanner)";

/** What ECR's states mean to a gate (API reference, ImageScanStatus); any other refuses. */
const DONE = ["COMPLETE", "ACTIVE"];
const UNDER_WAY = ["PENDING", "IN_PROGRESS"];

/**
 * ECR's own scan of the image, basic or enhanced (Amazon Inspector), whichever the registry is set to: awaited after the push, and
 * started where nothing started it. ECR tells findings and not what it looked at, so there is no number of packages; an
 * image whose packages it can't read it calls unsupported, and that refuses.
 */
export class EcrScanner implements Scanner {
    readonly name = "ecr";

    constructor(private readonly clock: Clock = systemClock) {}

    async scan(request: ScanRequest): Promise<ScanReport> {
        const { ecr } = request;
        if (!ecr) throw new Error(`ECR scans what is in ECR: the connection of ${request.reference} has no "ecr"`);
        if (request.database.kind !== "public") {
            throw new Error("ECR can't scan against your own advisories; choose grype, or leave the advisories out");
        }
        const { maxAgeDays = DEFAULT_MAX_AGE_DAYS } = request.database;
        const sdk = await import("@aws-sdk/client-ecr");
        return withAws("ecr", ecr.region, async (send) => {
            const image = new ScannedImage(request, ecr, sdk, send, this.clock);
            let first = await image.settled();
            const isOld = (page: Page) => age(page, request.now) > maxAgeDays;
            if (isOld(first)) first = await image.again();
            const pages = await image.remaining(first);
            return report(pages, (built) => requireFresh("ecr", built, { maxAgeDays, now: request.now }, NEXT));
        });
    }
}

/** One image's scan on the far side. */
class ScannedImage {
    private readonly where: string;
    private readonly target: { registryId?: string; repositoryName: string; imageId: { imageDigest: string } };
    private readonly began: number;
    private asked = false;
    private refusal = "";

    constructor(
        private readonly request: ScanRequest,
        ecr: EcrAccess,
        private readonly sdk: typeof Sdk,
        private readonly send: Sdk.ECRClient["send"],
        private readonly clock: Clock,
    ) {
        const { repository, digest = "" } = parseReference(request.reference);
        this.where = `${request.platform}, ${request.reference}`;
        this.target = {
            ...(ecr.registryId === undefined ? {} : { registryId: ecr.registryId }),
            repositoryName: repository,
            imageId: { imageDigest: digest },
        };
        this.began = clock.now();
    }

    private describe(nextToken?: string): Promise<Page> {
        const page = nextToken === undefined ? {} : { nextToken };
        return this.send(new this.sdk.DescribeImageScanFindingsCommand({ ...this.target, ...page }));
    }

    /** The first page of a scan that is done. */
    async settled(): Promise<Page> {
        for (;;) {
            const page = await this.describe().catch((error: unknown) => {
                if (error instanceof AwsError && error.awsCode === "ScanNotFoundException") return undefined;
                throw error;
            });
            const { status = "", description = "" } = page?.imageScanStatus ?? {};
            if (page && DONE.includes(status)) return page;
            const waited = this.clock.now() - this.began;
            if (!page && !this.asked && waited >= GRACE_MS) await this.start();
            // What failed once may have been cut off.
            else if (status === "FAILED" && !this.asked) await this.start();
            else if (page && !UNDER_WAY.includes(status))
                throw this.refused(`ended as ${status || "nothing"}`, description);
            const limit = this.request.timeoutMs ?? TIMEOUT_MS;
            if (waited > limit)
                throw this.refused(`is ${status || "not there"} after ${Math.round(limit / 1000)} s`, this.refusal);
            await this.clock.sleep(POLL_MS, this.request.signal);
        }
    }

    /** Scans once more, for what was known too long ago. */
    async again(): Promise<Page> {
        await this.start();
        await this.clock.sleep(POLL_MS, this.request.signal);
        return this.settled();
    }

    /** ECR scans an image once a day when asked, and by itself where scanning is enhanced: a refusal is no end yet. */
    private async start(): Promise<void> {
        this.asked = true;
        try {
            await this.send(new this.sdk.StartImageScanCommand(this.target));
        } catch (error) {
            const known = ["LimitExceededException", "ValidationException"];
            if (!(error instanceof AwsError) || !known.includes(error.awsCode)) throw error;
            this.refusal = `${error.action} was refused: ${error.reason}`;
        }
    }

    async remaining(first: Page): Promise<Page[]> {
        const pages = [first];
        for (let token = first.nextToken; token; token = pages.at(-1)?.nextToken)
            pages.push(await this.describe(token));
        const digests = pages.map(({ imageId }) => imageId?.imageDigest);
        const wrong = digests.find((digest) => digest !== this.target.imageId.imageDigest);
        if (wrong !== undefined || digests.includes(undefined))
            throw this.refused(`is one of ${wrong ?? "no image"}`, "another was asked for");
        return pages;
    }

    private refused(what: string, why: string): Error {
        return new Error(`ECR's scan ${what} (${this.where})${why ? `: ${why}` : ""}\nnext: ${NEXT}`);
    }
}

const DAY_MS = 86_400_000;

/** How old the knowledge is that an image was scanned with. */
function age(page: Page, now: Date): number {
    const { vulnerabilitySourceUpdatedAt, imageScanCompletedAt } = page.imageScanFindings ?? {};
    const known = vulnerabilitySourceUpdatedAt ?? imageScanCompletedAt;
    return known ? (now.getTime() - known.getTime()) / DAY_MS : Number.POSITIVE_INFINITY;
}

function report(pages: Page[], check: (built: string) => void): ScanReport {
    const parts = pages.map(({ imageScanFindings }) => imageScanFindings ?? {});
    const [{ vulnerabilitySourceUpdatedAt, imageScanCompletedAt, findingSeverityCounts = {} } = {}] = parts;
    const built = (vulnerabilitySourceUpdatedAt ?? imageScanCompletedAt)?.toISOString();
    if (built === undefined) throw new Error("ECR's scan does not say when it was done");
    check(built);
    const basic = parts.flatMap(({ findings = [] }) => findings);
    const enhanced = parts.flatMap(({ enhancedFindings = [] }) => enhancedFindings);
    const isEnhanced = pages[0]?.imageScanStatus?.status === "ACTIVE" || enhanced.length > 0;
    const counted = Object.values(findingSeverityCounts).reduce((sum, count) => sum + (count ?? 0), 0);
    if (!isEnhanced && counted !== basic.length)
        throw new Error(`ECR told ${basic.length} of ${counted} findings; run again`);
    return {
        scanner: "ecr",
        scannerVersion: isEnhanced ? "enhanced" : "basic",
        database: { source: "public", built },
        findings: [...basic.map(ofBasic), ...enhanced.flatMap(ofEnhanced)],
        packages: undefined,
        // Without the times: a scan that finds the same says the same.
        raw: Buffer.from(JSON.stringify({ findingSeverityCounts, findings: basic, enhancedFindings: enhanced })),
    };
}

const SEVERITIES: Record<string, Severity> = {
    CRITICAL: "critical",
    HIGH: "high",
    MEDIUM: "medium",
    LOW: "low",
    INFORMATIONAL: "negligible",
    UNDEFINED: "unknown",
    UNTRIAGED: "unknown",
};

function severityOf(word: string | undefined): Severity {
    const known = SEVERITIES[word ?? "UNDEFINED"];
    if (known === undefined) throw new Error(`"${word}" is not a severity of ECR's that this version knows`);
    return known;
}

function ofBasic({ name, severity, uri, attributes = [] }: Sdk.ImageScanFinding): Finding {
    if (!name) throw new Error("ECR told a finding without a name");
    const attribute = (key: string) => attributes.find((each) => each.key === key)?.value ?? "";
    return {
        id: name,
        severity: severityOf(severity),
        package: attribute("package_name"),
        version: attribute("package_version"),
        ...(uri ? { url: uri } : {}),
    };
}

function ofEnhanced({
    severity,
    title,
    packageVulnerabilityDetails: details,
}: Sdk.EnhancedImageScanFinding): Finding[] {
    const id = details?.vulnerabilityId ?? title;
    if (!id) throw new Error("ECR told an enhanced finding without a name");
    const { vulnerablePackages: packages = [], sourceUrl } = details ?? {};
    return (packages.length > 0 ? packages : [{}]).map(
        ({ name = "", version = "", fixedInVersion, packageManager }: Sdk.VulnerablePackage) => ({
            id,
            severity: severityOf(severity),
            package: name,
            version,
            // What Inspector writes where there is none.
            ...(fixedInVersion && fixedInVersion !== "NotAvailable" ? { fixedIn: [fixedInVersion] } : {}),
            ...(packageManager ? { ecosystem: packageManager.toLowerCase() } : {}),
            ...(sourceUrl ? { url: sourceUrl } : {}),
        }),
    );
}
