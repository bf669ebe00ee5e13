import * as pulumi from "@pulumi/pulumi";
import { describe, expect, it } from "vitest";
import { type ImageTransform, type MultiPlatformImageArgs, SettingsError, SigningKey } from "../../index";
import { type Declared, find, inventory } from "../support/declared";
import { declareImage } from "./declare-image";

const names = (resources: Declared[], type: string) =>
    resources.flatMap((resource) => (resource.type === type ? resource.name : [])).sort();
const SLUGS = ["linux-amd64", "linux-arm64"];
const pemOf = (kind: string) => `-----BEGIN ${kind} KEY-----\nMFkw\n-----END ${kind} KEY-----\n`;
const imagesOf = (resources: Declared[]) => SLUGS.map((slug) => find(resources, `app-image-${slug}`));

describe("a stage that is switched off", () => {
    it("sign: false: neither signature nor attestation, and the tags still wait for the gates", async () => {
        const { resources, result } = await declareImage({ sign: false });
        const types = new Set(resources.map(({ type }) => type));
        expect([...types].filter((type) => /Attestation|Signature|Verification/.test(type))).toEqual([]);
        const gates = SLUGS.flatMap((slug) => [`app-test-${slug}`, `app-scan-${slug}`]);
        expect(find(resources, "app-promotion").dependsOn).toEqual(expect.arrayContaining(gates));
        expect(result.signature).toBeUndefined();
    });

    it("sbom: false: the scanner still gets its list of packages, but nothing attests it", async () => {
        const { resources } = await declareImage({ sbom: false });
        expect(names(resources, "Sbom")).toHaveLength(2);
        expect(names(resources, "Attestation").filter((name) => name.includes("sbom"))).toEqual([]);
        const { predicateTypes } = find(resources, "app-verification").inputs;
        expect(predicateTypes).not.toContain("https://spdx.dev/Document");
    });

    it("sbom: false with trivy: no list at all", async () => {
        const { resources, result } = await declareImage({ sbom: false, scan: { scanner: "trivy" } });
        expect(names(resources, "Sbom")).toEqual([]);
        expect(find(resources, "app-scan-linux-arm64").inputs).toMatchObject({ scanner: "trivy", sbom: "" });
        expect(result.sbom).toEqual({});
    });

    it("scan: false", async () => {
        const { resources, result } = await declareImage({ scan: false });
        expect(names(resources, "VulnerabilityScan")).toEqual([]);
        expect(names(resources, "Attestation").filter((name) => name.includes("scan"))).toEqual([]);
        expect(find(resources, "app-verification").inputs.predicateTypes).toEqual([
            "https://spdx.dev/Document",
            "https://slsa.dev/provenance/v1",
        ]);
        expect(result.vulnerabilities).toEqual({});
    });

    it("test: false", async () => {
        const { resources } = await declareImage({ test: false });
        expect(names(resources, "PlatformTest")).toEqual([]);
    });
});

describe("tests", () => {
    it("run the command on every platform, 5 minutes at most", async () => {
        const { resources } = await declareImage({ test: { command: ["/app", "--version"] } });
        for (const slug of SLUGS) {
            const { inputs } = find(resources, `app-test-${slug}`);
            expect(inputs).toMatchObject({ command: ["/app", "--version"], timeoutSeconds: 300 });
        }
    });

    it("run it only where they are told to; the entry point is looked at everywhere", async () => {
        const { resources } = await declareImage({
            test: { command: ["/app"], platforms: ["linux/arm64"], timeout: "90 seconds" },
        });
        expect(find(resources, "app-test-linux-amd64").inputs.command).toEqual([]);
        expect(find(resources, "app-test-linux-arm64").inputs).toMatchObject({ command: ["/app"], timeoutSeconds: 90 });
    });
});

describe("the scan's policy and database", () => {
    it.each<[object, object]>([
        [{}, { kind: "public" }],
        [{ database: { maxAge: "36 hours" } }, { kind: "public", maxAgeDays: 1.5 }],
        [{ advisories: "advisories" }, { kind: "advisories", directory: "advisories" }],
    ])("%j: %j", async (scan, database) => {
        const { resources } = await declareImage({ scan });
        expect(find(resources, "app-scan-linux-arm64").inputs.database).toEqual(database);
    });

    it("is the user's", async () => {
        const ignore = [{ id: "CVE-2026-0001", reason: "not reachable", until: "2999-12-31" }];
        const { resources } = await declareImage({ scan: { failOn: "critical", unfixed: "ignore", ignore } });
        expect(find(resources, "app-scan-linux-amd64").inputs.policy).toEqual({
            failOn: "critical",
            unfixed: "ignore",
            noPackages: "fail",
            ignore,
        });
    });
});

