import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { sha256 } from "../../core/digest";
import { composeIndex, type IndexChild, mediaTypes } from "../../core/image-index";
import {
    agreedPlatform,
    type ConfigPlatform,
    type IndexPlatform,
    indexPlatform,
    platformObject,
} from "../../core/index-platform";
import { Platform } from "../../core/platform";

const names = ["linux/amd64", "linux/amd64/v3", "linux/arm64", "linux/arm/v6", "linux/arm/v7", "windows/amd64"];
const word = fc.stringMatching(/^[a-z][a-z0-9_]{0,8}$/);
const words = fc.uniqueArray(word, { maxLength: 4 });
const anyPlatform: fc.Arbitrary<IndexPlatform> = fc
    .record({
        name: fc.constantFrom(...names),
        osVersion: fc.option(fc.stringMatching(/^10\.0\.[1-9][0-9]{4}$/), { nil: undefined }),
        osFeatures: fc.option(words, { nil: undefined }),
        features: fc.option(words, { nil: undefined }),
    })
    .map(({ name, osVersion, osFeatures, features }) => ({
        name,
        ...(osVersion === undefined ? {} : { osVersion }),
        ...(osFeatures === undefined ? {} : { osFeatures }),
        ...(features === undefined ? {} : { features }),
    }));

const child = (platform: IndexChild["platform"], content: string): IndexChild => ({
    platform,
    digest: sha256(content),
    size: 7143,
    mediaType: mediaTypes.dockerManifest,
});
const problemsOf = (children: IndexChild[], format: "oci" | "docker" = "oci") => {
    try {
        composeIndex({ children, format });
        return [];
    } catch (error) {
        return (error as Error).message.split("\n").slice(1);
    }
};
const written = (bytes: Buffer) => JSON.parse(bytes.toString()).manifests[0].platform;

describe("a platform in a descriptor", () => {
    it("reads back to the same bytes", () => {
        fc.assert(
            fc.property(anyPlatform, (platform) => {
                const object = platformObject(platform);
                expect(JSON.stringify(platformObject(indexPlatform(object)))).toBe(JSON.stringify(object));
                expect(indexPlatform(object).name).toBe(platform.name);
            }),
        );
    });

    it("is the same in whatever order its features stand, and in every spelling of its name", () => {
        fc.assert(
            fc.property(
                anyPlatform,
                fc.constantFrom("linux/aarch64", "arm64/v8", "linux/arm64v8"),
                (platform, name) => {
                    const back = {
                        ...platform,
                        osFeatures: [...(platform.osFeatures ?? [])].reverse(),
                        features: [...(platform.features ?? [])].reverse(),
                    };
                    expect(JSON.stringify(platformObject(back))).toBe(JSON.stringify(platformObject(platform)));
                    expect(platformObject({ ...platform, name })).toEqual(
                        platformObject({ ...platform, name: "linux/arm64" }),
                    );
                },
            ),
        );
    });

    it("is none for an attestation's manifest", () => {
        expect(() => indexPlatform({ os: "unknown", architecture: "unknown" })).toThrow("is not a platform");
    });
});

describe("an index's platforms", () => {
    it("are those of the specification's own example of a manifest list", () => {
        // distribution/docs/spec/manifest-v2-2.md, "Example Manifest List", with os.version and os.features of its table.
        const children = [
            child("linux/ppc64le", "a"),
            child({ name: "linux/amd64", features: ["sse4"] }, "b"),
            child({ name: "windows/amd64", osVersion: "10.0.20348.2762", osFeatures: ["win32k"] }, "c"),
        ];
        const bytes = composeIndex({ children, format: "docker" });
        const entry = (content: string, platform: object) => ({
            mediaType: "application/vnd.docker.distribution.manifest.v2+json",
            digest: sha256(content),
            size: 7143,
            platform,
        });
        expect(bytes.toString()).toBe(
            JSON.stringify({
                schemaVersion: 2,
                mediaType: "application/vnd.docker.distribution.manifest.list.v2+json",
                manifests: [
                    entry("a", { architecture: "ppc64le", os: "linux" }),
                    entry("b", { architecture: "amd64", os: "linux", features: ["sse4"] }),
                    entry("c", {
                        architecture: "amd64",
                        os: "windows",
                        "os.version": "10.0.20348.2762",
                        "os.features": ["win32k"],
                    }),
                ],
            }),
        );
    });

    it("are the same in both formats; only Docker's has features of the processor", () => {
        fc.assert(
            fc.property(anyPlatform, ({ features = [], ...platform }) => {
                const docker = written(
                    composeIndex({ children: [child({ ...platform, features }, "a")], format: "docker" }),
                );
                const { features: kept = [], ...rest } = docker;
                expect(kept).toEqual([...features].sort());
                expect(written(composeIndex({ children: [child(platform, "a")] }))).toEqual(rest);
                expect(problemsOf([child({ ...platform, features }, "a")])).toHaveLength(features.length > 0 ? 1 : 0);
            }),
        );
    });

    it("are told apart by version and features, and only by those", () => {
        fc.assert(
            fc.property(anyPlatform, anyPlatform, (left, right) => {
                const same = JSON.stringify(platformObject(left)) === JSON.stringify(platformObject(right));
                expect(problemsOf([child(left, "a"), child(right, "b")], "docker")).toHaveLength(same ? 1 : 0);
            }),
        );
    });

    it("are refused, every problem at once", () => {
        const children = [
            child({ name: "linux/amr64", osVersion: " " }, "a"),
            child({ name: "linux/amd64", osFeatures: ["win32k", "", "win32k"], features: ["sse4"] }, "b"),
        ];
        expect(problemsOf(children)).toEqual([
            '  children[0].platform: "linux/amr64" is not a platform; did you mean "linux/arm64" (= linux/arm64/v8)?',
            '  children[0].platform.osVersion: empty; expected a version such as "10.0.20348.2762"',
            "  children[1].platform.osFeatures[1]: empty; expected a feature's name",
            "  children[1].platform.osFeatures[2]: the same as item 0; expected each once",
            '  children[1].platform.features: set for an OCI index, which reserves it; expected format "docker"',
        ]);
    });
});

