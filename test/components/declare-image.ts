import { MultiPlatformImage, type MultiPlatformImageArgs } from "../../index";
import { declare } from "../support/declared";

const BASE: MultiPlatformImageArgs = {
    fleet: { nodes: [{ name: "a", endpoint: "unix:///run/a.sock", platforms: ["linux/amd64"] }] },
    repository: "registry.example.com/team/app",
    context: "service",
    platforms: ["linux/amd64", "linux/arm64"],
    tags: ["stable"],
    sign: { key: "awskms:///alias/images" },
};

/** An image named `app` with the usual arguments, and more. */
export function declareImage(more: Partial<MultiPlatformImageArgs> = {}) {
    return declare(() => {
        const image = new MultiPlatformImage("app", { ...BASE, ...more });
        const { ref, digest, tags, platforms, vulnerabilities, sbom, signature } = image;
        return { ref, digest, tags, platforms, vulnerabilities, sbom, signature };
    });
}
