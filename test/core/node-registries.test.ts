import fc from "fast-check";
import { parse } from "smol-toml";
import { describe, expect, it } from "vitest";
import { buildkitdToml } from "../../core/buildkitd-toml";
import { factsOf, type NodeRegistrySettings, nodeMismatch, nodeRegistries } from "../../core/node-registries";

const host = fc.constantFrom("registry.room:5000", "10.0.0.5", "127.0.0.1:5000", "localhost:5000", "docker.io");
const pem = fc.string({ minLength: 1 });
const secured: fc.Arbitrary<NodeRegistrySettings> = fc.record(
    {
        http: fc.constant(false),
        ca: fc.array(fc.constantFrom("/etc/one.pem", "/etc/two.pem"), { maxLength: 2 }),
        caPem: pem,
        mirrors: fc.array(fc.constantFrom("mirror.room", "mirror.room:5001/hub"), { maxLength: 2 }),
        clientCertificate: fc.record({ certificate: pem, privateKey: pem }),
    },
    { requiredKeys: [] },
);
const registries = fc.dictionary(host, fc.oneof(secured, fc.constant({ http: true })));

describe("nodeRegistries", () => {
    it("names every file once, in the block of its registry, and BuildKit's settings take it", () => {
        fc.assert(
            fc.property(registries, (given) => {
                const { registry, files } = nodeRegistries(given, "/etc/buildfleet/registries");
                const named = Object.values(registry).flatMap(({ ca = [], keypair = [] }) => [
                    ...ca,
                    ...keypair.flatMap(({ key, cert }) => [key, cert]),
                ]);
                const written = files.map(({ name }) => `/etc/buildfleet/registries/${name}`);
                expect(named.filter((path) => path.startsWith("/etc/buildfleet/")).sort()).toEqual(written.sort());
                expect(new Set(written).size).toBe(written.length);
                const document = parse(buildkitdToml({ grpc: { address: ["unix:///run/b.sock"] }, registry }));
                expect(Object.keys(document.registry ?? {})).toEqual(expect.arrayContaining(Object.keys(given)));
            }),
        );
    });

    it("has contents under names alone, and marks keys, and nothing else, as secret", () => {
        fc.assert(
            fc.property(registries, (given) => {
                const { files } = nodeRegistries(given, "{folder}");
                const keys = Object.values(given).flatMap(
                    (one) => ("clientCertificate" in one && one.clientCertificate?.privateKey) || [],
                );
                expect(
                    files
                        .filter(({ secret }) => secret)
                        .map(({ content }) => content)
                        .sort(),
                ).toEqual(keys.sort());
                for (const { name } of files) expect(name).toMatch(/^registry-\d+-(?:ca|key|cert)\.pem$/);
            }),
        );
    });

    it("does not depend on the order in which registries are given", () => {
        fc.assert(
            fc.property(registries, (given) => {
                const turned = Object.fromEntries(Object.entries(given).reverse());
                expect(nodeRegistries(turned, "/x")).toEqual(nodeRegistries(given, "/x"));
            }),
        );
    });
});

describe("nodeMismatch", () => {
    it("has nothing to say to nodes that were told what the clients were", () => {
        fc.assert(
            fc.property(host, fc.boolean(), fc.boolean(), (name, ca, clientCertificate) => {
                const told = { http: false, ca, clientCertificate };
                expect(nodeMismatch(name, told, told)).toBeUndefined();
                const plain = { http: true, ca: false, clientCertificate: false };
                expect(nodeMismatch(name, plain, plain)).toBeUndefined();
            }),
        );
    });

    it.each([
        ["registry.room", { http: true }, {}, "would speak HTTPS to registry.room, and all others plain HTTP"],
        ["registry.room", {}, { http: true }, "would speak plain HTTP to registry.room, and all others HTTPS"],
        // What BuildKit takes loopback addresses for, where nothing is said.
        ["127.0.0.1:5000", {}, {}, "would speak plain HTTP to 127.0.0.1:5000"],
        ["127.0.0.1:5000", { http: true }, {}, undefined],
        ["registry.room", { caPem: "pem" }, {}, "does not know the private authority of registry.room"],
        ["registry.room", { caPem: "pem" }, { ca: ["/etc/room.pem"] }, undefined],
        ["registry.room", {}, { caPem: "pem" }, undefined],
        [
            "registry.room",
            { clientCertificate: { certificate: "c", privateKey: "k" } },
            {},
            "has no client certificate for registry.room",
        ],
    ] as [string, NodeRegistrySettings, NodeRegistrySettings, string | undefined][])(
        "%s, clients told %j, nodes told %j: %s",
        (name, clients, node, expected) => {
            const found = nodeMismatch(name, factsOf(clients), factsOf(node));
            if (expected === undefined) expect(found).toBeUndefined();
            else expect(found).toContain(expected);
        },
    );
});
