import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { sha256 } from "../../core/digest";
import { composeIndex, type IndexChild, indexMediaType, mediaTypes } from "../../core/image-index";

const child = (platform: IndexChild["platform"], content: string, more: Partial<IndexChild> = {}): IndexChild => ({
    platform,
    digest: sha256(content),
    size: 527,
    mediaType: mediaTypes.ociManifest,
    ...more,
});
const amd64 = child("linux/amd64", "amd64");
const arm64 = child("linux/arm64", "arm64");

function problemsOf(children: IndexChild[], more: Omit<Parameters<typeof composeIndex>[0], "children"> = {}): string {
    try {
        composeIndex({ children, ...more });
        return "";
    } catch (error) {
        return (error as Error).message;
    }
}

describe("composeIndex", () => {
    it("writes these very bytes: another order would give every image a new digest", () => {
        const annotations = {
            "org.opencontainers.image.version": "1.4.2",
            "org.opencontainers.image.created": "2026-11-22",
        };
        const bytes = composeIndex({ children: [amd64, child("linux/arm/v7", "arm")], annotations });
        const manifests = [
            `{"mediaType":"${mediaTypes.ociManifest}","digest":"${amd64.digest}","size":527,` +
                '"platform":{"architecture":"amd64","os":"linux"}}',
            `{"mediaType":"${mediaTypes.ociManifest}","digest":"${sha256("arm")}","size":527,` +
                '"platform":{"architecture":"arm","os":"linux","variant":"v7"}}',
        ];
        expect(bytes.toString()).toBe(
            `{"schemaVersion":2,"mediaType":"${mediaTypes.ociIndex}","manifests":[${manifests.join(",")}],` +
                '"annotations":{"org.opencontainers.image.created":"2026-11-22","org.opencontainers.image.version":"1.4.2"}}',
        );
    });

    it("gives the same bytes for the same parts, in whatever order their annotations were set", () => {
        const entries = fc.uniqueArray(fc.tuple(fc.string({ minLength: 1 }), fc.string()), {
            selector: ([name]) => name,
        });
        fc.assert(
            fc.property(entries, (pairs) => {
                const forth = Object.fromEntries(pairs);
                const back = Object.fromEntries([...pairs].reverse());
                const compose = (annotations: Record<string, string>) =>
                    composeIndex({ children: [{ ...amd64, annotations }, arm64], annotations });
                const bytes = compose(forth);
                expect(compose(back).equals(bytes)).toBe(true);
                const read = JSON.parse(bytes.toString());
                expect(read.annotations ?? {}).toEqual(forth);
                expect(read.manifests[0].annotations ?? {}).toEqual(forth);
            }),
        );
    });

    it("keeps the children in the order given", () => {
        const digests = (children: IndexChild[]) =>
            JSON.parse(composeIndex({ children }).toString()).manifests.map(({ digest }: { digest: string }) => digest);
        expect(digests([arm64, amd64])).toEqual([arm64.digest, amd64.digest]);
        expect(digests([amd64, arm64])).toEqual([amd64.digest, arm64.digest]);
    });

    it("writes Windows' build and features, which tell platforms apart", () => {
        const windows = (osVersion: string) => ({ name: "windows/amd64", osVersion, osFeatures: ["win32k"] });
        const bytes = composeIndex({
            children: [child(windows("10.0.20348"), "a"), child(windows("10.0.17763"), "b")],
        });
        expect(JSON.parse(bytes.toString()).manifests[0].platform).toEqual({
            architecture: "amd64",
            os: "windows",
            "os.version": "10.0.20348",
            "os.features": ["win32k"],
        });
    });

    it("writes a Docker manifest list", () => {
        const docker = { mediaType: mediaTypes.dockerManifest };
        const children = [child("linux/amd64", "a", docker), child("linux/arm64", "b", docker)];
        const list = JSON.parse(composeIndex({ children, format: "docker" }).toString());
        expect(list.mediaType).toBe("application/vnd.docker.distribution.manifest.list.v2+json");
        expect(indexMediaType("docker")).toBe(list.mediaType);
        expect(indexMediaType()).toBe("application/vnd.oci.image.index.v1+json");
    });

    it("tells every problem at once", () => {
        const message = problemsOf([
            amd64,
            child("linux/x86_64", "other"),
            child("unknown/unknown", "attestation"),
            child("linux/riscv64", "arm64", { size: 0, mediaType: mediaTypes.ociIndex }),
            child("linux/s390x", "arm64"),
            { ...arm64, digest: "latest" },
        ]);
        expect(message.split("\n").map((line) => line.trim())).toEqual([
            "image index: 6 problems",
            'children[1].platform: "linux/x86_64" is the same as children[0]; expected each platform once',
            'children[2].platform: "unknown/unknown" is not a platform; expected a platform such as "linux/amd64" or "linux/arm64"',
            "children[3].size: 0 is not a size; expected the manifest's bytes",
            `children[3].mediaType: "${mediaTypes.ociIndex}" is not an image manifest of this format; expected ${mediaTypes.ociManifest} or ${mediaTypes.dockerManifest}`,
            "children[4].digest: the same image as children[3]; expected an image of its own for each platform",
            'children[5].digest: "latest" is not a digest; expected the manifest\'s sha256 digest',
        ]);
    });

    it("refuses an index of nothing, and annotations where the format has none", () => {
        expect(problemsOf([])).toContain("children: empty; expected at least one platform's image");
        const docker = child("linux/amd64", "a", { mediaType: mediaTypes.dockerManifest, annotations: { a: "b" } });
        const message = problemsOf([docker], { format: "docker", annotations: { a: "b" } });
        expect(message).toContain("children[0].annotations: set for a Docker manifest list");
        expect(message).toContain("\n  annotations: set for a Docker manifest list");
        expect(problemsOf([arm64], { format: "docker" })).toContain("is not an image manifest of this format");
    });
});
