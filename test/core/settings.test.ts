import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { checkImageSettings, imageSettings, parseImageSettings } from "../../core/image-settings";
import { localSettings, parseLocalSettings } from "../../core/local-settings";
import { SettingsError, Unresolved } from "../../core/settings";
import { settingsTable } from "../../core/settings-table";
import { type BadSetting, badImageSettings, badLocalSettings } from "./bad-settings";

const now = new Date("2026-11-22T12:00:00Z");
const rightImage = { context: "../service", platforms: ["linux/amd64", "linux/arm64"], version: "1.4.2", sign: false };
const subject = 'MultiPlatformImage "app"';

function problemsIn(check: () => unknown): SettingsError {
    try {
        check();
    } catch (error) {
        if (error instanceof SettingsError) {
            return error;
        }
        throw error;
    }
    throw new Error("the settings were taken for right");
}

const imageProblems = (change: Record<string, unknown>) =>
    problemsIn(() => parseImageSettings(subject, { ...rightImage, ...change }, { now }));
const localProblems = (change: Record<string, unknown>) =>
    problemsIn(() => parseLocalSettings("local", change, { now }));

function expectProblem({ problems, message }: SettingsError, { path, found, fix }: BadSetting): void {
    const problem = problems.find((one) => one.path === path);
    expect(problem, message).toBeDefined();
    expect(problem?.found).toContain(found);
    expect(problem?.hint ?? problem?.expected).toContain(fix);
    expect(message).toContain(`  ${path}: ${problem?.found}; `);
    // No case's secret is repeated.
    expect(message).not.toContain("hunter2");
}

describe("image settings", () => {
    it("has cases enough", () => {
        expect(badImageSettings.length + badLocalSettings.length).toBeGreaterThanOrEqual(40);
    });

    it.each(badImageSettings)("tells of: $name", (bad) => {
        expectProblem(imageProblems(bad.change), bad);
    });

    it("writes the message of the design, all problems at once", () => {
        const wrong = {
            ...rightImage,
            platforms: ["linux/amd64", "linux/arm64/v9"],
            test: { command: ["/usr/local/bin/service", "--version"] },
            scan: { failOn: "high", ignore: [{ id: "CVE-2026-0001", reason: "not reachable", until: "2026-11-01" }] },
            sign: { key: "awskms:///alias/images" },
        };
        expect(problemsIn(() => parseImageSettings(subject, wrong, { now })).message).toBe(
            [
                'MultiPlatformImage "app": 2 problems',
                '  platforms[1]: "linux/arm64/v9" is not a platform; did you mean "linux/arm64" (= linux/arm64/v8)?',
                "  scan.ignore[0].until: 2026-11-01 has passed; renew the decision or remove the entry",
            ].join("\n"),
        );
    });

    it("tells of any wrong settings together", () => {
        // Cases that change different settings can stand in one program; each must still be told.
        const several = fc.uniqueArray(
            fc.constantFrom(...badImageSettings.filter(({ name }) => !name.includes("with noCache"))),
            {
                selector: ({ change }) => Object.keys(change).sort().join(),
                minLength: 2,
                maxLength: 8,
            },
        );
        const apart = several.filter((cases) => {
            const names = cases.flatMap(({ change }) => Object.keys(change));
            // What is right depends on the version's tags, on Git's and on the platforms: those stay as they are.
            return (
                new Set(names).size === names.length &&
                !(names.includes("gitTags") && names.includes("immutableTags")) &&
                !names.some((name) => ["version", "platforms", "tags"].includes(name))
            );
        });
        fc.assert(
            fc.property(apart, (cases) => {
                const error = imageProblems(Object.assign({}, ...cases.map(({ change }) => change)));
                for (const bad of cases) {
                    expectProblem(error, bad);
                }
                expect(error.message.split("\n")[0]).toBe(`${subject}: ${error.problems.length} problems`);
            }),
        );
    });

    it("fills in defaults, and writes platforms in their normal spelling", () => {
        const settings = parseImageSettings(
            subject,
            { context: ".", platforms: ["x86_64", "linux/arm64/v8"], sign: false },
            { now },
        );
        expect(settings).toMatchObject({
            platforms: ["linux/amd64", "linux/arm64"],
            emulation: "refuse",
            sbom: { format: "spdx-json" },
            scan: { scanner: "grype", failOn: "high", ignore: [], unfixed: "fail", noPackages: "fail" },
            noCache: false,
            tags: [],
        });
    });

    it("takes everything an image can have", () => {
        const digest = "0123456789abcdef0123456789abcdef01234567";
        const full = {
            ...rightImage,
            contexts: { base: "docker-image://registry.example.com/base:1", "alpine:3": "../alpine" },
            dockerfile: { inline: "FROM base" },
            target: "release",
            buildArgs: { VERSION: "1.4.2", EMPTY: "" },
            secrets: { token: "hunter2" },
            ssh: [{ id: "default", paths: ["/run/agent"] }],
            labels: { "org.opencontainers.image.title": "app" },
            annotations: { "org.opencontainers.image.title": "app" },
            addHosts: ["db:10.0.0.5", "six:fd00::1", "gateway:host-gateway"],
            network: "none",
            pull: true,
            cacheFrom: [{ registry: { ref: "registry.example.com/app:cache" } }, { gha: {} }, { raw: "type=gha" }],
            cacheTo: [{ registry: { ref: "registry.example.com/app:cache", mode: "max" } }, { inline: {} }],
            tags: ["latest", "main"],
            immutableTags: ["1.4.2"],
            immutable: ["versions", "commits"],
            gitTags: { folder: "..", branch: true, commit: false, date: true, dirty: "mark" },
            emulation: "allow",
            test: { command: ["/app"], platforms: ["linux/aarch64"], timeout: "1 minute" },
            sbom: false,
            scan: {
                ignore: [{ id: "GHSA-abcd-efgh-ijkl", package: "a", reason: "r", until: "2026-11-22" }],
                database: {},
            },
            sign: { keyless: { identity: "a@example.com", issuer: "https://token.example.com" } },
            revision: digest,
        };
        const settings = parseImageSettings(subject, full, { now });
        expect(settings.sign).toEqual(full.sign);
        expect(settings.gitTags).toEqual(full.gitTags);
        expect(settings.scan).toMatchObject({ database: { maxAge: "5 days" } });
        for (const stage of ["test", "sbom", "scan", "sign"]) {
            expect(parseImageSettings(subject, { ...rightImage, [stage]: false }, { now })).toMatchObject({
                [stage]: false,
            });
        }
        for (const key of [
            "awskms:///alias/a",
            "gcpkms://projects/p/locations/l/keyRings/r/cryptoKeys/k",
            "hashivault://k",
            "azurekms://v.vault.azure.net/k",
        ]) {
            expect(parseImageSettings(subject, { ...rightImage, sign: { key } }, { now }).sign).toEqual({ key });
        }
    });

    it("does not survive on anything that is no table", () => {
        fc.assert(
            fc.property(fc.anything(), (value) => {
                // Whatever comes, there are settings or a SettingsError; an empty table lacks platforms and context.
                expect(problemsIn(() => parseImageSettings(subject, value, { now })).problems.length).toBeGreaterThan(
                    0,
                );
            }),
        );
    });
});

