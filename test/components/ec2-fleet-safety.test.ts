import { gunzipSync } from "node:zlib";
import * as pulumi from "@pulumi/pulumi";
import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { Ec2Fleet, type Ec2FleetArgs } from "../../components/aws/ec2-fleet";
import { checkFleetSettings } from "../../core/aws/fleet-settings";
import { addressesIn, parseCidr } from "../../core/cidr";
import { SettingsError } from "../../core/settings";
import { badFleetSettings } from "../core/bad-fleet-settings";
import { type Calls, type Declared, declare, find, inventory } from "../support/declared";
import { tooWide } from "../support/policies";

const subnets = [{ id: "subnet-00000000", zone: "eu-central-1a", vpcId: "vpc-00000000" }];
const right: Ec2FleetArgs = { subnets, access: { mode: "private", from: ["10.0.0.0/16"] } };
const topicArn = "arn:aws:sns:eu-central-1:123456789012:builders";
const parameterKey = "arn:aws:kms:eu-central-1:123456789012:key/1234abcd";

const declareFleet = (args: Partial<Ec2FleetArgs>, calls: Calls = {}) =>
    declare(() => ({ nodes: new Ec2Fleet("builders", { ...right, ...args }).nodes }), { calls });

/** A program that fails after its constructors: Pulumi learns of it as of every rejection that nobody handles. */
async function declareFailing(args: Partial<Ec2FleetArgs>, calls: Calls = {}) {
    const resources: Declared[] = [];
    const others = process.listeners("unhandledRejection");
    process.removeAllListeners("unhandledRejection");
    const errors: unknown[] = [];
    try {
        await new Promise<void>((failed) => {
            process.on("unhandledRejection", (error) => {
                errors.push(error);
                failed();
            });
            void declare(() => void new Ec2Fleet("builders", { ...right, ...args }), { calls, resources });
        });
        // Whatever else hangs on the failed value has failed when nothing is left to do.
        for (let turn = 0; turn < 100; turn++) await new Promise(setImmediate);
        return { resources, errors: errors.map(String).join("\n") };
    } finally {
        process.removeAllListeners("unhandledRejection");
        for (const other of others) process.on("unhandledRejection", other);
    }
}

const block = fc.tuple(fc.nat(0xffff_ffff), fc.integer({ min: 0, max: 32 })).map(([number, prefix]) => {
    const first = prefix === 0 ? 0 : ((number >>> (32 - prefix)) << (32 - prefix)) >>> 0;
    return `${[24, 16, 8, 0].map((shift) => (first >>> shift) & 255).join(".")}/${prefix}`;
});
const spelled = fc.constantFrom("0.0.0.0/0", "::/0", "::0/0", "0:0::0/0", "0.0.0.0/1", "128.0.0.0/1", "2000::/3");
const source = fc.oneof(
    { weight: 4, arbitrary: block },
    { weight: 1, arbitrary: spelled },
    { weight: 2, arbitrary: fc.constantFrom("sg-01234567", "10.0.0.0/8", "192.168.0.0/16", "203.0.113.0/24") },
);
const access = fc.record({
    mode: fc.constantFrom("private", "public"),
    from: fc.uniqueArray(source, { minLength: 1, maxLength: 300, size: "small" }),
});

/** The whole address space is open when its parts are. */
function isOpen(sources: string[]): boolean {
    const blocks = sources.filter((one) => !one.startsWith("sg-")).map(parseCidr);
    const [four, six] = [4, 6].map((family) => addressesIn(blocks.filter((one) => one.family === family)));
    return (four ?? 0n) > 1n << 25n || (six ?? 0n) > 0n;
}

