import { execFileSync } from "node:child_process";
import { createHash } from "node:crypto";
import { readFileSync, rmSync } from "node:fs";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { withRegistry } from "../../drivers/registry-access";
import { type Inputs, operations as imageIndex } from "../../resources/image-index/operations";
import { writeAppContext } from "../support/app";
import { pushDebianImage } from "../support/debian-image";
import { entriesByTool } from "../support/index-views";
import { freePort } from "../support/port";
import { MAIN_PROGRAM, type Run, TestStack } from "../support/stack";
import { builds, type FleetNode, imagetoolsRaw, RepositoryView, skopeoPick, skopeoRaw } from "../support/views";

const PLATFORMS = ["linux/amd64", "linux/arm64"] as const;
const HOST = process.arch === "arm64" ? "linux/arm64" : "linux/amd64";
/** e_machine at byte 18 (System V ABI; numbers of glibc's elf.h). */
const ELF_MACHINES = { "linux/amd64": 62, "linux/arm64": 183 };

const ANNOTATIONS = {
    "org.opencontainers.image.title": "app",
    "org.opencontainers.image.authors": "the team <team@example.com>",
};
const digestOf = (bytes: string | Buffer) => `sha256:${createHash("sha256").update(bytes).digest("hex")}`;

describe("the index of a release", () => {
    // Signing and gates are not looked at here: the index is the same with and without.
    const stack = new TestStack(`${MAIN_PROGRAM}\nmodule.exports.exports = image.exports;`);
    let settings: object;
    let released: Run;
    let name: string;
    let repository: RepositoryView;

    beforeAll(async () => {
        const exports = [
            { format: "oci", path: "out/app.tar" },
            { format: "local", path: "out/root", platform: "linux/arm64" },
        ];
        const off = { scan: false, sbom: false, sign: false };
        const image = { platforms: PLATFORMS, annotations: ANNOTATIONS, exports, ...off };
        writeAppContext(stack.path("app"));
        settings = { registry: { port: await freePort() }, image };
        released = await stack.up(settings);
        [name = ""] = released.outputs.ref.split("@");
        repository = new RepositoryView(name);
    }, 300_000);
    afterAll(() => stack.dispose());

    const digest = (): string => released.outputs.digest;
    const child = (platform: string): { digest: string; node: string; emulated: boolean; size: number } =>
        released.outputs.platforms[platform];

    it("has exactly the platforms that were asked for, in their order, and nothing unknown", async () => {
        const { manifests, mediaType } = await repository.manifest(digest());
        expect(mediaType).toBe("application/vnd.oci.image.index.v1+json");
        expect(manifests.map(({ platform }) => platform)).toEqual([
            { architecture: "amd64", os: "linux" },
            { architecture: "arm64", os: "linux" },
        ]);
        expect(manifests.map((entry) => entry.digest)).toEqual(PLATFORMS.map((platform) => child(platform).digest));
        for (const entry of manifests) {
            const text = (await repository.manifestText(entry.digest)) ?? "";
            expect([digestOf(text), text.length]).toEqual([entry.digest, entry.size]);
            expect(JSON.parse(text).mediaType).toBe(entry.mediaType);
        }
    });

    it("is the same for docker, skopeo and buildx, under its digest and under its tag", async () => {
        const entries = (await repository.manifest(digest())).manifests.map(
            ({ digest, size, mediaType, platform }) => ({
                ...{ digest, size, mediaType },
                platform,
            }),
        );
        for (const reference of [`${name}@${digest()}`, `${name}:stable`]) {
            for (const read of [skopeoRaw, imagetoolsRaw]) expect(digestOf(await read(reference))).toBe(digest());
            expect(await entriesByTool(reference)).toEqual({ docker: entries, skopeo: entries, imagetools: entries });
        }
        expect(await skopeoPick(`${name}@${digest()}`, "amd64")).toBe(child("linux/amd64").digest);
        expect(await skopeoPick(`${name}@${digest()}`, "arm64")).toBe(child("linux/arm64").digest);
    });

    it("carries the annotations, and so does each child", async () => {
        expect((await repository.manifest(digest())).annotations).toEqual(ANNOTATIONS);
        for (const platform of PLATFORMS)
            expect((await repository.manifest(child(platform).digest)).annotations).toMatchObject(ANNOTATIONS);
    });

    it("tells the compressed size of each child", async () => {
        for (const platform of PLATFORMS) {
            const { config, layers } = await repository.manifest(child(platform).digest);
            expect(child(platform).size).toBe([config, ...layers].reduce((sum, part) => sum + part.size, 0));
        }
    });

    const inputs = (more: Partial<Inputs> = {}): Inputs => ({
        repository: name,
        connection: { plainHttp: true },
        annotations: ANNOTATIONS,
        format: "oci",
        children: PLATFORMS.map((platform) => childOf(platform, child(platform).digest)),
        ...more,
    });
    const childOf = (platform: string, of: string) => ({
        platform,
        digest: of,
        builder: "",
        node: "",
        emulated: false,
    });

    it("is PUT a second time under the same digest, whatever the order of the annotations", async () => {
        const before = await repository.manifestText(digest());
        const again = await imageIndex.create(inputs());
        const backwards = Object.fromEntries(Object.entries(ANNOTATIONS).reverse());
        const reordered = await imageIndex.create(inputs({ annotations: backwards }));
        expect([again.outs.digest, reordered.outs.digest]).toEqual([digest(), digest()]);
        expect(await repository.manifestText(digest())).toBe(before);
        expect(await repository.tags()).toEqual(["stable"]);
    });

    it("has variants, by which others pick a child", async () => {
        const push = (architecture: string, variant?: string) =>
            withRegistry(name, { plainHttp: true }, ({ client, path }) =>
                pushDebianImage(client, path, [{ name: "base-files", version: "12.4" }], architecture, variant),
            );
        const [v6, v7] = await Promise.all([push("arm", "v6"), push("arm", "v7")]);
        const children = [
            ...inputs().children,
            childOf("linux/arm/v6", v6.digest),
            // Another spelling of the same: what stands in the index is the normal form.
            childOf("linux/armhf", v7.digest),
        ];
        const { outs } = await imageIndex.create(inputs({ children }));
        const reference = `${name}@${outs.digest}`;
        for (const read of [skopeoRaw, imagetoolsRaw])
            expect(
                JSON.parse(await read(reference)).manifests.map((entry: { platform: object }) => entry.platform),
            ).toEqual([
                { architecture: "amd64", os: "linux" },
                { architecture: "arm64", os: "linux" },
                { architecture: "arm", os: "linux", variant: "v6" },
                { architecture: "arm", os: "linux", variant: "v7" },
            ]);
        expect(await skopeoPick(reference, "arm", "v7")).toBe(v7.digest);
        expect(await skopeoPick(reference, "arm", "v6")).toBe(v6.digest);
    });

    it("keeps naming the node that built a child when only its builder has moved", async () => {
        const moved = inputs().children.map((entry) => ({ ...entry, node: "another" }));
        const { platforms } = released.outputs;
        const before = { ...inputs(), digest: digest(), platforms };
        const { outs } = await imageIndex.update("", before, inputs({ children: moved, annotations: {} }));
        expect(outs.digest).not.toBe(digest());
        expect(outs.platforms).toEqual(platforms);
    });

    it("refuses a child of another platform, a platform twice, and a child that is an index", async () => {
        const [amd64, arm64] = [child("linux/amd64").digest, child("linux/arm64").digest];
        const create = (...children: Inputs["children"]) => imageIndex.create(inputs({ children }));
        await expect(create(childOf("linux/arm64", amd64))).rejects.toThrow(
            "is an image for linux/amd64, not for linux/arm64",
        );
        await expect(create(childOf("linux/arm64", arm64), childOf("linux/aarch64", arm64))).rejects.toThrow("same");
        await expect(create(childOf("linux/amd64", digest()))).rejects.toThrow("is no image but");
    });

    it("is made of binaries of each platform's own architecture", async () => {
        for (const platform of PLATFORMS) {
            const elf = await repository.file(child(platform).digest, "app");
            expect(elf.subarray(0, 4)).toEqual(Buffer.from("\x7fELF"));
            expect(elf.readUInt16LE(18)).toBe(ELF_MACHINES[platform]);
            const { config } = await repository.manifest(child(platform).digest);
            const { os, architecture } = JSON.parse((await repository.blob(config.digest)).toString());
            expect(`${os}/${architecture}`).toBe(platform);
        }
    });

    it("is on this machine, too, as its exports say, and again when they are gone", async () => {
        const [archive, root] = released.outputs.exports;
        expect(archive.digest).toBe(digestOf(readFileSync(stack.path("out/app.tar"))));
        const args = [
            "copy",
            "--insecure-policy",
            "--all",
            "--preserve-digests",
            `oci-archive:${stack.path("out/app.tar")}`,
        ];
        execFileSync("skopeo", [...args, `dir:${stack.path("copied")}`], { stdio: "pipe" });
        expect(digestOf(readFileSync(stack.path("copied/manifest.json")))).toBe(digest());
        const elf = readFileSync(stack.path("out/root/app"));
        expect(elf.readUInt16LE(18)).toBe(ELF_MACHINES["linux/arm64"]);

        rmSync(stack.path("out/root/hello.txt"));
        const mended = await stack.up(settings);
        expect(mended.did).toEqual(["update app-export-out-root"]);
        expect(mended.outputs.exports).toEqual([archive, root]);
    }, 300_000);

    it("is made of children whose steps ran on the node that the outputs name, and on no other", async () => {
        const nodes: FleetNode[] = released.outputs.nodes;
        expect(nodes.map((node) => node.name).sort()).toEqual(["amd64", "arm64"]);
        for (const platform of PLATFORMS) {
            const built = child(platform);
            expect(built.emulated).toBe(platform !== HOST);
            for (const node of nodes) {
                const history = (await builds(stack, node)).filter((record) => record.includes(built.digest));
                expect(history, `builds of ${platform} on ${node.name}`).toHaveLength(node.name === built.node ? 1 : 0);
                for (const record of history) expectRanSteps(JSON.parse(record), platform);
            }
        }
    });

    /** The step ran there (it came out of no cache), for this platform. */
    function expectRanSteps(event: HistoryEvent, platform: string) {
        const { record } = event;
        expect(record.FrontendAttrs.platform).toBe(platform);
        expect(record.numCompletedSteps ?? 0).toBeGreaterThan(0);
        expect(record.numCachedSteps ?? 0).toBeLessThan(record.numCompletedSteps ?? 0);
        expect(record.error ?? null).toBeNull();
    }
});

interface HistoryEvent {
    record: {
        FrontendAttrs: Record<string, string>;
        numCachedSteps?: number;
        numCompletedSteps?: number;
        error?: unknown;
    };
}
