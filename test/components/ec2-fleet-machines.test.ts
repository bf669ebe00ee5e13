import * as pulumi from "@pulumi/pulumi";
import { describe, expect, it } from "vitest";
import type { Ec2FleetArgs } from "../../components/aws/ec2-fleet";
import { find } from "../support/declared";
import { volumeId } from "../support/declared-aws";
import { declareFleet, filesOf, subnets } from "./declare-fleet";

const byKey = (a: { key: string }, b: { key: string }) => a.key.localeCompare(b.key);

describe("a machine", () => {
    it("is launched from a template that gives it its own things only, and metadata for itself", async () => {
        const { resources } = await declareFleet();
        expect(find(resources, "builders-arm64-template").inputs).toEqual({
            imageId: "resolve:ssm:/aws/service/ami-amazon-linux-latest/al2023-ami-kernel-default-arm64",
            instanceType: "c8g.2xlarge",
            userData: expect.any(String),
            iamInstanceProfile: { arn: "arn:aws:iam::123456789012:instance-profile/builders-arm64-profile" },
            vpcSecurityGroupIds: ["id of builders-builders"],
            ebsOptimized: "true",
            instanceInitiatedShutdownBehavior: "stop",
            maintenanceOptions: { autoRecovery: "default" },
            metadataOptions: {
                httpEndpoint: "enabled",
                httpTokens: "required",
                httpPutResponseHopLimit: 1,
                instanceMetadataTags: "enabled",
            },
            blockDeviceMappings: [
                {
                    deviceName: "/dev/xvda",
                    ebs: { volumeType: "gp3", volumeSize: 20, encrypted: "true", deleteOnTermination: "true" },
                },
            ],
            tagSpecifications: ["volume", "network-interface"].map((resourceType) => ({
                resourceType,
                tags: expect.objectContaining({ Name: "builders-arm64" }),
            })),
            tags: expect.anything(),
        });
        expect(find(resources, "builders-amd64-template").inputs).toMatchObject({
            imageId: "resolve:ssm:/aws/service/ami-amazon-linux-latest/al2023-ami-kernel-default-x86_64",
            instanceType: "c7i.2xlarge",
        });
    });

    it("is replaced by a new version of its template, and boots only when key, rights and way out are there", async () => {
        const { resources } = await declareFleet();
        const { inputs, replaceOnChanges, dependsOn } = find(resources, "builders-arm64", "aws:ec2/instance:Instance");
        expect(inputs.launchTemplate).toEqual({ id: "id of builders-arm64-template", version: "7" });
        expect(replaceOnChanges).toEqual(["launchTemplate"]);
        expect(dependsOn).toEqual(
            expect.arrayContaining([
                "builders-arm64-rights",
                "builders-arm64-tls",
                "builders-out-ipv4",
                "builders-out-ipv6",
            ]),
        );
    });

    it("is drained before its volume and its address move to another", async () => {
        const { resources } = await declareFleet({
            access: { mode: "public", from: ["203.0.113.0/24"] },
            drain: { timeout: "30 minutes" },
        });
        const drain = find(resources, "builders-arm64-drain");
        expect(drain.inputs).toMatchObject({
            region: "eu-central-1",
            instanceId: "id of builders-arm64",
            timeoutSeconds: 1800 + 180,
            on: "change",
        });
        const attachment = find(resources, "builders-arm64-cache", "aws:ec2/volumeAttachment:VolumeAttachment");
        const address = find(resources, "builders-arm64-address", "aws:ec2/eipAssociation:EipAssociation");
        for (const moved of [attachment, address]) {
            expect(moved.dependsOn).toContain("builders-arm64-drain");
            expect(moved.deleteBeforeReplace).toBe(true);
            expect(moved.inputs.instanceId).toBe("id of builders-arm64");
        }
        expect(attachment.inputs).toMatchObject({ stopInstanceBeforeDetaching: true });
        expect(drain.dependsOn).toContain("builders-arm64");
    });

    it.each<[string, Partial<Ec2FleetArgs>]>([
        ["on-demand, with an address", { access: { mode: "public", from: ["203.0.113.0/24"] } }],
        ["spot", { nodes: { arm64: { capacity: "spot" } } }],
        ["of instance storage", { nodes: { arm64: { instanceType: "c8gd.2xlarge", cacheVolume: "instance-store" } } }],
    ])("that is %s is drained before anything of it is deleted", async (_case, args) => {
        const { resources } = await declareFleet({ drain: { timeout: "30 minutes" }, ...args });
        const farewell = find(resources, "builders-arm64-farewell");
        expect(farewell.inputs).toMatchObject({
            region: "eu-central-1",
            instanceId: find(resources, "builders-arm64-drain").inputs.instanceId,
            timeoutSeconds: 1800 + 180,
            on: "delete",
        });
        // The engine deletes what depends on another first. Volume, address and machine have a name in common with others of theirs.
        const machineParts = resources.filter(
            ({ name, type }) =>
                ["builders-arm64", "builders-arm64-drain"].includes(name) || /Attachment$|Association$/.test(type),
        );
        const own = machineParts.filter(({ name }) => name.startsWith("builders-arm64"));
        expect(own.length).toBeGreaterThanOrEqual(2);
        expect(farewell.dependsOn).toEqual(expect.arrayContaining(own.map(({ name }) => name)));
        const dependents = resources.filter(({ dependsOn }) => dependsOn.includes("builders-arm64-farewell"));
        expect(dependents).toEqual([]);
    });

    it("stays as it is when its group gets a second one, and when that one goes", async () => {
        const of = async (count: number) =>
            (await declareFleet({ nodes: { arm64: { count } }, access: { mode: "public", from: ["203.0.113.0/24"] } }))
                .resources;
        const [one, two] = [await of(1), await of(2)];
        const key = ({ type, name }: { type: string; name: string }) => `${type} ${name}`;
        const same = (resources: typeof one) =>
            resources.map((resource) => ({ key: key(resource), inputs: resource.inputs })).sort(byKey);
        const before = new Set(one.map(key));
        expect(same(two.filter((resource) => before.has(key(resource))))).toEqual(same(one));
        const added = two.filter((resource) => !before.has(key(resource)));
        expect(added.length).toBeGreaterThan(10);
        for (const { name } of added) expect(name).toMatch(/^builders-arm64-2(-|$)/);
    });

    it("has its volume in its subnet's zone, encrypted; a group's nodes go to the subnets in turn", async () => {
        const { resources } = await declareFleet({
            nodes: { arm64: { count: 3, cacheVolume: { size: "100 GB", iops: 4000, throughput: 250 } }, amd64: {} },
        });
        for (const [node, place] of [
            ["arm64", subnets[0]],
            ["arm64-2", subnets[1]],
            ["arm64-3", subnets[0]],
            ["amd64", subnets[0]],
        ] as const) {
            expect(find(resources, `builders-${node}-cache`, "aws:ebs/volume:Volume").inputs).toMatchObject({
                availabilityZone: place?.zone,
                encrypted: true,
                type: "gp3",
            });
            expect(find(resources, `builders-${node}`).inputs.subnetId).toBe(place?.id);
        }
        expect(find(resources, "builders-arm64-cache", "aws:ebs/volume:Volume").inputs).toMatchObject({
            // 100 GB are 93.1 GiB.
            size: 94,
            iops: 4000,
            throughput: 250,
        });
    });

    it("gets the settings that were asked for", async () => {
        const pem = "-----BEGIN CERTIFICATE-----\nMIIB\n-----END CERTIFICATE-----\n";
        const { resources } = await declareFleet({
            nodes: { arm64: { release: "2026-11", maxParallelism: 3 } },
            idle: { stopAfter: "30 minutes" },
            drain: { timeout: "10 minutes" },
            gc: { maxUsedSpace: "50%" },
            buildNetwork: "192.168.100.0/24",
            registries: { "registry.internal:5000": { ca: [pem], mirrors: ["mirror.internal"] } },
        });
        const files = filesOf(resources, "arm64");
        const env = files["/etc/buildfleet/host.env"];
        for (const line of [
            "NODE='arm64'",
            "ARCHITECTURE='arm64'",
            "RELEASE='2026-11'",
            "BUILDKIT_URL='https://github.com/buildkit-arm64.tar.gz'",
            `CACHE_VOLUME='${volumeId("builders-arm64-cache")}'`,
            "TLS_PARAMETER='/buildfleet/shop/dev/builders/arm64/tls'",
            "IDLE_SECONDS='1800'",
            "DRAIN_SECONDS='600'",
            "LOG_GROUP='/buildfleet/shop/dev/builders'",
        ])
            expect(env).toContain(`${line}\n`);
        const everything = Object.values(files).join("\n");
        for (const text of ['maxUsedSpace = "50%"', "max-parallelism = 3", "192.168.100.0/24", "mirror.internal"])
            expect(everything).toContain(text);
        expect(files["/etc/buildfleet/ca/registry.internal_5000-1.pem"]).toBe(pem);
        expect(everything).toContain('"/etc/buildfleet/ca/registry.internal_5000-1.pem"');
    });
});

