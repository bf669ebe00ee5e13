import { execFileSync } from "node:child_process";
import { createHash } from "node:crypto";
import { mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, statSync, writeFileSync } from "node:fs";
import { createServer, type Server } from "node:http";
import type { AddressInfo } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it, vi } from "vitest";
import { RegistryClient } from "../../drivers/registry";
import type { ScanReport, ScanRequest } from "../../drivers/scanners";
import { advisoryDatabase } from "../../drivers/scanners/advisories";
import { generateSbom } from "../../drivers/syft";
import { pushDebianImage } from "../support/debian-image";
import { type RunningRegistry, startRegistry } from "../support/registry";
import { isolateCache, opensslAdvisory, writeAdvisories } from "../support/scans";
import { standIn } from "../support/stand-in";

const DAY_MS = 86_400_000;
const bash = { name: "bash", version: "5.2.15-2+b7" };
const vulnerable = { name: "openssl", version: "3.0.11-1~deb12u1" };
const fixed = { name: "openssl", version: "3.0.11-1~deb12u2" };

let root: string;
let registry: RunningRegistry;
let restoreCache: () => void;
let advisories: string;
/** A vulnerable arm64 image, a fixed amd64 one and one without packages, each with its bill of materials. */
let images: Record<"vulnerable" | "fixed" | "empty", ScanRequest>;

beforeAll(async () => {
    root = mkdtempSync(join(tmpdir(), "buildfleet-grype-"));
    restoreCache = isolateCache(join(root, "cache"));
    advisories = writeAdvisories(join(root, "advisories"), opensslAdvisory, {
        ...opensslAdvisory,
        id: "ORG-2026-0002",
        package: "zlib1g",
        affected: "< 99",
        fixed: "99",
    });
    registry = await startRegistry();
    const client = new RegistryClient({ registry: registry.registry, plainHttp: true });
    const image = async (packages: { name: string; version: string }[], architecture: string): Promise<ScanRequest> => {
        const { reference } = await pushDebianImage(client, "app", packages, architecture);
        const outDir = mkdtempSync(join(root, "sbom-"));
        const { syftJsonPath } = await generateSbom({ reference, outDir, plainHttp: true });
        return {
            reference,
            platform: `linux/${architecture}`,
            sbomPath: syftJsonPath,
            plainHttp: true,
            database: { kind: "advisories", directory: advisories },
            now: new Date(),
        };
    };
    images = {
        vulnerable: await image([bash, vulnerable], "arm64"),
        fixed: await image([bash, fixed], "amd64"),
        empty: await image([], "amd64"),
    };
});
afterAll(async () => {
    await registry.stop();
    restoreCache();
    rmSync(root, { recursive: true, force: true });
});

let environment: NodeJS.ProcessEnv;
let scanners: typeof import("../../drivers/scanners");

beforeEach(async () => {
    environment = { ...process.env };
    vi.resetModules(); // what is done once per process (a database's update, the question whether it can be reached)
    scanners = await import("../../drivers/scanners/index.js");
});
afterEach(() => {
    process.env = environment;
});

const scan = (request: ScanRequest): Promise<ScanReport> => scanners.scannerNamed("grype").scan(request);