describe("what the build gets", () => {
    it.each<[string, Partial<MultiPlatformImageArgs>, object]>([
        ["a Dockerfile's path", { dockerfile: "docker/Dockerfile" }, { dockerfile: { location: "docker/Dockerfile" } }],
        ["a Dockerfile's text", { dockerfile: { inline: "FROM scratch" } }, { dockerfile: { inline: "FROM scratch" } }],
        [
            "further contexts",
            { contexts: { base: "docker-image://debian:13" } },
            { context: { location: "service", named: { base: { location: "docker-image://debian:13" } } } },
        ],
        ["a stage", { target: "release" }, { target: "release" }],
        ["build arguments", { buildArgs: { VERSION: "1" } }, { buildArgs: { VERSION: "1" } }],
        ["labels", { labels: { a: "b" } }, { labels: { a: "b" } }],
        ["ssh", { ssh: [{ id: "default" }] }, { ssh: [{ id: "default" }] }],
        ["hosts", { addHosts: ["db:10.0.0.5"] }, { addHosts: ["db:10.0.0.5"] }],
        ["a network", { network: "none" }, { network: "none" }],
        ["noCache and pull", { noCache: true, pull: true }, { noCache: true, pull: true }],
        [
            "annotations",
            { annotations: { a: "b" } },
            { exports: [{ image: expect.objectContaining({ annotations: { a: "b" } }) }] },
        ],
    ])("%s", async (_what, args, expected) => {
        for (const image of imagesOf((await declareImage(args)).resources))
            expect(image.inputs).toMatchObject(expected);
    });

    it("caches, of each platform its own", async () => {
        const { resources } = await declareImage({
            cacheFrom: [{ registry: { ref: "r/c:x" } }],
            cacheTo: [{ local: { dest: "/c", mode: "max" } }, { inline: {} }],
        });
        expect(imagesOf(resources).map(({ inputs }) => [inputs.cacheFrom, inputs.cacheTo])).toEqual(
            SLUGS.map((slug) => [
                [{ registry: { ref: `r/c:x-${slug}` } }],
                [{ raw: `type=local,dest=/c/${slug},mode=max` }, { inline: {} }],
            ]),
        );
    });

    it("annotations of the index, too", async () => {
        const { resources } = await declareImage({ annotations: { a: "b" } });
        expect(find(resources, "app-index").inputs.annotations).toEqual({ a: "b" });
    });

    it("emulation only where it was allowed", async () => {
        const { resources } = await declareImage({ emulation: "allow" });
        expect(find(resources, "app-builder-linux-arm64").inputs.emulation).toBe("allow");
    });
});

describe("secrets", () => {
    it("of the build are secret", async () => {
        const { resources } = await declareImage({ secrets: { token: "s3cr3t" } });
        for (const { inputs, secrets } of imagesOf(resources)) {
            expect(inputs.secrets).toEqual({ token: "s3cr3t" });
            expect(secrets.filter((path) => path.startsWith("secrets"))).not.toEqual([]);
        }
    });

    it("of the registry go to the build and to every stage, secret", async () => {
        const { resources } = await declareImage({
            repository: {
                name: "registry.example.com:8443/team/app",
                connection: { username: "ci", password: pulumi.secret("pa55"), plainHttp: true },
            },
        });
        for (const { inputs, secrets } of imagesOf(resources)) {
            expect(inputs.registries).toEqual([
                { address: "registry.example.com:8443", username: "ci", password: "pa55" },
            ]);
            expect(secrets.filter((path) => path.startsWith("registries"))).not.toEqual([]);
        }
        for (const { name, inputs, secrets } of resources.filter(({ inputs }) => "connection" in inputs)) {
            expect([name, inputs.connection, secrets.includes("connection")]).toEqual([
                name,
                { username: "ci", password: "pa55", plainHttp: true },
                true,
            ]);
        }
    });

    it("of the fleet's client are secret, even where the program has them in the clear", async () => {
        const client = { ca: "ca", certificate: "certificate", privateKey: "key" };
        const fleet = { nodes: [{ name: "a", endpoint: "tcp://a:1234", platforms: ["linux/amd64"] }], client };
        const { resources } = await declareImage({ fleet });
        const builder = find(resources, "app-builder-linux-amd64");
        expect([builder.inputs.client, builder.secrets, builder.secretOutputs]).toEqual([
            client,
            ["client"],
            ["client"],
        ]);
    });

    it("no stage that only reads gets the private key", async () => {
        const { resources } = await declareImage({
            sign: {
                key: {
                    privateKey: pemOf("ENCRYPTED SIGSTORE PRIVATE"),
                    password: "PASSWORD",
                    publicKey: pemOf("PUBLIC"),
                },
            },
        });
        const holders = resources.filter((resource) => /PRIVATE KEY|PASSWORD/.test(JSON.stringify(resource.inputs)));
        expect(new Set(holders.map(({ type }) => type))).toEqual(new Set(["Attestation", "Signature"]));
        for (const { secrets } of holders) expect(secrets).toContain("signer");
        expect(find(resources, "app-verification").inputs.verifier).toEqual({
            kind: "key",
            publicKey: pemOf("PUBLIC"),
        });
    });
});

