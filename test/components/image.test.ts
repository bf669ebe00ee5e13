import { beforeAll, describe, expect, it } from "vitest";
import { type Declared, digestOf, find, inventory } from "../support/declared";
import { declareImage } from "./declare-image";

/** Everything that belongs to one platform, when nothing is switched off. */
const platformResources = (slug: string) => [
    `BuildxBuilder app-builder-${slug}`,
    `docker-build:index:Image app-image-${slug}`,
    `PlatformTest app-test-${slug}`,
    `Sbom app-sbom-${slug}`,
    `VulnerabilityScan app-scan-${slug}`,
    `Attestation app-attest-sbom-${slug}`,
    `Attestation app-attest-scan-${slug}`,
    `Attestation app-attest-provenance-${slug}`,
];
const ONCE = [
    "buildfleet:index:MultiPlatformImage app",
    "ImageIndex app-index",
    "Signature app-signature",
    "Verification app-verification",
    "TagPromotion app-promotion",
];

describe.each([
    [["linux/arm64"], ["linux-arm64"]],
    [
        ["linux/amd64", "linux/arm64"],
        ["linux-amd64", "linux-arm64"],
    ],
    [
        ["linux/arm/v7", "linux/riscv64", "linux/amd64"],
        ["linux-arm-v7", "linux-riscv64", "linux-amd64"],
    ],
])("an image for %j", (platforms, slugs) => {
    let resources: Declared[];
    let outputs: Awaited<ReturnType<typeof declareImage>>["result"];

    beforeAll(async () => {
        ({ resources, result: outputs } = await declareImage({ platforms }));
    }, 300_000);

    it("is these resources, and no more", () => {
        expect(inventory(resources)).toEqual([...slugs.flatMap(platformResources), ...ONCE].sort());
    });

    it("has them all below it", () => {
        const parents = resources.filter(({ name }) => name !== "app").map(({ parent }) => parent);
        expect(new Set(parents)).toEqual(new Set(["app"]));
    });

    it("builds each platform on a builder of its own, pushed by digest, and never deletes what was released", () => {
        for (const [i, slug] of slugs.entries()) {
            const builder = find(resources, `app-builder-${slug}`);
            expect(builder.inputs).toMatchObject({ platform: platforms[i], emulation: "refuse" });
            const image = find(resources, `app-image-${slug}`);
            expect(image.retainOnDelete).toBe(true);
            expect(image.inputs).toEqual({
                builder: { name: builder.inputs.name },
                platforms: [platforms[i]],
                context: { location: "service" },
                exports: [
                    {
                        image: {
                            names: ["registry.example.com/team/app"],
                            push: true,
                            pushByDigest: true,
                            nameCanonical: true,
                            ociMediaTypes: true,
                        },
                    },
                ],
                network: "default",
                push: false,
                buildOnPreview: false,
            });
        }
    });

    it("builds nothing while any platform has no node", () => {
        for (const slug of slugs) {
            const builders = slugs.map((other) => `app-builder-${other}`).sort();
            expect(find(resources, `app-image-${slug}`).dependsOn).toEqual(builders);
        }
    });

    it("keeps the order of the platforms in the index", () => {
        const { children } = find(resources, "app-index").inputs;
        expect(children).toEqual(
            slugs.map((slug, i) => ({
                platform: platforms[i],
                digest: digestOf(`app-image-${slug}`),
                builder: find(resources, `app-builder-${slug}`).inputs.name,
                node: `node of ${platforms[i]}`,
                emulated: false,
            })),
        );
    });

    it("tests and scans every child by its digest", () => {
        for (const [i, slug] of slugs.entries()) {
            const subject = { platform: platforms[i], digest: digestOf(`app-image-${slug}`) };
            for (const gate of ["test", "sbom", "scan"]) {
                expect(find(resources, `app-${gate}-${slug}`).inputs).toMatchObject(subject);
            }
            const { sbom } = find(resources, `app-scan-${slug}`).inputs;
            expect(sbom).toBe(digestOf(`app-sbom-${slug} syft`));
        }
    });

    it("signs index and children, and only after every gate", () => {
        const { inputs, dependsOn } = find(resources, "app-signature");
        expect(inputs.digests).toEqual([digestOf("app-index"), ...slugs.map((slug) => digestOf(`app-image-${slug}`))]);
        const gates = slugs.flatMap((slug) => [`app-test-${slug}`, `app-scan-${slug}`]);
        expect(dependsOn).toEqual(expect.arrayContaining(gates));
    });

    it("verifies what was signed and attested, with the public half", () => {
        const { inputs, dependsOn } = find(resources, "app-verification");
        expect(inputs).toMatchObject({
            digest: digestOf("app-index"),
            children: slugs.map((slug) => digestOf(`app-image-${slug}`)),
            predicateTypes: [
                "https://spdx.dev/Document",
                "https://cosign.sigstore.dev/attestation/vuln/v1",
                "https://slsa.dev/provenance/v1",
            ],
            verifier: { kind: "kms", uri: "awskms:///alias/images" },
        });
        const attestations = slugs.flatMap((slug) =>
            ["sbom", "scan", "provenance"].map((kind) => `app-attest-${kind}-${slug}`),
        );
        expect(dependsOn).toEqual(expect.arrayContaining(["app-signature", ...attestations]));
    });

    it("moves the tags last", () => {
        const { inputs, dependsOn } = find(resources, "app-promotion");
        expect(inputs).toMatchObject({
            digest: digestOf("app-index"),
            tags: ["stable"],
            version: "",
            immutableTags: [],
        });
        expect(dependsOn).toContain("app-verification");
        const waiting = resources.filter((resource) => resource.dependsOn.includes("app-promotion"));
        expect(waiting).toEqual([]);
    });

    it("says what was released", () => {
        expect(outputs.ref).toBe(`registry.example.com/team/app@${digestOf("app-index")}`);
        expect(Object.keys(outputs.platforms).sort()).toEqual([...platforms].sort());
        expect(Object.keys(outputs.vulnerabilities)).toEqual(platforms);
        expect(Object.keys(outputs.sbom)).toEqual(platforms);
        expect(outputs.signature?.publicKey).toBe("public half");
    });

    it("keeps what opens a registry or signs secret", () => {
        for (const resource of resources) {
            for (const name of ["connection", "signer"]) {
                if (name in resource.inputs) expect(resource.secrets).toContain(name);
            }
        }
    });
});