describe("grype against the organization's own advisories", () => {
    it("finds the vulnerable package of one platform and passes the fixed one of the other", async () => {
        const report = await scan(images.vulnerable);
        expect(report).toMatchObject({
            scanner: "grype",
            scannerVersion: expect.stringMatching(/^\d+\.\d+\.\d+$/),
            database: { source: "advisories", advisories: 2 },
            packages: 2,
            findings: [
                {
                    id: "ORG-2026-0001",
                    severity: "critical",
                    package: "openssl",
                    version: vulnerable.version,
                    fixedIn: [fixed.version],
                    ecosystem: "deb",
                },
            ],
        });
        expect(JSON.parse(report.raw.toString()).matches).toHaveLength(1);
        expect(await scan(images.fixed)).toMatchObject({ packages: 2, findings: [] });
    });

    it("says that it saw no packages", async () => {
        expect(await scan(images.empty)).toMatchObject({ packages: 0, findings: [] });
    });

    it("is not changed by configuration files or variables of whoever runs it", async () => {
        const home = mkdtempSync(join(root, "home-"));
        writeFileSync(join(home, ".grype.yaml"), `ignore: [{ vulnerability: ${opensslAdvisory.id} }]\n`);
        Object.assign(process.env, {
            HOME: home,
            GRYPE_IGNORE_STATES: "fixed",
            GRYPE_ONLY_NOTFIXED: "true",
            GRYPE_FAIL_ON_SEVERITY: "low",
        });
        expect((await scan(images.vulnerable)).findings).toHaveLength(1);
    });

    it("refuses a bill of materials of another image, and none", async () => {
        await expect(scan({ ...images.vulnerable, sbomPath: images.fixed.sbomPath })).rejects.toThrow(/was asked for/);
        await expect(scan({ ...images.vulnerable, sbomPath: undefined })).rejects.toThrow(/bill of materials/);
    });

    it.each([
        ["exit 1", /grype .*exited with 1 \(linux\/arm64, /],
        ["exit 3", /exited with 3/],
        ["kill -KILL $$", /was ended by SIGKILL/],
    ])("refuses when grype (a stand-in) crashes by %s, and shows its last lines", async (crash, message) => {
        const folder = mkdtempSync(join(root, "stand-in-"));
        standIn(folder, "grype", `echo 'panic: something broke' >&2; ${crash}`);
        const error = await scan(images.vulnerable).catch((each: Error) => each);
        expect(String(error)).toMatch(message);
        expect(String(error)).toContain("panic: something broke");
    });

    it.each(["0", "2"])("refuses when grype (a stand-in) ends with %s and wrote no report", async (code) => {
        standIn(mkdtempSync(join(root, "stand-in-")), "grype", `exit ${code}`);
        await expect(scan(images.vulnerable)).rejects.toThrow(/without a report/);
    });

    it("refuses when grype (a stand-in) takes longer than allowed", async () => {
        standIn(mkdtempSync(join(root, "stand-in-")), "grype", "exec sleep 600");
        await expect(scan({ ...images.vulnerable, timeoutMs: 300 })).rejects.toThrow(/no result within 0.3 s/);
    });
});

describe("the database of advisories", () => {
    const folder = () => join(root, "cache", "advisories");

    it("is made once for its content, also when several ask at the same time", async () => {
        const directory = writeAdvisories(mkdtempSync(join(root, "own-")), { ...opensslAdvisory, id: "ORG-1" });
        const [first, second] = await Promise.all([advisoryDatabase(directory), advisoryDatabase(directory)]);
        expect(second).toEqual(first);
        const { ino } = statSync(first.path);
        expect(await advisoryDatabase(directory)).toEqual(first);
        expect(statSync(first.path).ino).toBe(ino);
        writeAdvisories(directory, { ...opensslAdvisory, id: "ORG-1", severity: "low" });
        expect((await advisoryDatabase(directory)).path).not.toBe(first.path);
        expect(readdirSync(folder()).filter((name) => name.includes("tmp"))).toEqual([]);
    });

    it("of another process that was quicker is used", async () => {
        const directory = writeAdvisories(mkdtempSync(join(root, "own-")), { ...opensslAdvisory, id: "ORG-2" });
        const real = execFileSync("sh", ["-c", "command -v grype-advisories"]).toString().trim();
        // While ours is being made, another one appears under its final name.
        const script = `"${real}" "$@" || exit; cp -r "$(dirname "$4")" "$(dirname "$4" | sed 's/\\.[^/]*$//')"; echo '{"advisories":7}' > "$(dirname "$4" | sed 's/\\.[^/]*$//')/advisories.json"`;
        standIn(mkdtempSync(join(root, "stand-in-")), "grype-advisories", script);
        expect(await advisoryDatabase(directory)).toMatchObject({ advisories: 7 });
        expect(readdirSync(folder()).filter((name) => name.includes("tmp"))).toEqual([]);
    });

    it("is refused with everything that is wrong in the advisories, and nothing of it is kept", async () => {
        const bad = { ...opensslAdvisory, id: "ORG-3", severity: "dreadful", affected: "" };
        const directory = writeAdvisories(mkdtempSync(join(root, "own-")), opensslAdvisory, bad);
        const before = readdirSync(folder());
        const error = await advisoryDatabase(directory).catch((each: Error) => each);
        expect(String(error)).toMatch(
            /2 problems[\s\S]*advisory-1\.yaml: affected[\s\S]*advisory-1\.yaml: severity.*dreadful/,
        );
        expect(readdirSync(folder())).toEqual(before);
    });

    it("is refused for a folder that is missing or empty", async () => {
        await expect(advisoryDatabase(join(root, "nowhere"))).rejects.toThrow(
            /can't be read[\s\S]*next: name a folder/,
        );
        await expect(advisoryDatabase(mkdtempSync(join(root, "empty-")))).rejects.toThrow(/there are no advisories in/);
    });

    it("is refused when the program that makes it (a stand-in) breaks down", async () => {
        const directory = writeAdvisories(mkdtempSync(join(root, "own-")), { ...opensslAdvisory, id: "ORG-4" });
        standIn(mkdtempSync(join(root, "stand-in-")), "grype-advisories", "echo 'disk full' >&2; exit 1");
        await expect(advisoryDatabase(directory)).rejects.toThrow(/disk full/);
    });
});

describe("grype against the public database", () => {
    let mirror: Server;
    let url: string;
    /** What the mirror serves; nothing: 404. */
    let files: Map<string, Buffer>;
    let built: Date;

    beforeAll(async () => {
        // A mirror as GRYPE_DB_UPDATE_URL names one. Its database is the one of the advisories, built on the newest one's day.
        const { path } = await advisoryDatabase(advisories);
        const archive = join(root, "database.tar.gz");
        execFileSync("tar", [
            "--create",
            "--gzip",
            "--file",
            archive,
            "--directory",
            join(path, "6"),
            "vulnerability.db",
        ]);
        const bytes = readFileSync(archive);
        built = new Date(opensslAdvisory.date);
        const latest = {
            status: "active",
            schemaVersion: "v6.1.0",
            built: built.toISOString(),
            path: "database.tar.gz",
            checksum: `sha256:${createHash("sha256").update(bytes).digest("hex")}`,
        };
        files = new Map([
            ["/databases/v6/latest.json", Buffer.from(JSON.stringify(latest))],
            ["/databases/v6/database.tar.gz", bytes],
        ]);
        mirror = createServer((request, response) => {
            const file = files.get(new URL(request.url ?? "", "http://mirror").pathname);
            response.writeHead(file ? 200 : 404, { "content-length": file?.length ?? 0 });
            response.end(request.method === "HEAD" ? undefined : file);
        });
        await new Promise<void>((resolve) => mirror.listen(0, "127.0.0.1", resolve));
        url = `http://127.0.0.1:${(mirror.address() as AddressInfo).port}/databases`;
    });
    afterAll(() => {
        mirror.closeAllConnections();
        mirror.close();
    });

    /** An empty home for the database, and a mirror that is there or refuses connections. */
    function publicDatabase(reachable: boolean): string {
        const home = mkdtempSync(join(root, "public-"));
        process.env.GRYPE_DB_CACHE_DIR = home;
        process.env.GRYPE_DB_UPDATE_URL = reachable ? url : "http://127.0.0.1:1/databases";
        return home;
    }
    const request = (now: Date, maxAgeDays?: number): ScanRequest => ({
        ...images.vulnerable,
        database: { kind: "public", ...(maxAgeDays === undefined ? {} : { maxAgeDays }) },
        now,
    });
    const dayAfter = (days: number) => new Date(built.getTime() + days * DAY_MS);

    it("downloads it, once for scans side by side, and finds what is in it", async () => {
        publicDatabase(true);
        const reports = await Promise.all([scan(request(dayAfter(1))), scan(request(dayAfter(1)))]);
        for (const report of reports) {
            expect(report.findings.map((finding) => finding.id)).toEqual(["ORG-2026-0001"]);
            expect(report.database).toEqual({ source: "public", built: "2026-01-31T00:00:00Z" });
        }
    });

    it("refuses without one, and says why there is none and what to do", async () => {
        publicDatabase(false);
        const error = await scan(request(dayAfter(1))).catch((each: Error) => each);
        expect(error).toBeInstanceOf(scanners.DatabaseError);
        expect(String(error)).toMatch(
            /no vulnerability database[\s\S]*connection refused[\s\S]*next: let this machine reach/,
        );
    });

    it("refuses one that is too old, and takes a fresh one although it could not be updated", async () => {
        publicDatabase(true);
        await scan(request(dayAfter(1)));
        process.env.GRYPE_DB_UPDATE_URL = "http://127.0.0.1:1/databases";
        vi.resetModules();
        scanners = await import("../../drivers/scanners/index.js");
        await expect(scan(request(dayAfter(6)))).rejects.toThrow(/too old: built on 2026-01-31, 6 days ago, at most 5/);
        expect((await scan(request(dayAfter(4)))).findings).toHaveLength(1);
        expect((await scan(request(dayAfter(6), 30))).findings).toHaveLength(1);
    });

    it("refuses one whose bytes changed after the download", async () => {
        const home = publicDatabase(true);
        await scan(request(dayAfter(1)));
        const database = join(home, "6", "vulnerability.db");
        writeFileSync(database, Buffer.concat([readFileSync(database), Buffer.alloc(4096)]));
        await expect(scan(request(dayAfter(1)))).rejects.toThrow(/checksum/);
    });

    it("knows whether it can be reached, within the time given", async () => {
        publicDatabase(true);
        expect(await scanners.publicDatabaseReachable({ timeoutMs: 30_000 })).toBe(true);
        process.env.GRYPE_DB_UPDATE_URL = `${url}/elsewhere`;
        expect(await scanners.publicDatabaseReachable({ timeoutMs: 30_000 })).toBe(true); // asked once per process
        for (const unreachable of [`${url}/elsewhere`, "http://127.0.0.1:1/databases"]) {
            process.env.GRYPE_DB_UPDATE_URL = unreachable;
            vi.resetModules();
            scanners = await import("../../drivers/scanners/index.js");
            expect(await scanners.publicDatabaseReachable({ timeoutMs: 3_000 })).toBe(false);
        }
    });

    it("that does not answer is not reachable, soon", async () => {
        const silent = createServer(() => undefined);
        await new Promise<void>((resolve) => silent.listen(0, "127.0.0.1", resolve));
        process.env.GRYPE_DB_UPDATE_URL = `http://127.0.0.1:${(silent.address() as AddressInfo).port}/databases`;
        const started = Date.now();
        expect(await scanners.publicDatabaseReachable({ timeoutMs: 500 })).toBe(false);
        expect(Date.now() - started).toBeLessThan(20_000);
        silent.closeAllConnections();
        silent.close();
    });
});

it("needs no folder but its own: nothing is left in the temporary folder", async () => {
    const folder = join(root, "tmp");
    mkdirSync(folder);
    process.env.TMPDIR = folder;
    await scan(images.vulnerable);
    expect(readdirSync(folder)).toEqual([]);
});
