import { appendFileSync } from "node:fs";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { RegistryClient } from "../../drivers/registry";
import { writeAdvisories, writeAppContext } from "../support/app";
import { pushBuildkitImage } from "../support/buildkit-image";
import { Dockerd } from "../support/dockerd";
import { isSigned } from "../support/machines";
import { type RunningRegistry, startRegistry } from "../support/registry";
import { type Run, TestStack } from "../support/stack";

const [native, foreign] = process.arch === "arm64" ? ["arm64", "amd64"] : ["amd64", "arm64"];
const CONTAINER = "buildx_buildkit_buildfleet-room";

const PROGRAM = `
const registry = new buildfleet.RegistryConnection("registry", { address: settings.registry, plainHttp: true });
const fleet = new buildfleet.ExternalFleet("fleet", {
    nodes: [{
        name: "room",
        endpoint: settings.docker,
        docker: { image: settings.image, network: "host", registries: registry.nodeSettings, remove: true, ...settings.host },
    }],
});
const key = new buildfleet.SigningKey("key");
const image = new buildfleet.MultiPlatformImage("app", {
    fleet,
    repository: registry.repository("team/app"),
    context: "app",
    platforms: ["linux/amd64", "linux/arm64"],
    tags: ["stable"],
    emulation: settings.emulation ?? "allow",
    scan: { advisories: "advisories" },
    sign: { key },
});
module.exports = { ref: image.ref, digest: image.digest, platforms: image.platforms, publicKey: key.publicKey };
`;

describe("a fleet of Docker daemons", () => {
    let dockerd: Dockerd;
    let registry: RunningRegistry;
    let stack: TestStack;
    let settings: { registry: string; docker: string; image: string };
    let released: Run;

    beforeAll(async () => {
        [registry, dockerd] = await Promise.all([startRegistry(), Dockerd.start()]);
        settings = {
            registry: registry.registry,
            docker: dockerd.endpoint,
            image: await pushBuildkitImage(registry.registry),
        };
        stack = new TestStack(PROGRAM);
        writeAppContext(stack.path("app"));
        writeAdvisories(stack.path("advisories"), [
            { id: "BF-2026-0001", severity: "high", package: "openssl", affected: "< 3.0.2", fixed: "3.0.2" },
        ]);
    }, 300_000);
    afterAll(async () => {
        await stack?.dispose();
        await dockerd?.stop();
        await registry?.stop();
    });

    const tagged = async () => {
        const client = new RegistryClient({ registry: settings.registry, plainHttp: true });
        try {
            return (await client.headManifest("team/app", "stable"))?.digest;
        } finally {
            await client.close();
        }
    };

    it("makes nothing in a preview", async () => {
        const run = await stack.run("preview", settings);
        expect(run.exitCode).toBe(0);
        expect(await dockerd.containers()).toEqual([]);
    }, 300_000);

    it("releases an image that BuildKit in a container built, with BuildKit's image from the private registry", async () => {
        released = await stack.up(settings);
        const { platforms, ref, digest, publicKey } = released.outputs;
        expect(platforms[`linux/${native}`]).toMatchObject({ node: "room", emulated: false });
        expect(platforms[`linux/${foreign}`]).toMatchObject({ node: "room", emulated: true });
        // Asked of the history of the BuildKit in the container.
        expect(platforms[`linux/${native}`].durationMs).toBeGreaterThan(0);
        expect(await tagged()).toBe(digest);
        expect(await isSigned(ref, publicKey)).toBe(true);
        expect(await dockerd.containers()).toEqual([CONTAINER]);
        expect((await dockerd.container(CONTAINER))?.Config.Image).toBe(settings.image);
        expect(dockerd.docker("exec", CONTAINER, "buildctl", "debug", "histories")).toContain("COMPLETE");
        expect((await stack.up(settings)).did).toEqual([]);
    }, 300_000);

    it("mends a container that is gone, and rebuilds nothing", async () => {
        await dockerd.remove(CONTAINER);
        const run = await stack.up(settings);
        expect(run.did).toEqual(expect.arrayContaining([`update app-builder-linux-${native}`]));
        expect(run.did.every((step) => step.startsWith("update app-builder-"))).toBe(true);
        expect(run.outputs.digest).toBe(released.outputs.digest);
    }, 300_000);

    it("builds on in a container with other limits", async () => {
        appendFileSync(stack.path("app/hello.txt"), "changed\n");
        const run = await stack.up({ ...settings, host: { memory: "2 GiB" } });
        expect(run.outputs.digest).not.toBe(released.outputs.digest);
        expect(await tagged()).toBe(run.outputs.digest);
        expect((await dockerd.container(CONTAINER))?.HostConfig.Memory).toBe(2 ** 31);
    }, 300_000);

    it("leaves nothing on the host when it is destroyed", async () => {
        const run = await stack.run("destroy", settings);
        expect(run.exitCode).toBe(0);
        expect(await dockerd.containers()).toEqual([]);
        expect(await dockerd.volumes()).toEqual([]);
    }, 300_000);
});
