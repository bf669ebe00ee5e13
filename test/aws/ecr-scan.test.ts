import { CreateRepositoryCommand, ECRClient, PutImageCommand } from "@aws-sdk/client-ecr";
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it } from "vitest";
import { RegistryClient, staticCredentials } from "../../drivers/registry";
import type { ScanReport } from "../../drivers/scanners";
import { EcrScanner } from "../../drivers/scanners/ecr";
import { operations } from "../../resources/vulnerability-scan/operations";
import { fakeClock } from "../registry/support";
import { pushDebianImage } from "../support/debian-image";
import { ECR_HTPASSWD, ECR_TOKEN, serveTokens } from "../support/ecr";
import {
    type AwsProxy,
    json,
    jsonError,
    type Moto,
    REGION,
    startAwsProxy,
    startMoto,
    useEnvironment,
} from "../support/moto";
import { type RunningRegistry, startRegistry } from "../support/registry";

let moto: Moto;
let proxy: AwsProxy;
let registry: RunningRegistry;
let client: RegistryClient;
let restore: () => void;
let digest: string;
let count = 0;

/** A new image in the registry that stands for ECR's, known to moto as well. */
async function push(): Promise<string> {
    const pushed = await pushDebianImage(client, "app", [{ name: "app", version: `${++count}` }]);
    const { bytes } = await client.getManifest("app", pushed.digest);
    const ecr = new ECRClient({ region: REGION });
    const input = { repositoryName: "app", imageManifest: bytes.toString(), imageDigest: pushed.digest };
    await ecr.send(new PutImageCommand(input));
    ecr.destroy();
    return pushed.digest;
}

beforeAll(async () => {
    [moto, registry] = await Promise.all([startMoto(), startRegistry({ htpasswd: ECR_HTPASSWD })]);
    proxy = await startAwsProxy(moto);
    const credentials = staticCredentials({ username: "AWS", password: ECR_TOKEN });
    client = new RegistryClient({ registry: registry.registry, plainHttp: true, credentials });
    // One attempt: what the SDK does with more is its own affair, and takes its time.
    restore = useEnvironment({ ...proxy.env, AWS_MAX_ATTEMPTS: "1" });
    const ecr = new ECRClient({ region: REGION });
    await ecr.send(new CreateRepositoryCommand({ repositoryName: "app" }));
    ecr.destroy();
});
afterAll(async () => {
    restore?.();
    await client?.close();
    await proxy?.stop();
    await Promise.all([moto?.close(), registry?.stop()]);
});
beforeEach(async () => {
    digest = await push();
    proxy.reset();
    serveTokens(proxy);
});
afterEach(() => proxy.reset());

const now = new Date();
const clock = fakeClock();
const scan = (more: object = {}): Promise<ScanReport> =>
    new EcrScanner(clock).scan({
        reference: `${registry.registry}/app@${digest}`,
        platform: "linux/arm64",
        plainHttp: true,
        ecr: { region: REGION, registryId: "123456789012" },
        database: { kind: "public" },
        now,
        ...more,
    });
const refusal = async (more: object = {}): Promise<Error> =>
    scan(more).then(
        () => new Error("it passed"),
        (caught) => caught,
    );

const seconds = (time: Date) => time.getTime() / 1000;
/** An answer in the form of the API reference, DescribeImageScanFindings. */
const answer = (
    status: string,
    more: { findings?: object[]; updated?: Date; nextToken?: string; [key: string]: unknown } = {},
) => {
    const { findings = [], updated = now, nextToken, ...rest } = more;
    return json({
        registryId: "123456789012",
        repositoryName: "app",
        imageId: { imageDigest: digest },
        imageScanStatus: { status, description: `it is ${status}` },
        ...(["COMPLETE", "ACTIVE"].includes(status) && {
            imageScanFindings: {
                imageScanCompletedAt: seconds(updated),
                vulnerabilitySourceUpdatedAt: seconds(updated),
                findingSeverityCounts: { HIGH: findings.length },
                findings,
            },
        }),
        ...(nextToken && { nextToken }),
        ...rest,
    });
};
const finding = (name: string, severity = "HIGH") => ({
    name,
    severity,
    uri: `https://example.com/${name}`,
    attributes: [
        { key: "package_name", value: "openssl" },
        { key: "package_version", value: "3.0.1" },
    ],
});
/** One reply after the other; the last stays. */
const inTurn = (...replies: (() => ReturnType<typeof json>)[]) => {
    let turn = 0;
    proxy.on("DescribeImageScanFindings", () =>
        (replies[Math.min(turn++, replies.length - 1)] as () => ReturnType<typeof json>)(),
    );
};
const scans = () => proxy.actions().filter((action) => /Scan/.test(action));

