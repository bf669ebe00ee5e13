import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { planNodes } from "../../core/aws/fleet-plan";
import { checkFleetSettings, fleetSettings } from "../../core/aws/fleet-settings";
import { SettingsError, Unresolved } from "../../core/settings";
import { settingsTable } from "../../core/settings-table";
import { badFleetSettings } from "./bad-fleet-settings";
import type { BadSetting } from "./bad-settings";

const subject = 'Ec2Fleet "builders"';
const right = { access: { mode: "private", from: ["10.0.0.0/16"] } };
const check = (change: Record<string, unknown> = {}) => checkFleetSettings(subject, { ...right, ...change });

function problemsIn(change: Record<string, unknown>): SettingsError {
    try {
        check(change);
    } catch (error) {
        if (error instanceof SettingsError) return error;
        throw error;
    }
    throw new Error("the settings were taken for right");
}

function expectProblem({ problems, message }: SettingsError, { path, found, fix }: BadSetting): void {
    const told = problems.filter((one) => one.path === path);
    const problem = told.find((one) => one.found.includes(found));
    expect(problem, message).toBeDefined();
    expect(problem?.hint ?? problem?.expected).toContain(fix);
    expect(message).not.toContain("hunter2");
}

describe("a fleet's settings", () => {
    it("has cases enough", () => {
        expect(badFleetSettings.length).toBeGreaterThanOrEqual(80);
        expect(new Set(badFleetSettings.map(({ name }) => name)).size).toBe(badFleetSettings.length);
    });

    it.each(badFleetSettings)("tells of $name", (bad) => {
        expectProblem(problemsIn(bad.change), bad);
    });

    it("tells of any wrong settings together", () => {
        // What is wrong with nodes, access and networks depends on each other: one of each kind at a time.
        const apart = fc.uniqueArray(fc.constantFrom(...badFleetSettings), {
            selector: ({ change }) => Object.keys(change).sort().join(),
            minLength: 2,
            maxLength: 6,
        });
        const several = apart.filter((cases) => {
            const names = cases.flatMap(({ change }) => Object.keys(change));
            const related = ["nodes", "access", "buildNetwork", "subnets", "gc", "buildkit"];
            return new Set(names).size === names.length && names.filter((name) => related.includes(name)).length <= 1;
        });
        fc.assert(
            fc.property(several, (cases) => {
                const error = problemsIn(Object.assign({}, ...cases.map(({ change }) => change)));
                for (const bad of cases) expectProblem(error, bad);
            }),
        );
    });

    it("never fails in another way than by telling, whatever is in them", () => {
        const junk = fc.oneof(fc.anything(), fc.string(), fc.constantFrom("10.0.0.0/8", "arm64", "c8g.large", "1 GB"));
        const names = Object.keys(fleetSettings().shape);
        const settings = fc.dictionary(fc.constantFrom(...names), fc.oneof(junk, fc.dictionary(fc.string(), junk)));
        fc.assert(
            fc.property(settings, (value) => {
                try {
                    planNodes(checkFleetSettings(subject, value));
                } catch (error) {
                    expect(error).toBeInstanceOf(SettingsError);
                }
            }),
            { numRuns: 500 },
        );
    });

    it("lets values of other resources pass where they may stand, and hides no problem beside them", () => {
        const later = new Unresolved();
        expect(() =>
            check({
                subnetIds: later,
                access: { mode: "private", from: [later, "10.0.0.0/16"] },
                nodes: { arm64: { ami: later }, amd64: { ami: { id: later, architecture: "x86_64" } } },
                registries: later,
                tags: { team: later },
                alarms: { topicArn: later },
                parameterKey: later,
                permissionsBoundary: later,
                buildkit: { artifacts: { arm64: { url: later, sha256: later }, amd64: later } },
            }),
        ).not.toThrow();
        const { problems } = problemsIn({ access: { mode: "public", from: [later, "0.0.0.0/0"] } });
        expect(problems.map(({ path }) => path)).toEqual(["access.from[1]"]);
    });

    it("takes its own result: a stack's settings go to the fleet as they are", () => {
        const settings = check({ nodes: { arm64: { capacity: "spot" }, amd64: { cacheVolume: { size: "1 TB" } } } });
        expect(checkFleetSettings(subject, settings)).toEqual(settings);
    });

    it("has a description for each setting", () => {
        const rows = settingsTable(fleetSettings());
        expect(rows.filter(({ description }) => description === "").map(({ path }) => path)).toEqual([]);
    });
});

describe("the nodes of a fleet", () => {
    it("are one of each architecture by default, on types that hold the volume's throughput", () => {
        const volume = { kind: "volume", gibibytes: 200, iops: 6000, throughput: 500 };
        expect(planNodes(check()).map(({ type, ...node }) => ({ ...node, type: type.name }))).toEqual(
            [
                { name: "arm64", type: "c8g.2xlarge", platforms: ["linux/arm64"] },
                { name: "amd64", type: "c7i.2xlarge", platforms: ["linux/amd64"] },
            ].map((node) => ({
                ...node,
                group: node.name,
                index: 0,
                capacity: "on-demand",
                fallback: undefined,
                cache: volume,
                maxParallelism: 8,
                release: "1",
            })),
        );
    });

    it("have a number from the second on, and the type's architecture where the group says none", () => {
        const nodes = planNodes(check({ nodes: { big: { instanceType: "m7a.4xlarge", count: 2 }, arm64: {} } }));
        expect(nodes.map(({ name, type }) => [name, type.architecture])).toEqual([
            ["big", "amd64"],
            ["big-2", "amd64"],
            ["arm64", "arm64"],
        ]);
    });

    it("get no more throughput by default than their type or their IOPS can use", () => {
        const cacheOf = (settings: Record<string, unknown>) =>
            planNodes(check({ nodes: { arm64: settings } }))[0]?.cache;
        expect(cacheOf({ instanceType: "t4g.medium" })).toMatchObject({ throughput: 248 });
        expect(cacheOf({ cacheVolume: { iops: 3000 } })).toMatchObject({ throughput: 500 });
        expect(cacheOf({ instanceType: "c99g.2xlarge" })).toMatchObject({ throughput: 500 });
    });

    it("take a type that nobody knows yet", () => {
        const [node] = planNodes(
            check({ nodes: { arm64: { instanceType: "c42gd.2xlarge", cacheVolume: "instance-store" } } }),
        );
        expect(node).toMatchObject({ cache: { kind: "instance-store" }, maxParallelism: 4 });
    });
});