describe("a node", () => {
    it("is reached under its own name, and woken by its instance", async () => {
        const { result } = await declareFleet({ wake: { timeout: "5 minutes" } });
        expect(result.nodes).toEqual(
            ["arm64", "amd64"].map((node) => ({
                name: node,
                endpoint: `tcp://private address of builders-${node}:8372`,
                platforms: [`linux/${node}`],
                serverName: node,
                ec2: { instanceId: `id of builders-${node}`, region: "eu-central-1", wakeTimeoutSeconds: 300 },
            })),
        );
        expect(result.instanceIds).toEqual({ arm64: "id of builders-arm64", amd64: "id of builders-amd64" });
        expect(result.caches.arm64).toEqual({
            kind: "volume",
            volumeId: volumeId("builders-arm64-cache"),
            lostOnStop: false,
        });
        expect(result.client).toEqual({
            ca: "ca and the one before",
            certificate: "certificate builders-client",
            privateKey: "key builders-client",
        });
        expect(result.cost).toMatchObject({ region: "eu-central-1", perHourRunning: "unknown" });
    });

    it("has key, certificate and authorities in one parameter of its own, as a secret", async () => {
        const keyArn = "arn:aws:kms:eu-central-1:123456789012:key/1234abcd";
        const { resources } = await declareFleet({ parameterKey: keyArn });
        const { inputs, secrets } = find(resources, "builders-arm64-tls");
        expect(inputs).toMatchObject({
            name: "/buildfleet/shop/dev/builders/arm64/tls",
            type: "SecureString",
            value: "key builders-arm64-cert\ncertificate builders-arm64-cert\nca and the one before\n",
            keyId: keyArn,
        });
        expect(secrets).toEqual(["value"]);
        const { Statement } = JSON.parse(find(resources, "builders-arm64-rights").inputs.policy);
        expect(Statement[1]).toMatchObject({ Action: ["kms:Decrypt"], Resource: keyArn });
        expect(Statement[0].Resource).toMatch(/:parameter\/buildfleet\/shop\/dev\/builders\/arm64\/tls$/);
    });

    it("builds only what its own processor runs", async () => {
        const { result } = await declareFleet({
            nodes: { arm64: { instanceType: "c7g.xlarge", platforms: ["linux/arm64", "linux/arm/v7"] } },
        });
        expect(result.nodes[0]?.platforms).toEqual(["linux/arm64", "linux/arm/v7"]);
    });
});

