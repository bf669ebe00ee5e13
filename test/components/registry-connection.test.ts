import * as pulumi from "@pulumi/pulumi";
import { beforeAll, describe, expect, it } from "vitest";
import { createAuthority, issueCertificate } from "../../drivers/x509";
import { LocalFleet, type RegistryArgs, RegistryConnection } from "../../index";
import { declare, find, inventory } from "../support/declared";
import { declareImage } from "./declare-image";

let ca: string;
let clientCertificate: { certificate: string; privateKey: string };
beforeAll(async () => {
    const authority = await createAuthority({ name: "room", days: 1 });
    ca = authority.certificate;
    const { certificate, privateKey } = await issueCertificate({
        authority,
        commonName: "client",
        usage: "client",
        days: 1,
    });
    clientCertificate = { certificate, privateKey };
});

const declareConnection = (args: RegistryArgs) =>
    declare(() => {
        const connection = new RegistryConnection("room", args);
        const { name, connection: reached, check } = connection.repository("team/app");
        return { address: connection.address, nodes: connection.nodeSettings, name, reached, check };
    });

describe("RegistryConnection", () => {
    it("says the same to nodes and clients, and declares nothing", async () => {
        const { resources, result } = await declareConnection({
            address: "registry.room:5000",
            ca,
            clientCertificate,
            username: "robot$ci",
            password: "s3cret",
        });
        expect(resources).toEqual([]);
        expect(result).toEqual({
            address: "registry.room:5000",
            nodes: { "registry.room:5000": { http: false, caPem: ca, clientCertificate } },
            name: "registry.room:5000/team/app",
            reached: { ca, clientCertificate, username: "robot$ci", password: "s3cret" },
            check: true,
        });
    });

    it("has plain HTTP, a prefix and mirrors, each mirror with what it needs itself", async () => {
        const { result } = await declareConnection({
            address: pulumi.output("10.0.0.5"),
            plainHttp: true,
            pathPrefix: "library/room",
            mirrors: [
                "cache.room",
                new RegistryConnection("cache", {
                    address: "cache:5001",
                    ca,
                    pathPrefix: "hub",
                    username: "a",
                    password: "b",
                }),
            ],
        });
        expect(result.name).toBe("10.0.0.5/library/room/team/app");
        expect(result.reached).toEqual({
            plainHttp: true,
            mirrorCredentials: [{ address: "cache:5001", username: "a", password: "b" }],
        });
        expect(result.nodes).toEqual({
            "10.0.0.5": { http: true, mirrors: ["cache.room", "cache:5001/hub"] },
            "cache:5001": { http: false, caPem: ca },
        });
    });

    it("keeps password and key secret", async () => {
        const { connection, nodeSettings } = new RegistryConnection("room", {
            address: "registry.room",
            clientCertificate,
            username: "ci",
            password: "s3cret",
        });
        for (const secret of [connection.password, connection.clientCertificate, nodeSettings]) {
            expect(await pulumi.isSecret(secret as pulumi.Output<unknown>)).toBe(true);
        }
    });

    it("gives one fleet the settings of several", async () => {
        const { resources } = await declare(() => {
            const one = new RegistryConnection("one", { address: "one.room:5000", ca, clientCertificate });
            const other = new RegistryConnection("other", { address: "other.room", plainHttp: true });
            return new LocalFleet("builders", { registries: RegistryConnection.nodeSettingsOf([one, other]) }).nodes;
        });
        const { files } = find(resources, "builders-amd64").inputs;
        expect(files).toMatchObject({
            "registry-1-ca.pem": ca,
            "registry-1-cert.pem": clientCertificate.certificate,
            "registry-1-key.pem": clientCertificate.privateKey,
        });
        const toml = files["buildkitd.toml"];
        expect(toml).toMatch(
            /\[registry\."one\.room:5000"\]\nhttp = false\nca = \[ "\{folder\}\/registry-1-ca\.pem" \]/,
        );
        expect(toml).toMatch(/key = "\{folder\}\/registry-1-key\.pem"\ncert = "\{folder\}\/registry-1-cert\.pem"/);
        expect(toml).toMatch(/\[registry\."other\.room"\]\nhttp = true/);
    });
});

