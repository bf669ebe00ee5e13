import { describe, expect, it } from "vitest";
import { awsSettings, parseAwsSettings } from "../../core/aws-settings";
import { SettingsError } from "../../core/settings";
import { settingsTable } from "../../core/settings-table";

const FLEET = {
    subnets: [{ id: "subnet-0a1b2c3d4e5f60001", zone: "eu-central-1a", vpcId: "vpc-0a1b2c3d4e5f60000" }],
    access: { mode: "ssm" },
};

/** `path: found` of every problem. */
function problems(settings: unknown): string[] {
    try {
        parseAwsSettings("buildfleet:settings", settings);
    } catch (error) {
        if (error instanceof SettingsError) return error.problems.map(({ path, found }) => `${path}: ${found}`);
        throw error;
    }
    return [];
}

describe("the settings of the stack aws", () => {
    it.each([
        ["all", { fleet: FLEET }, ["fleet", "image", "repository", "role", "scan"]],
        ["fleet", { role: "fleet", fleet: FLEET }, ["fleet", "role"]],
        ["images", { role: "images", fleetStack: "builders" }, ["fleetStack", "image", "repository", "role", "scan"]],
    ])("have all that a stack with role %s needs", (_role, settings, names) => {
        const parsed = parseAwsSettings("s", settings);
        const given = Object.entries(parsed).filter(([, value]) => value !== undefined);
        expect(given.map(([name]) => name).sort()).toEqual(names);
    });

    it("are refused where the role has no use for them, and demanded where it has, all at once", () => {
        expect(problems({ role: "images", fleet: FLEET })).toEqual([
            "fleet: of no use to a stack with role: images",
            "fleetStack: missing",
        ]);
        const everything = {
            fleet: FLEET,
            fleetStack: "builders",
            repository: {},
            image: {},
            scan: false,
            sign: false,
        };
        expect(problems({ role: "fleet", ...everything }).map((line) => line.split(":")[0])).toEqual([
            "fleetStack",
            "repository",
            "image",
            "scan",
            "sign",
        ]);
        expect(problems({ fleetStack: "builders" })).toEqual([
            "fleet: missing",
            "fleetStack: of no use to a stack with role: all",
        ]);
    });

    it("are checked in every part, with paths from the top", () => {
        const fleet = { ...FLEET, nodes: { arm64: { instanceType: "c7i.2xlarge" } } };
        const found = problems({
            fleet,
            repository: { name: "Hello" },
            image: { version: "v1" },
            scan: { failOn: "bad" },
        });
        expect(found.map((line) => line.split(":")[0])).toEqual([
            "fleet.nodes.arm64.instanceType",
            "repository.name",
            "image.version",
            "scan.failOn",
        ]);
    });

    it.each(["builders", "organization/buildfleet/builders", "team/app-image/prod.eu"])(
        "take a stack %s",
        (fleetStack) => {
            expect(problems({ role: "images", fleetStack })).toEqual([]);
        },
    );
    it.each(["", "a/b", "/a/b/c", "a b", "a//b"])("refuse the stack %j", (fleetStack) => {
        expect(problems({ role: "images", fleetStack })).toHaveLength(1);
    });

    it("and a role that is none are told", () => {
        expect(problems({ role: "flet", fleet: FLEET })[0]).toContain("role: ");
    });

    it("without a role are all there are, for the documents", () => {
        const names = new Set(settingsTable(awsSettings()).map(({ path }) => path.split(/[.[]/)[0]));
        expect([...names]).toEqual(["role", "fleet", "fleetStack", "repository", "image", "scan", "sign"]);
    });
});