describe("ECR's own scan, from the emulator", () => {
    it("is started where nothing did, awaited and read", async () => {
        const report = await scan();
        expect(report).toMatchObject({ scanner: "ecr", scannerVersion: "basic", packages: undefined });
        expect(report.findings).toEqual([
            {
                id: "CVE-9999-9999",
                severity: "high",
                package: "moto_fake",
                version: "9.9.9",
                url: expect.stringContaining("CVE-9999-9999"),
            },
        ]);
        expect(report.database).toMatchObject({ source: "public", built: expect.stringMatching(/^20\d\d-/) });
        expect(scans().filter((action) => action === "StartImageScan")).toHaveLength(1);
    });

    it("is not started again where it is there", async () => {
        await scan();
        proxy.reset();
        await scan();
        expect(scans()).toEqual(["DescribeImageScanFindings"]);
    });

    it("refuses a release by its findings, and lets it pass where they are accepted", async () => {
        const inputs = (failOn: "high" | "critical") => ({
            repository: `${registry.registry}/app`,
            connection: { plainHttp: true, ecr: { region: REGION } },
            ...{ platform: "linux/arm64", digest, sbom: "", scanner: "ecr" as const },
            policy: { failOn, ignore: [], unfixed: "fail" as const, noPackages: "fail" as const },
            database: { kind: "public" as const },
        });
        await new EcrScanner(fakeClock()).scan({
            ...{ reference: `${registry.registry}/app@${digest}`, platform: "linux/arm64", plainHttp: true, now },
            ...{ ecr: { region: REGION }, database: { kind: "public" } },
        });
        await expect(operations.create(inputs("high"))).rejects.toThrow(
            "CVE-9999-9999 (high) in moto_fake 9.9.9: no fix yet",
        );
        const { outs } = await operations.create(inputs("critical"));
        expect(outs).toMatchObject({ scannedBy: "ecr basic", packages: -1, counts: { high: 1 }, source: "public" });
        const document = JSON.parse((await client.getBlob("app", outs.document.digest)).toString());
        expect(document.scanner).toMatchObject({
            uri: expect.stringContaining("docs.aws.amazon.com"),
            result: { findings: [{ name: "CVE-9999-9999" }] },
        });
    }, 300_000);

    it("of an image that is not there is told so", async () => {
        digest = `sha256:${"0".repeat(64)}`;
        const error = await refusal();
        expect(error).toMatchObject({ name: "AwsError", code: "NOT_FOUND" });
    });
});

