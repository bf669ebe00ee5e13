import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { RegistryClient } from "../../drivers/registry";
import { type Entries, entriesByTool } from "../support/index-views";
import { freePort } from "../support/port";
import { type RunningRegistry, startRegistry } from "../support/registry";
import { pushSmallImage, type SmallPlatform } from "../support/small-image";
import { type Run, TestStack } from "../support/stack";
import { cosignVerify, RepositoryView, skopeoPick } from "../support/views";

/** A registry of the stack's own; what is joined comes from another one. */
const PROGRAM = `
const registry = new buildfleet.LocalRegistry("registry", { port: settings.port });
const key = settings.sign && new buildfleet.SigningKey("key");
module.exports = Object.fromEntries(Object.entries(settings.joined).map(([name, args]) => {
    const image = new buildfleet.JoinedImage(name, {
        repository: registry.repository("joined/" + name),
        ...(key ? { sign: { key } } : {}),
        ...args,
    });
    const { ref, digest, tags, entries, signature } = image;
    return [name, { ref, digest, tags, entries, signature }];
}));
`;

const PLATFORMS: Record<string, SmallPlatform> = {
    amd64: { os: "linux", architecture: "amd64" },
    v3: { os: "linux", architecture: "amd64", variant: "v3" },
    armv6: { os: "linux", architecture: "arm", variant: "v6" },
    armv7: { os: "linux", architecture: "arm", variant: "v7" },
    arm64: { os: "linux", architecture: "arm64" },
    arm64v8: { os: "linux", architecture: "arm64", variant: "v8" },
    riscv64: { os: "linux", architecture: "riscv64" },
    win2019: { os: "windows", architecture: "amd64", "os.version": "10.0.17763.6532" },
    win2022: { os: "windows", architecture: "amd64", "os.version": "10.0.20348.2762", "os.features": ["win32k"] },
};