describe("who signs", () => {
    it("an identity", async () => {
        const keyless = { identity: "ci@example.com", issuer: "https://accounts.example.com" };
        const { resources } = await declareImage({ sign: { keyless } });
        expect(find(resources, "app-signature").inputs.signer).toEqual({ kind: "keyless", ...keyless });
        expect(find(resources, "app-verification").inputs.verifier).toEqual({ kind: "keyless", ...keyless });
    });

    it("a SigningKey: the pair alone goes on", async () => {
        let key: SigningKey | undefined;
        const { resources } = await declareImage({
            get sign() {
                key ??= new SigningKey("key");
                return { key };
            },
        });
        expect(find(resources, "app-signature").inputs.signer).toEqual({
            kind: "key",
            privateKey: "private half",
            password: "password",
            publicKey: "public half",
        });
    });

    it("must be said", async () => {
        // What a JavaScript user may leave out.
        const without = { sign: undefined } as unknown as Partial<MultiPlatformImageArgs>;
        await expect(declareImage(without)).rejects.toThrow(SettingsError);
        await expect(declareImage(without)).rejects.toThrow(/sign/);
    });
});

describe("settings that are wrong", () => {
    it("are all named at once, before anything is declared", async () => {
        const wrong = declareImage({
            platforms: ["linux/arm46"],
            repository: "https://registry.example.com/App",
            emulation: "maybe" as "allow",
        });
        await expect(wrong).rejects.toThrow(/MultiPlatformImage "app": 3 problems/);
        await expect(wrong).rejects.toThrow(/repository.*\n?[\s\S]*platforms\[0\]/);
    });
});

describe("transform", () => {
    const EXPECTED: Record<keyof ImageTransform, string[]> = {
        git: ["GitTags app-git "],
        login: ["RegistryLogin app-login "],
        registry: ["RegistryCheck app-registry "],
        builder: SLUGS.map((slug) => `BuildxBuilder app-builder-${slug} ${slug}`),
        image: SLUGS.map((slug) => `docker-build:index:Image app-image-${slug} ${slug}`),
        index: ["ImageIndex app-index "],
        test: SLUGS.map((slug) => `PlatformTest app-test-${slug} ${slug}`),
        sbom: SLUGS.map((slug) => `Sbom app-sbom-${slug} ${slug}`),
        scan: SLUGS.map((slug) => `VulnerabilityScan app-scan-${slug} ${slug}`),
        attestation: SLUGS.flatMap((slug) =>
            ["sbom", "scan", "provenance"].map((kind) => `Attestation app-attest-${kind}-${slug} ${kind}-${slug}`),
        ),
        signature: ["Signature app-signature "],
        verification: ["Verification app-verification "],
        promotion: ["TagPromotion app-promotion "],
        export: ["ImageArchive app-export-app-tar app-tar"],
    };

    it.each(Object.keys(EXPECTED) as (keyof ImageTransform)[])("has the last word on %s", async (child) => {
        // biome-ignore lint/suspicious/noExplicitAny: one function for children of every kind
        const mark = (args: any, name = "") => ({ ...args, marked: name });
        const { resources } = await declareImage({
            gitTags: {},
            exports: [{ format: "oci", path: "app.tar" }],
            repository: {
                name: "registry.example.com/app",
                connection: { ecr: { region: "eu-central-1" } },
                check: true,
            },
            transform: { [child]: mark },
        });
        const marked = resources.filter(({ inputs }) => "marked" in inputs);
        const expected = child === "image" ? [] : EXPECTED[child];
        expect(marked.map(({ type, name, inputs }) => `${type} ${name} ${inputs.marked}`).sort()).toEqual(
            [...expected].sort(),
        );
    });

    it("has the last word on the image, whose SDK drops what it does not know", async () => {
        const { resources } = await declareImage({
            transform: { image: (args, slug) => ({ ...args, target: `for-${slug}` }) },
        });
        expect(imagesOf(resources).map(({ inputs }) => inputs.target)).toEqual(SLUGS.map((slug) => `for-${slug}`));
    });

    it("adds no resource", async () => {
        const { resources } = await declareImage({ transform: { builder: (args) => args } });
        expect(inventory(resources)).toEqual(inventory((await declareImage()).resources));
    });
});