describe("subnets", () => {
    const getSubnet = ({ id }: { id: string }) => ({
        id,
        availabilityZone: id.endsWith("1") ? "eu-central-1a" : "eu-central-1b",
        vpcId: "vpc-1",
        cidrBlock: "10.0.0.0/24",
    });
    const SUBNET = "aws:ec2/getSubnet:getSubnet";

    it("are looked up by their ids, also when those come from other resources", async () => {
        const ids = ["subnet-11111111", "subnet-22222222"];
        for (const subnetIds of [ids, pulumi.output(ids), ids.map((id) => pulumi.output(id))]) {
            const { resources } = await declareFleet(
                { subnets: undefined, subnetIds, nodes: { arm64: { count: 2 } } } as Partial<Ec2FleetArgs>,
                { [SUBNET]: getSubnet },
            );
            expect(find(resources, "builders-arm64-2").inputs.subnetId).toBe("subnet-22222222");
            const volume = find(resources, "builders-arm64-2-cache", "aws:ebs/volume:Volume");
            expect(volume.inputs.availabilityZone).toBe("eu-central-1b");
            expect(find(resources, "builders-builders").inputs.vpcId).toBe("vpc-1");
        }
    });

    it("are the default VPC's when none are given", async () => {
        const asked: unknown[] = [];
        const { resources } = await declareFleet(
            { subnets: undefined, nodes: { arm64: {} } } as Partial<Ec2FleetArgs>,
            {
                "aws:ec2/getVpc:getVpc": (inputs) => {
                    asked.push(inputs);
                    return { id: "vpc-default" };
                },
                "aws:ec2/getSubnets:getSubnets": ({ filters }) => {
                    asked.push(filters);
                    return { ids: ["subnet-b", "subnet-a"] };
                },
                [SUBNET]: getSubnet,
            },
        );
        expect(asked).toEqual([
            { default: true },
            [
                { name: "vpc-id", values: ["vpc-default"] },
                { name: "default-for-az", values: ["true"] },
            ],
        ]);
        expect(find(resources, "builders-arm64").inputs.subnetId).toBe("subnet-a");
    });

    it("move no node that has one of its own when one is appended", async () => {
        const third = { id: `subnet-2${"0".repeat(16)}`, zone: "eu-central-1c", vpcId: "vpc-00000000000000001" };
        const placesOf = async (list: typeof subnets) => {
            const { resources } = await declareFleet({ subnets: list, nodes: { arm64: { count: 2 }, amd64: {} } });
            return ["arm64", "arm64-2", "amd64"].map((node) => find(resources, `builders-${node}`).inputs.subnetId);
        };
        expect(await placesOf([...subnets, third])).toEqual(await placesOf(subnets));
    });
});

describe("an image of one's own", () => {
    const AMI = "aws:ec2/getAmi:getAmi";
    const id = "ami-0123456789abcdef0";

    it("is looked up for its architecture and its root device", async () => {
        const { resources } = await declareFleet(
            { nodes: { arm64: { ami: id } } },
            { [AMI]: () => ({ id, architecture: "arm64", rootDeviceName: "/dev/sda1" }) },
        );
        expect(find(resources, "builders-arm64-template").inputs).toMatchObject({
            imageId: id,
            blockDeviceMappings: [{ deviceName: "/dev/sda1" }],
        });
    });

    it("needs no look-up when all is said", async () => {
        const { resources } = await declareFleet({
            nodes: { arm64: { ami: { id: "resolve:ssm:/golden", architecture: "arm64", rootDevice: "/dev/sda1" } } },
        });
        expect(find(resources, "builders-arm64-template").inputs).toMatchObject({
            imageId: "resolve:ssm:/golden",
            blockDeviceMappings: [{ deviceName: "/dev/sda1" }],
        });
    });
});
