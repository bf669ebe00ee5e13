import * as pulumi from "@pulumi/pulumi";
import { describe, expect, it } from "vitest";
import {
    ExternalFleet,
    type ExternalFleetArgs,
    type ExternalNode,
    MultiPlatformImage,
    SettingsError,
} from "../../index";
import { BuildxBuilder } from "../../resources/buildx-builder";
import { declare, find, inventory } from "../support/declared";

const pem = (what: string) => `-----BEGIN ${what}-----\nMIIB\n-----END ${what}-----\n`;
const client = { ca: pem("CERTIFICATE"), certificate: pem("CERTIFICATE"), privateKey: pem("PRIVATE KEY") };
const arm = { name: "arm-1", endpoint: "tcp://arm-1.room:1234", platforms: ["linux/aarch64"] };
const x86 = { name: "x86-1", endpoint: "ssh://ci@x86-1.room", maxBuilds: 4 };

describe("ExternalFleet", () => {
    it("declares nothing on the machines, and gives an image its nodes and its client", async () => {
        const { resources } = await declare(() => {
            const fleet = new ExternalFleet("room", { nodes: [arm, x86], client });
            return new MultiPlatformImage("app", {
                fleet,
                repository: "registry.room/team/app",
                context: ".",
                platforms: ["linux/arm64"],
                sign: false,
            }).ref;
        });
        expect(inventory(resources.filter(({ parent }) => parent !== "app"))).toEqual(
            expect.arrayContaining(["buildfleet:index:ExternalFleet room"]),
        );
        expect(resources.filter(({ parent }) => parent === "room")).toEqual([]);
        const builder = find(resources, "app-builder-linux-arm64");
        expect(builder.inputs).toMatchObject({ nodes: [arm, x86], client, emulation: "refuse" });
        expect(builder.secrets).toContain("client");
    });

    const withRegistry = (clientCertificate?: object) => {
        const registries = {
            "registry.room": { caPem: pem("CERTIFICATE"), ...(clientCertificate && { clientCertificate }) },
        };
        return { name: "docker", endpoint: "ssh://ci@x86-2.room", docker: { registries } } as ExternalNode;
    };
    const certificate = { certificate: pem("CERTIFICATE"), privateKey: pem("PRIVATE KEY") };

    it.each<[string, ExternalNode, boolean]>([
        ["hides its nodes where one has a private key for a registry", withRegistry(certificate), true],
        ["shows its nodes where none has one", withRegistry(), false],
    ])("%s", async (_case, node, hidden) => {
        const { resources, result } = await declare(() => {
            const fleet = new ExternalFleet("room", { nodes: [x86, node] });
            const args = { name: "own", platform: "linux/amd64", nodes: [x86, node] };
            new BuildxBuilder("own", args);
            new MultiPlatformImage("app", {
                fleet,
                repository: "registry.room/team/app",
                context: ".",
                platforms: ["linux/arm64"],
                sign: false,
            });
            return { nodes: fleet.nodes, isSecret: pulumi.isSecret(fleet.nodes) };
        });
        expect(result).toEqual({ nodes: [x86, node], isSecret: hidden });
        for (const name of ["own", "app-builder-linux-arm64"]) {
            const { inputs, secrets } = find(resources, name);
            expect(inputs.nodes).toEqual([x86, node]);
            expect(secrets).toEqual(hidden ? ["nodes"] : []);
        }
    });

    it("takes outputs for whatever another resource knows", async () => {
        const { result } = await declare(() => {
            const endpoint = pulumi.output("tcp://10.0.0.1:1234");
            const fleet = new ExternalFleet("room", {
                nodes: [{ name: "one", endpoint }, pulumi.output(x86)],
                client: pulumi.output(client),
            });
            return { nodes: fleet.nodes, client: fleet.client };
        });
        expect(result.nodes).toEqual([{ name: "one", endpoint: "tcp://10.0.0.1:1234" }, x86]);
        expect(result.client).toEqual(client);
    });

    it("needs no client where no node is reached over the network by tcp", () => {
        const local = { name: "local", endpoint: "tcp://127.0.0.1:1234" };
        const socket = { name: "socket", endpoint: "unix:///run/buildkit/buildkitd.sock" };
        expect(() => new ExternalFleet("room", { nodes: [x86, local, socket] })).not.toThrow();
    });

    const one = (change: object) => ({ nodes: [{ ...x86, ...change }], client });
    it.each<[string, object, string, string, string]>([
        ["no nodes", { nodes: [] }, "nodes", "empty", "at least one"],
        ["nodes as a table", { nodes: { arm } }, "nodes", "found a table", "a list of nodes"],
        ["a slip in a setting", { node: [arm], nodes: [x86] }, "node", "not a setting", 'did you mean "nodes"?'],
        ["a slip in a node's", one({ platform: "linux/arm64" }), "nodes[0].platform", "not a", 'mean "platforms"?'],
        ["no name", one({ name: undefined }), "nodes[0].name", "missing", "a name"],
        ["no name at all", one({ name: "arm 1" }), "nodes[0].name", '"arm 1" is not a name', "letters, digits"],
        [
            "a name twice",
            { nodes: [arm, { ...x86, name: "arm-1" }], client },
            "nodes[1]",
            "same as item 0",
            "leave one",
        ],
        ["a daemon twice", { nodes: [x86, { ...x86, name: "b" }] }, "nodes[1].endpoint", "nodes[0], too", "two shares"],
        ["no endpoint", one({ endpoint: "x86-1.room" }), "nodes[0].endpoint", "is not an endpoint", "ssh://"],
        ["no scheme", one({ endpoint: "arm:1234" }), "nodes[0].endpoint", "is not an", 'write "tcp://arm:1234"'],
        ["a password", one({ endpoint: "ssh://ci:hush@a" }), "nodes[0].endpoint", "has a password", "use a key"],
        ["no port", one({ endpoint: "tcp://arm" }), "nodes[0].endpoint", "can't be read", "a port, too"],
        ["tcp without a client", { nodes: [arm] }, "nodes[0].endpoint", "open to everybody", "set client"],
        ["a name without TLS", one({ serverName: "x86" }), "nodes[0].serverName", "set for ssh://", "leave it out"],
        [
            "a name that is none",
            { nodes: [{ ...arm, serverName: "*" }], client },
            "nodes[0].serverName",
            "not a host",
            "",
        ],
        ["no platform", one({ platforms: ["linux/am64"] }), "nodes[0].platforms[0]", '"linux/am64"', "linux/a"],
        ["no platforms", one({ platforms: [] }), "nodes[0].platforms", "empty", "at least one"],
        [
            "a platform twice",
            one({ platforms: ["linux/arm64", "linux/aarch64"] }),
            "nodes[0].platforms[1]",
            "the same as item 0",
            "leave one out",
        ],
        ["no builds", one({ maxBuilds: 0 }), "nodes[0].maxBuilds", "0 is out of range", "1 to 1000"],
        ["builds as text", one({ maxBuilds: "4" }), "nodes[0].maxBuilds", "found text", "without quotes"],
        ["a certificate's path", { nodes: [arm], client: { ...client, ca: "/ca.pem" } }, "client.ca", "no cert", "PEM"],
        ["no key", { nodes: [arm], client: { ...client, privateKey: "" } }, "client.privateKey", "empty", "PEM"],
        ["docker over tcp", one({ endpoint: "tcp://a:1", docker: {} }), "nodes[0].endpoint", "not a Docker", "ssh://"],
    ])("refuses %s", (_case, args, path, found, fix) => {
        let error: unknown;
        try {
            new ExternalFleet("room", args as ExternalFleetArgs);
        } catch (thrown) {
            error = thrown;
        }
        expect(error).toBeInstanceOf(SettingsError);
        const { problems, message } = error as SettingsError;
        expect(message).toContain('ExternalFleet "room": 1 problem');
        expect(problems).toHaveLength(1);
        expect(problems[0]?.path).toBe(path);
        expect(problems[0]?.found).toContain(found);
        expect(`${problems[0]?.expected} ${problems[0]?.hint}`).toContain(fix);
        expect(message).not.toContain("hush");
    });

    it("tells all that is wrong at once", () => {
        const nodes = [
            { name: "arm 1", endpoint: "arm" },
            { ...x86, maxBuilds: 0, serverName: "x" },
        ];
        const wrong = () => new ExternalFleet("room", { nodes });
        expect(wrong).toThrow('ExternalFleet "room": 4 problems');
    });
});