describe("images built elsewhere, joined", () => {
    const stack = new TestStack(PROGRAM);
    let elsewhere: RunningRegistry;
    let source: RegistryClient;
    let port: number;
    const connection = { plainHttp: true };

    const push = (name: string, format: "oci" | "docker", files?: Record<string, string>) =>
        pushSmallImage(source, `team/${format}`, PLATFORMS[name] as SmallPlatform, {
            ...{ tag: name, format },
            ...(files ? { files } : {}),
        });
    const part = (name: string, format: "oci" | "docker", more = {}) => ({
        image: `${elsewhere.registry}/team/${format}:${name}`,
        connection,
        ...more,
    });
    const everything = (format: "oci" | "docker") => [
        ...["amd64", "v3", "armv6", "arm64v8", "riscv64", "win2019", "win2022"].map((name) => part(name, format)),
        part("armv7", format, { platform: "armhf" }),
    ];
    const settings = (joined: object, more = {}) => ({ port, joined, ...more });
    const view = (run: Run, name: string) => new RepositoryView(run.outputs[name].ref.split("@")[0]);

    beforeAll(async () => {
        elsewhere = await startRegistry();
        source = new RegistryClient({ registry: elsewhere.registry, plainHttp: true });
        for (const format of ["oci", "docker"] as const)
            await Promise.all(Object.keys(PLATFORMS).map((name) => push(name, format)));
        port = await freePort();
    });
    afterAll(async () => {
        await source.close();
        await stack.dispose();
        await elsewhere.stop();
    });

    describe("in every format", () => {
        let run: Run;
        const spoken = (format: "oci" | "docker") => [
            part("arm64", format, { platform: "aarch64", variant: "v8" }),
            part("amd64", format, { platform: "x86_64" }),
        ];

        beforeAll(async () => {
            const joined = {
                oci: {
                    images: everything("oci"),
                    version: "1.4.2",
                    annotations: { "org.opencontainers.image.title": "a" },
                },
                list: { images: everything("docker"), format: "docker", tags: ["stable"] },
                "oci-of-docker": { images: everything("docker"), tags: ["stable"] },
                "spoken-oci": { images: spoken("oci"), tags: ["stable"] },
                "spoken-list": { images: spoken("docker"), format: "docker", tags: ["stable"] },
            };
            run = await stack.up(settings(joined));
        }, 300_000);

        it.each(["oci", "list", "oci-of-docker", "spoken-oci", "spoken-list"])(
            "is the same for docker, skopeo and buildx: %s",
            async (name) => {
                const { ref, digest, tags } = run.outputs[name];
                expect(ref).toBe(`127.0.0.1:${port}/joined/${name}@${digest}`);
                const expected: Entries = (await view(run, name).manifest(digest)).manifests.map((entry) => ({
                    ...{ digest: entry.digest, size: entry.size, mediaType: entry.mediaType },
                    platform: entry.platform as NonNullable<typeof entry.platform>,
                }));
                expect(expected.length).toBe(name.startsWith("spoken") ? 2 : 8);
                for (const reference of [ref, `${ref.split("@")[0]}:${tags[0]}`]) {
                    const { skopeo, imagetools, docker } = await entriesByTool(reference);
                    expect({ skopeo, imagetools, docker }).toEqual({
                        ...{ skopeo: expected, imagetools: expected },
                        docker: expected,
                    });
                }
            },
        );

        it("says of each platform what its image says, and what was added", async () => {
            const platforms = async (name: string) =>
                (await view(run, name).manifest(run.outputs[name].digest)).manifests.map(({ platform }) => platform);
            const all = ["amd64", "v3", "armv6", "arm64v8", "riscv64", "win2019", "win2022", "armv7"];
            for (const name of ["oci", "list", "oci-of-docker"])
                expect(await platforms(name)).toEqual(all.map((key) => PLATFORMS[key]));
            for (const name of ["spoken-oci", "spoken-list"])
                expect(await platforms(name)).toEqual([
                    { architecture: "arm64", os: "linux", variant: "v8" },
                    { architecture: "amd64", os: "linux" },
                ]);
        });

        it("is pulled by platform and variant", async () => {
            for (const name of ["oci", "list"]) {
                const { ref, entries } = run.outputs[name];
                const digestOf = (platform: string) =>
                    entries.find((entry: { platform: string }) => entry.platform === platform).digest;
                expect(await skopeoPick(ref, "arm", "v7")).toBe(digestOf("linux/arm/v7"));
                expect(await skopeoPick(ref, "arm", "v6")).toBe(digestOf("linux/arm/v6"));
                expect(await skopeoPick(ref, "arm64", "v8")).toBe(digestOf("linux/arm64"));
            }
        });

        it("has the tags of its version, and no other index has one", async () => {
            expect([...run.outputs.oci.tags].sort()).toEqual(["1", "1.4", "1.4.2", "latest"]);
            expect((await view(run, "oci").tags()).sort()).toEqual(["1", "1.4", "1.4.2", "latest"]);
            expect(await view(run, "list").tags()).toEqual(["stable"]);
        });
    });

    it("is signed, and followed where a source's tag moves; a wrong one moves no tag", async () => {
        await push("riscv64", "oci");
        const images = [part("amd64", "oci"), part("riscv64", "oci", { platform: "linux/riscv64" })];
        const wanted = settings({ signed: { images, tags: ["stable"] } }, { sign: true });
        const first = await stack.up(wanted);
        const { signature, ref, digest, entries } = first.outputs.signed;
        for (const one of [digest, ...entries.map((entry: { digest: string }) => entry.digest)])
            expect((await cosignVerify(`${ref.split("@")[0]}@${one}`, signature.publicKey)).exitCode).toBe(0);

        expect((await stack.up(wanted)).did).toEqual([]);

        await push("riscv64", "oci", { next: "release" });
        const preview = await stack.run("preview", wanted);
        expect(preview.did).toContain("update signed-index");
        const moved = await stack.up(wanted);
        expect(moved.did).toEqual([
            ...["update signed-index", "update signed-signature"],
            ...["update signed-verification", "update signed-promotion"],
        ]);
        const at = (await view(moved, "signed").manifestText("stable")) ?? "";
        expect(JSON.parse(at).manifests[1].digest).toBe(moved.outputs.signed.entries[1].digest);
        expect(moved.outputs.signed.entries[1].digest).not.toBe(entries[1].digest);

        // The same tag, another architecture: what somebody pushed by mistake.
        await pushSmallImage(source, "team/oci", { os: "linux", architecture: "s390x" }, { tag: "riscv64" });
        const refused = await stack.run("up", wanted);
        expect(refused.exitCode).toBe(1);
        expect(refused.stderr).toContain("the image is for linux/s390x; expected one for linux/riscv64, as declared");
        expect(await view(moved, "signed").manifestText("stable")).toBe(at);
    }, 300_000);
});