describe("ECR's own scan, in the states that it can be in", () => {
    it("is awaited while it is pending and in progress, and read to the last page", async () => {
        const replies = [
            () => jsonError("ScanNotFoundException"),
            () => answer("PENDING"),
            () => answer("IN_PROGRESS"),
            () =>
                answer("COMPLETE", {
                    findings: [finding("CVE-1"), finding("CVE-2")],
                    nextToken: "second",
                    ...counts(4),
                }),
        ];
        let turn = 0;
        proxy.on("DescribeImageScanFindings", ({ input }) => {
            if (input.nextToken === "second")
                return answer("COMPLETE", { findings: [finding("CVE-3", "MEDIUM")], nextToken: "third" });
            if (input.nextToken === "third")
                return answer("COMPLETE", { findings: [finding("CVE-4", "INFORMATIONAL")] });
            return (replies[Math.min(turn++, 3)] as () => ReturnType<typeof json>)();
        });
        const { findings } = await scan();
        expect(findings.map(({ id, severity }) => `${id} ${severity}`)).toEqual([
            "CVE-1 high",
            "CVE-2 high",
            "CVE-3 medium",
            "CVE-4 negligible",
        ]);
        expect(scans()).not.toContain("StartImageScan");
    });
    /** The number of findings on all pages together. */
    const counts = (all: number) => ({
        imageScanFindings: {
            imageScanCompletedAt: seconds(now),
            vulnerabilitySourceUpdatedAt: seconds(now),
            findingSeverityCounts: { HIGH: all },
            findings: [finding("CVE-1"), finding("CVE-2")],
        },
    });

    it("refuses where a page is missing", async () => {
        inTurn(() => answer("COMPLETE", counts(4)));
        expect((await refusal()).message).toContain("ECR told 2 of 4 findings");
    });

    it.each([
        "UNSUPPORTED_IMAGE",
        "SCAN_ELIGIBILITY_EXPIRED",
        "FINDINGS_UNAVAILABLE",
        "LIMIT_EXCEEDED",
        "IMAGE_ARCHIVED",
        "A_NEW_ONE",
    ])("refuses what is %s", async (status) => {
        inTurn(() => answer(status));
        const { message } = await refusal();
        expect(message).toContain(`ECR's scan ended as ${status} (linux/arm64, ${registry.registry}/app@${digest})`);
        expect(message).toContain(`it is ${status}`);
        expect(message).toContain("next: ");
    });

    it("is tried once more where it has failed, and no oftener", async () => {
        inTurn(
            () => answer("FAILED"),
            () => answer("IN_PROGRESS"),
            () => answer("COMPLETE"),
        );
        expect((await scan()).findings).toEqual([]);
        expect(scans().filter((action) => action === "StartImageScan")).toHaveLength(1);
        proxy.reset();
        inTurn(() => answer("FAILED"));
        proxy.on("StartImageScan", () => json({}));
        expect((await refusal()).message).toContain("ended as FAILED");
        expect(scans().filter((action) => action === "StartImageScan")).toHaveLength(1);
    });

    it("is waited for where ECR may not be asked to start it: it does by itself when scans are enhanced", async () => {
        let turn = 0;
        proxy.on("DescribeImageScanFindings", () =>
            turn++ < 20 ? jsonError("ScanNotFoundException") : answer("ACTIVE", { findings: [] }),
        );
        proxy.on("StartImageScan", () => jsonError("ValidationException", "This feature is disabled"));
        expect((await scan()).scannerVersion).toBe("enhanced");
        expect(scans().filter((action) => action === "StartImageScan")).toHaveLength(1);
    });

    it("that never comes is given up, with what ECR said", async () => {
        proxy.on("DescribeImageScanFindings", () => jsonError("ScanNotFoundException"));
        proxy.on("StartImageScan", () =>
            jsonError("LimitExceededException", "The scan quota per image has been exceeded"),
        );
        const { message } = await refusal({ timeoutMs: 60_000 });
        expect(message).toContain("is not there after 60 s");
        expect(message).toContain("The scan quota per image has been exceeded");
    });

    it("of weeks ago is made anew, and refused where that can't be", async () => {
        const old = new Date(now.getTime() - 20 * 86_400_000);
        inTurn(
            () => answer("COMPLETE", { updated: old }),
            () => answer("COMPLETE"),
        );
        proxy.on("StartImageScan", () => json({}));
        expect((await scan()).database.built).toBe(now.toISOString());
        expect(scans()).toContain("StartImageScan");
        inTurn(() => answer("COMPLETE", { updated: old }));
        const error = await refusal();
        expect(error.name).toBe("DatabaseError");
        expect(error.message).toContain("20 days ago, at most 5 are accepted");
        expect((await scan({ database: { kind: "public", maxAgeDays: 30 } })).findings).toEqual([]);
    });

    it("tells package, version and fix of each of an enhanced finding's packages", async () => {
        const packages = [
            { name: "openssl", version: "3.0.1", packageManager: "OS", fixedInVersion: "3.0.2" },
            { name: "libssl3", version: "3.0.1", packageManager: "OS", fixedInVersion: "NotAvailable" },
        ];
        const details = {
            vulnerabilityId: "CVE-2026-1",
            sourceUrl: "https://example.com/1",
            vulnerablePackages: packages,
        };
        const enhancedFindings = [
            { severity: "UNTRIAGED", title: "CVE-2026-1 - openssl", packageVulnerabilityDetails: details },
        ];
        inTurn(() =>
            answer("ACTIVE", {
                imageScanFindings: {
                    imageScanCompletedAt: seconds(now),
                    findingSeverityCounts: { UNTRIAGED: 1 },
                    enhancedFindings,
                },
            }),
        );
        const common = {
            id: "CVE-2026-1",
            severity: "unknown",
            version: "3.0.1",
            ecosystem: "os",
            url: "https://example.com/1",
        };
        expect((await scan()).findings).toEqual([
            { ...common, package: "openssl", fixedIn: ["3.0.2"] },
            { ...common, package: "libssl3" },
        ]);
    });

    it.each<[string, () => ReturnType<typeof json>, string]>([
        [
            "a severity it does not know",
            () => answer("COMPLETE", { findings: [finding("CVE-1", "DREADFUL")] }),
            '"DREADFUL" is not a severity',
        ],
        ["a finding without a name", () => answer("COMPLETE", { findings: [{ severity: "HIGH" }] }), "without a name"],
        [
            "another image",
            () => answer("COMPLETE", { imageId: { imageDigest: `sha256:${"1".repeat(64)}` } }),
            "another was asked for",
        ],
        ["no time", () => answer("COMPLETE", { imageScanFindings: { findings: [] } }), "does not say when"],
    ])("refuses %s", async (_what, reply, said) => {
        inTurn(reply);
        proxy.on("StartImageScan", () => json({}));
        expect((await refusal()).message).toContain(said);
    });

    it.each([
        ["ThrottlingException", "THROTTLED"],
        ["ExpiredTokenException", "EXPIRED_CREDENTIALS"],
        ["AccessDeniedException", "DENIED"],
    ])("that can't be asked for (%s) refuses as %s", async (awsCode, code) => {
        proxy.on("DescribeImageScanFindings", () => jsonError(awsCode));
        expect(await refusal()).toMatchObject({ name: "AwsError", code });
    });

    it("says what it can't do: own advisories, other registries", async () => {
        expect((await refusal({ database: { kind: "advisories", directory: "a" } })).message).toContain("choose grype");
        expect((await refusal({ ecr: undefined })).message).toContain('has no "ecr"');
    });
});