describe("no open door", () => {
    it("passes the settings' check, in any mode and however it is spelled", () => {
        let [taken, refused] = [0, 0];
        fc.assert(
            fc.property(access, (value) => {
                try {
                    checkFleetSettings("fleet", { ...right, access: value });
                    taken++;
                } catch (error) {
                    expect(error).toBeInstanceOf(SettingsError);
                    refused++;
                    return;
                }
                expect(isOpen(value.from)).toBe(false);
            }),
            { numRuns: 600 },
        );
        // Both happen often, or the property says nothing.
        expect(Math.min(taken, refused)).toBeGreaterThan(40);
    });

    it("is declared in random settings that pass; nor a wide right, nor a secret in the clear", {
        timeout: 240_000,
    }, async () => {
        const group = fc.record(
            {
                count: fc.integer({ min: 1, max: 2 }),
                capacity: fc.constantFrom("on-demand" as const, "spot" as const),
                cacheVolume: fc.constantFrom({ size: "100 GiB" as const }, { iops: 3000 }),
                release: fc.constantFrom("1", "2026-11"),
            },
            { requiredKeys: [] },
        );
        const settings = fc.record(
            {
                nodes: fc.dictionary(fc.constantFrom("arm64", "amd64"), group, { minKeys: 1 }),
                access: fc.oneof(
                    fc.constant({ mode: "ssm" as const }),
                    fc.record({
                        mode: fc.constantFrom("private" as const, "public" as const),
                        from: fc.uniqueArray(source, { minLength: 1, maxLength: 3 }),
                    }),
                ),
                idle: fc.constant({ stopAfter: "30 minutes" as const }),
                alarms: fc.constant({ topicArn }),
                parameterKey: fc.constant(parameterKey),
                tags: fc.constant({ team: "platform" }),
            },
            { requiredKeys: ["access"] },
        );
        const passes = settings.filter((value) => {
            try {
                checkFleetSettings("fleet", { ...right, ...value });
                return true;
            } catch {
                return false;
            }
        });
        await fc.assert(
            fc.asyncProperty(passes, async (value) => {
                const { resources } = await declareFleet(value as Partial<Ec2FleetArgs>);
                expectClosed(resources);
                const { documents, problems } = tooWide(resources, { sessions: value.access.mode === "ssm" });
                expect(problems).toEqual([]);
                expect(documents).toBeGreaterThanOrEqual(2);
                expectNoSecret(resources);
            }),
            { numRuns: 8 },
        );
    });

    it("is opened by a value that comes later", async () => {
        const later = (text: string) => ({ access: { mode: "private" as const, from: [pulumi.output(text)] } });
        const { resources } = await declareFleet(later("10.1.0.0/16"));
        expect(find(resources, "builders-from-1").inputs).toMatchObject({ cidrIpv4: "10.1.0.0/16", fromPort: 8372 });
        const group = await declareFleet(later("sg-01234567"));
        expect(find(group.resources, "builders-from-1").inputs).toMatchObject({
            referencedSecurityGroupId: "sg-01234567",
        });
        const open = await declareFailing(later("0.0.0.0/0"));
        expect(open.errors).toContain("access.from[0]: 0.0.0.0/0 lets everybody in");
        expect(inventory(open.resources).filter((name) => name.includes("IngressRule"))).toEqual([]);
    });
});

function expectClosed(resources: Declared[]): void {
    for (const { type, inputs } of resources) {
        if (type.endsWith(":SecurityGroup")) expect([inputs.ingress, inputs.egress]).toEqual([undefined, undefined]);
        if (!type.endsWith(":SecurityGroupIngressRule")) continue;
        expect(inputs).toMatchObject({ ipProtocol: "tcp", fromPort: 8372, toPort: 8372 });
        expect(inputs.cidrIpv6).toBeUndefined();
        if (inputs.cidrIpv4 === undefined) expect(inputs.referencedSecurityGroupId).toMatch(/^sg-/);
        else expect(parseCidr(inputs.cidrIpv4).prefix).toBeGreaterThanOrEqual(8);
    }
}