describe("the platform that was declared, and the image's own", () => {
    const config = (platform: IndexPlatform): ConfigPlatform => {
        const { features: _, ...rest } = platformObject(platform);
        return rest;
    };

    it("agree where they are the same, and complete each other", () => {
        fc.assert(
            fc.property(anyPlatform, (platform) => {
                const full = platformObject(agreedPlatform(config(platform), platform));
                expect(full).toEqual(platformObject(platform));
                const { features: _, ...known } = platformObject(platform);
                // The configuration alone, and with a declaration of no more than the name, say all but the processor's.
                expect(platformObject(agreedPlatform(config(platform)))).toEqual(known);
                expect(platformObject(agreedPlatform(config(platform), platform.name))).toEqual(known);
                expect(platformObject(agreedPlatform(config({ name: platform.name }), platform))).toEqual(full);
            }),
        );
    });

    it("never agree on another system, architecture or variant than the image has", () => {
        fc.assert(
            fc.property(anyPlatform, fc.constantFrom(...names), (platform, name) => {
                const declare = () => agreedPlatform(config(platform), name).name;
                const { os, architecture, variant } = Platform.parse(platform.name);
                const other = Platform.parse(name);
                const open = variant === undefined && os === other.os && architecture === other.architecture;
                if (name === platform.name || open) {
                    expect(declare()).toBe(name);
                } else {
                    expect(declare).toThrow(`the image is for ${platform.name}`);
                }
            }),
        );
    });

    it.each<[string, ConfigPlatform, string | IndexPlatform, string]>([
        ["an ARM image without variant", { os: "linux", architecture: "arm" }, "linux/arm/v6", "linux/arm/v6"],
        ["v8 said and unsaid", { os: "linux", architecture: "arm64", variant: "v8" }, "aarch64", "linux/arm64"],
        ["kernel's spelling in a configuration", { os: "linux", architecture: "x86_64" }, "linux/amd64", "linux/amd64"],
    ])("agree on %s", (_name, image, declared, agreed) => {
        expect(agreedPlatform(image, declared).name).toBe(agreed);
    });

    it("do not agree on another variant, version or feature: both are named", () => {
        const arm = { os: "linux", architecture: "arm", variant: "v7" };
        const windows = { os: "windows", architecture: "amd64", "os.version": "10.0.17763", "os.features": ["win32k"] };
        expect(() => agreedPlatform(arm, "linux/arm/v6")).toThrow(
            "the image is for linux/arm/v7; expected one for linux/arm/v6, as declared",
        );
        expect(() => agreedPlatform(arm, "linux/arm64")).toThrow("the image is for linux/arm/v7");
        expect(() => agreedPlatform(windows, { name: "windows/amd64", osVersion: "10.0.20348" })).toThrow(
            "the image is for windows/amd64 10.0.17763 with win32k; expected one for windows/amd64 10.0.20348, as declared",
        );
        expect(() => agreedPlatform(windows, { name: "windows/amd64", osFeatures: ["x"] })).toThrow(
            "with win32k; expected",
        );
        expect(() => agreedPlatform({}, "linux/amd64")).toThrow("is not a platform");
    });
});