describe("values that are not known yet", () => {
    const later = new Unresolved();

    it("pass wherever they stand, and stay", () => {
        const late = {
            context: later,
            platforms: ["x86_64", later],
            buildArgs: later,
            secrets: { token: later },
            cacheFrom: [later, { registry: { ref: later } }],
            dockerfile: { inline: later },
            tags: [later, "main"],
            immutableTags: ["main", later],
            version: later,
            test: { command: ["a", later], platforms: ["linux/riscv64"] },
            scan: { failOn: later, ignore: [{ id: later, reason: "r", until: later }] },
            sign: { key: { privateKey: later, password: later, publicKey: later } },
        };
        const checked = checkImageSettings(subject, late, { now });
        expect(checked).toMatchObject({ platforms: ["linux/amd64", later], context: later, scan: { failOn: later } });
        for (const name of Object.keys(parseImageSettings(subject, rightImage, { now }))) {
            expect(() => checkImageSettings(subject, { ...rightImage, [name]: later }, { now })).not.toThrow();
        }
    });

    it("hide no problem beside them", () => {
        const wrong = {
            context: later,
            platforms: [later, "linux/amr64"],
            sign: { key: { privateKey: later, password: 5 } },
        };
        const { problems } = problemsIn(() => checkImageSettings(subject, wrong, { now }));
        expect(problems.map(({ path }) => path)).toEqual(["platforms[1]", "sign.key.password", "sign.key.publicKey"]);
    });

    it("are problems once everything should be known", () => {
        const { message } = imageProblems({ context: later, tags: [later] });
        expect(message).toContain("context: not known yet");
        expect(message).toContain("tags[0]: not known yet");
    });
});

describe("local settings", () => {
    it.each(badLocalSettings)("tells of: $name", (bad) => {
        expectProblem(localProblems(bad.change), bad);
    });

    it("needs no setting at all", () => {
        expect(parseLocalSettings("local", {}, { now })).toMatchObject({
            registry: { port: 5000 },
            nodes: {},
            emulation: "allow",
            image: { context: "examples/hello", platforms: ["linux/amd64", "linux/arm64"], repository: "hello" },
            stateFolder: ".buildfleet",
        });
    });
});

describe("settingsTable", () => {
    it("has a line for each setting of the local stack, each described", () => {
        const rows = settingsTable(localSettings({ now }));
        expect(rows.find(({ path }) => path === "registry.port")).toEqual({
            path: "registry.port",
            type: "a whole number from 1 to 65535",
            default: "5000",
            description: "The registry's port on the loopback interface",
        });
        expect(rows.find(({ path }) => path === "scan")?.type).toBe("false, or table");
        expect(rows.find(({ path }) => path === "scan.ignore[].until")?.type).toBe('a day such as "2026-12-31"');
        expect(rows.filter(({ description }) => description === "").map(({ path }) => path)).toEqual([]);
        expect(new Set(rows.map(({ path }) => path)).size).toBe(rows.length);
    });

    it("knows every setting that parsing knows", () => {
        const tops = new Set(settingsTable(imageSettings({ now })).map(({ path }) => path.split(/[.[]/)[0]));
        expect(tops).toEqual(new Set(Object.keys(imageSettings({ now }).shape)));
    });
});