describe("an image in a RegistryConnection", () => {
    const connection = () =>
        new RegistryConnection("room", { address: "registry.room", ca, username: "a", password: "b" });

    it("is built once the registry was asked, with the build's own password", async () => {
        const { resources } = await declareImage({ repository: connection().repository("team/app") });
        const plain = (await declareImage()).resources;
        const more = inventory(resources).filter((line) => !inventory(plain).includes(line));
        expect(more).toEqual(["RegistryCheck app-registry"]);
        const check = find(resources, "app-registry");
        expect(check.inputs).toEqual({
            repository: "registry.room/team/app",
            connection: { ca, username: "a", password: "b" },
            told: null,
            toldEach: {},
        });
        expect(check).toMatchObject({ parent: "app", secrets: ["connection"], secretOutputs: ["connection"] });
        const image = find(resources, "app-image-linux-amd64");
        expect(image.dependsOn).toContain("app-registry");
        expect(image.inputs.registries).toEqual([{ address: "registry.room", username: "a", password: "b" }]);
    });

    it("is built with its mirrors' passwords", async () => {
        const cache = new RegistryConnection("cache", { address: "cache.room:5001", username: "c", password: "d" });
        const origin = new RegistryConnection("room", { address: "registry.room", mirrors: [cache, "other.room"] });
        const { resources } = await declareImage({ repository: origin.repository("team/app") });
        const image = find(resources, "app-image-linux-amd64");
        expect(image.inputs.registries).toEqual([{ address: "cache.room:5001", username: "c", password: "d" }]);
        expect(image.secrets).toContain("registries");
    });

    it("is not scanned by trivy where the registry wants a client certificate", async () => {
        const repository = new RegistryConnection("room", { address: "r", clientCertificate }).repository("app");
        await expect(declareImage({ repository, scan: { scanner: "trivy" } })).rejects.toThrow(
            "scan.scanner: trivy has no setting for a registry's client certificate; expected grype",
        );
        await expect(declareImage({ repository, scan: { scanner: "grype" } })).resolves.toBeDefined();
    });

    it("is compared with what the fleet's nodes were told", async () => {
        const fleetWith = (registries: object) => ({
            nodes: [{ name: "a", endpoint: "unix:///run/a.sock", platforms: ["linux/amd64"] }],
            registries: registries as never,
        });
        const toldBy = async (registries: object) => {
            const repository = connection().repository("team/app");
            const { resources } = await declareImage({ repository, fleet: fleetWith(registries) });
            return find(resources, "app-registry").inputs.told;
        };
        expect(await toldBy({})).toEqual({ ca: false, clientCertificate: false });
        expect(await toldBy(connection().nodeSettings)).toEqual({ http: false, ca: true, clientCertificate: false });
        const byFile = { "registry.room": { ca: ["/etc/room.pem"], clientCertificate } };
        expect(await toldBy(byFile)).toEqual({ ca: true, clientCertificate: true });
    });

    it("is compared with what each Docker host was told, and no key gets into that", async () => {
        const docker = { endpoint: "unix:///run/d.sock", platforms: ["linux/amd64"] };
        const { nodeSettings } = new RegistryConnection("room", { address: "registry.room", ca, clientCertificate });
        const nodes = [
            { name: "told", ...docker, docker: { registries: nodeSettings } },
            { name: "other", ...docker, docker: { registries: { "hub.room": { http: true } } } },
            { name: "bare", ...docker, docker: {} },
            { name: "buildkit", ...docker },
        ];
        const repository = connection().repository("team/app");
        const { resources } = await declareImage({ repository, fleet: { nodes } });
        const { inputs, secrets } = find(resources, "app-registry");
        expect(inputs.told).toBeNull();
        expect(inputs.toldEach).toEqual({
            told: { http: false, ca: true, clientCertificate: true },
            other: { ca: false, clientCertificate: false },
            bare: { ca: false, clientCertificate: false },
        });
        expect(secrets).toEqual(["connection"]);
    });
});

/** Each is refused for this reason and no other. */
const BAD: [string, () => object, string][] = [
    ["no address", () => ({}), "address: missing"],
    ["a URL", () => ({ address: "https://registry.room" }), 'leave out "https://"'],
    ["a plain URL", () => ({ address: "http://registry.room" }), 'leave out "http://", and set plainHttp: true'],
    ["a path in the address", () => ({ address: "registry.room:5000/team" }), 'the address is "registry.room:5000"'],
    ["no host", () => ({ address: "registry room" }), '"registry room" is not a registry'],
    ["a port that is none", () => ({ address: "registry.room:70000" }), "is not a registry"],
    ["words for a switch", () => ({ address: "r", plainHttp: "yes" }), "plainHttp: found text"],
    ["a path for an authority", () => ({ address: "r", ca: "/etc/ca.pem" }), "readFileSync"],
    ["a key for an authority", () => ({ address: "r", ca: clientCertificate.privateKey }), "it holds a private key"],
    [
        "a broken certificate",
        () => ({ address: "r", ca: `${ca}\n-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----` }),
        "certificate 2 of 2 can't be read",
    ],
    ["plain HTTP with an authority", () => ({ address: "r", plainHttp: true, ca }), "set together with plainHttp"],
    [
        "plain HTTP with a client certificate",
        () => ({ address: "r", plainHttp: true, clientCertificate }),
        "clientCertificate: set together with plainHttp",
    ],
    [
        "half a client certificate",
        () => ({ address: "r", clientCertificate: { certificate: ca } }),
        "clientCertificate.privateKey: missing",
    ],
    [
        "an encrypted key",
        () => ({
            address: "r",
            clientCertificate: { certificate: ca, privateKey: "-----BEGIN ENCRYPTED PRIVATE KEY-----\nA" },
        }),
        "BuildKit reads none: decrypt it first",
    ],
    ["a name without password", () => ({ address: "r", username: "a" }), "password: missing, with username set"],
    ["a password without name", () => ({ address: "r", password: "b" }), "username: missing, with password set"],
    ["a mirror's URL", () => ({ address: "r", mirrors: ["https://m"] }), "mirrors[0]: "],
    ["a mirror that is none", () => ({ address: "r", mirrors: ["m:5000/UPPER"] }), "is not a mirror"],
    ["the same mirror twice", () => ({ address: "r", mirrors: ["m", "m"] }), "mirrors[1]: the same as item 0"],
    ["slashes around a prefix", () => ({ address: "r", pathPrefix: "/team/" }), 'without slashes around it: "team"'],
    ["a name that is near", () => ({ address: "r", pathprefix: "team" }), 'did you mean "pathPrefix"'],
];

describe("settings of a registry that are wrong", () => {
    it.each(BAD)("%s", (_name, args, expected) => {
        const make = () => new RegistryConnection("room", args() as RegistryArgs);
        expect(make).toThrow(/^RegistryConnection "room": 1 problem/);
        expect(make).toThrow(expected);
    });

    it("are told at once, and no secret with them", () => {
        const make = () =>
            new RegistryConnection("room", {
                address: "https://r",
                password: "canary",
                ca: "canary",
                pathPrefix: "UPPER",
            });
        expect(make).toThrow(/4 problems/);
        expect(make).not.toThrow(/canary/);
    });
});