/** Private keys, as the mocks make them, stand in secret inputs only. */
function expectNoSecret(resources: Declared[]): void {
    for (const { name, inputs, secrets } of resources) {
        const shown = Object.fromEntries(Object.entries(inputs).filter(([key]) => !secrets.includes(key)));
        const userData = inputs.userData ? gunzipSync(Buffer.from(inputs.userData, "base64")).toString() : "";
        expect(`${JSON.stringify(shown)}${userData}`, name).not.toMatch(/key builders-|ca key/);
    }
}

describe("wrong settings", () => {
    it("are refused before anything is declared", async () => {
        for (const { name, change } of badFleetSettings) {
            let thrown: unknown;
            const { resources } = await declare(() => {
                try {
                    new Ec2Fleet("builders", { ...right, ...change } as Ec2FleetArgs);
                } catch (error) {
                    thrown = error;
                }
            });
            expect(thrown, name).toBeInstanceOf(SettingsError);
            expect(resources, name).toEqual([]);
        }
    });

    it("are told all at once, both sides named", async () => {
        await expect(
            declareFleet({
                nodes: { arm64: { instanceType: "c7i.2xlarge", count: 0 } },
                access: { mode: "private", from: ["0.0.0.0/0"] },
            }),
        ).rejects.toThrow(
            [
                'Ec2Fleet "builders": 3 problems',
                "  nodes.arm64.count: 0 is out of range; expected a whole number from 1 to 16",
                "  nodes.arm64.instanceType: the group is arm64 by its name, c7i.2xlarge is x86_64; expected a type that is arm64",
                "  access.from[0]: 0.0.0.0/0 lets everybody in; a builder runs what it is sent: name the networks that build, or use mode ssm",
            ].join("\n"),
        );
    });

    it("user data beyond EC2's limit is one, although the volume is not known yet", async () => {
        const random = (index: number) =>
            Buffer.from(
                Array.from({ length: 12_000 }, (_, i) => (i * i * 31 + index * 7 + (i >> 3) * 17) & 255),
            ).toString("base64");
        const ca = [0, 1, 2].map(
            (index) => `-----BEGIN CERTIFICATE-----\n${random(index)}\n-----END CERTIFICATE-----\n`,
        );
        let thrown: unknown;
        const { resources } = await declare(() => {
            try {
                new Ec2Fleet("builders", { ...right, registries: { "r:5000": { ca } } });
            } catch (error) {
                thrown = error;
            }
        });
        expect(`${thrown}`).toMatch(/nodes\.arm64: the user data has \d+ bytes, compressed; .*16384/);
        expect(resources).toEqual([]);
    });

    it("an image of another architecture is refused when it is looked up, and no machine is made from it", async () => {
        const id = "ami-0123456789abcdef0";
        const { errors, resources } = await declareFailing(
            { nodes: { arm64: { ami: id } } },
            { "aws:ec2/getAmi:getAmi": () => ({ id, architecture: "x86_64", rootDeviceName: "/dev/xvda" }) },
        );
        expect(errors).toContain(
            `nodes.arm64.ami: ${id} is x86_64, c8g.2xlarge is arm64; expected an image that is arm64`,
        );
        expect(inventory(resources).filter((name) => /LaunchTemplate|Instance /.test(name))).toEqual([]);
    });

    it("a build network is refused that a looked-up subnet is in", async () => {
        const subnet = { availabilityZone: "eu-central-1a", vpcId: "vpc-00000000", cidrBlock: "172.31.16.0/20" };
        const { errors, resources } = await declareFailing(
            {
                subnets: undefined,
                subnetIds: ["subnet-00000000"],
                buildNetwork: "172.31.0.0/16",
            } as Partial<Ec2FleetArgs>,
            { "aws:ec2/getSubnet:getSubnet": ({ id }) => ({ ...subnet, id }) },
        );
        expect(errors).toContain("buildNetwork: 172.31.0.0/16 overlaps with subnet-00000000, 172.31.16.0/20");
        expect(inventory(resources).filter((name) => /Instance /.test(name))).toEqual([]);
    });
});
