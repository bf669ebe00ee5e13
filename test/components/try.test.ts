import { it } from "vitest";
import { LocalFleet, LocalRegistry, MultiPlatformImage, SigningKey } from "../../index";
import { declare } from "../support/declared";

it("x", async () => {
    const { resources, result } = await declare(() => {
        const registry = new LocalRegistry("registry");
        const fleet = new LocalFleet("builders", { registries: registry.nodeSettings });
        const image = new MultiPlatformImage("app", {
            fleet, repository: registry.repository("app"), context: "ctx", platforms: ["linux/amd64", "linux/arm64"],
            version: "1.2.3", sign: { key: new SigningKey("key") }, secrets: { token: "s3" },
        });
        return { ref: image.ref, sig: image.signature, v: image.vulnerabilities };
    });
    console.log(JSON.stringify(resources.map(({ provider, ...r }) => r), null, 1));
    console.log(resources.find((r) => r.type === "Sbom")?.provider);
    console.log(result);
});
