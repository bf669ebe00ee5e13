import fc from "fast-check";
import { describe, expect, it } from "vitest";
import {
    fleetId,
    logGroupName,
    NAME_LIMITS,
    PARAMETER_NAME_LIMIT,
    physicalName,
    tlsParameterName,
} from "../../core/aws/names";

/** Pulumi's project and stack names have up to 100 characters; a resource's name is any text. */
const pulumiName = fc.stringMatching(/^[A-Za-z0-9_.-]{1,100}$/);
const resourceName = fc.oneof(
    fc.string({ minLength: 1, maxLength: 300 }),
    fc.stringMatching(/^[a-z-]{1,30}$/),
    fc.constantFrom("sg-builders", "builders/team a", "ünïcode", "-", "a".repeat(64)),
);
const scope = fc.record({ project: pulumiName, stack: pulumiName, fleet: resourceName });
const node = fc.stringMatching(/^[a-z](?:[a-z0-9-]{0,30}[a-z0-9])?(?:-16)?$/);
const RANDOM_SUFFIX = "-0123abc";

/** What each service takes, by its API reference. */
const PATTERNS = {
    role: /^[\w+=,.@-]{1,64}$/,
    rolePolicy: /^[\w+=,.@-]{1,128}$/,
    instanceProfile: /^[\w+=,.@-]{1,128}$/,
    securityGroup: /^(?!sg-)[\w .:/()#,@[\]+=&;{}!$*-]{1,255}$/i,
    launchTemplate: /^[\w()./-]{3,128}$/,
    alarm: /^[^\p{Cc}]{1,255}$/u,
} as const;

describe("names in AWS, for any project, stack, fleet and node", () => {
    it.each(Object.keys(PATTERNS) as (keyof typeof PATTERNS)[])("%s", (kind) => {
        fc.assert(
            fc.property(scope, node, (names, one) => {
                const logical = `${names.fleet}-${one}-${kind}`;
                // Where it gets none from here, Pulumi makes one up from the resource's.
                const name = physicalName(kind, logical, names) ?? `${logical}${RANDOM_SUFFIX}`;
                expect(name).toMatch(PATTERNS[kind]);
                expect(name.length).toBeLessThanOrEqual(NAME_LIMITS[kind]);
            }),
        );
    });

    it("are Pulumi's wherever they can be", () => {
        const names = { project: "shop", stack: "dev", fleet: "builders" };
        expect(physicalName("role", "builders-arm64-role", names)).toBeUndefined();
        expect(physicalName("role", "b".repeat(56), names)).toBeUndefined();
        expect(physicalName("role", "b".repeat(57), names)).toHaveLength(64);
    });

    it("parameters and log groups", () => {
        fc.assert(
            fc.property(scope, node, (names, one) => {
                const parameter = tlsParameterName(names, one);
                expect(parameter).toMatch(/^(?:\/[\w.-]+){1,15}$/);
                expect(parameter.length).toBeLessThanOrEqual(PARAMETER_NAME_LIMIT);
                expect(logGroupName(names)).toMatch(/^[\w./#-]{1,512}$/);
                expect(fleetId(names).length).toBeLessThanOrEqual(255);
            }),
        );
    });

    it("differ where anything differs", () => {
        const other = fc.tuple(scope, node).filter(([{ project }]) => project !== "");
        fc.assert(
            fc.property(other, other, ([one, oneNode], [two, twoNode]) => {
                fc.pre(JSON.stringify([one, oneNode]) !== JSON.stringify([two, twoNode]));
                expect(tlsParameterName(one, oneNode)).not.toBe(tlsParameterName(two, twoNode));
                const [logical1, logical2] = [`${one.fleet}-${oneNode}`, `${two.fleet}-${twoNode}`];
                const [name1, name2] = [physicalName("role", logical1, one), physicalName("role", logical2, two)];
                fc.pre(logical1 !== logical2 || one.project !== two.project || one.stack !== two.stack);
                if (name1 !== undefined) expect(name1).not.toBe(name2);
            }),
        );
        // The same fleet in another stack or project of one account.
        const long64 = "b".repeat(64);
        const roles = [
            { project: "shop", stack: "dev", fleet: "b" },
            { project: "shop", stack: "prod", fleet: "b" },
            { project: "bank", stack: "dev", fleet: "b" },
        ].map((one) => physicalName("role", long64, one));
        expect(new Set(roles).size).toBe(3);
        const names = { project: "shop", stack: "dev" };
        const spelled = ["a b", "a-b", "a/b", "a--b"].map((fleet) => tlsParameterName({ ...names, fleet }, "arm64"));
        expect(new Set(spelled).size).toBe(4);
        const long = "x".repeat(300);
        expect(logGroupName({ ...names, fleet: `${long}a` })).not.toBe(logGroupName({ ...names, fleet: `${long}b` }));
    });
});
