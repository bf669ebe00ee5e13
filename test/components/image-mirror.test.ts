import * as pulumi from "@pulumi/pulumi";
import { describe, expect, it } from "vitest";
import { ImageMirror, type ImageMirrorArgs, LocalRegistry, SettingsError } from "../../index";
import { declare, digestOf, find, inventory } from "../support/declared";

const images = { debian: "docker.io/library/debian:12", tools: { source: "ghcr.io/team/tools:2", name: "tools:2" } };

const declareMirror = (args: () => ImageMirrorArgs) =>
    declare(() => {
        const { digests, refs, copied, skipped, contents, nodeSettings } = new ImageMirror("base", args());
        return { digests, refs, copied, skipped, contents, nodeSettings };
    });

describe("ImageMirror", () => {
    it("is one resource for all images, and takes connections from registries that have them", async () => {
        const { resources, result } = await declareMirror(() => ({
            images,
            platforms: ["linux/amd64"],
            to: { registry: new LocalRegistry("room", { port: 5050 }) },
            connections: { "ghcr.io": { username: "ci", password: pulumi.secret("hidden") } },
        }));
        expect(inventory(resources)).toContain("ImageMirror base");
        const { inputs, secrets, parent, secretOutputs } = find(resources, "base", "ImageMirror");
        expect(parent).toBe("base");
        expect(inputs).toMatchObject({
            images: {
                debian: { source: "docker.io/library/debian:12", name: "", platforms: [] },
                tools: { source: "ghcr.io/team/tools:2", name: "tools:2", platforms: [] },
            },
            platforms: ["linux/amd64"],
            to: { registry: "127.0.0.1:5050" },
            connection: { plainHttp: true },
            connections: { "ghcr.io": { username: "ci", password: "hidden" } },
            referrers: true,
        });
        expect(secrets).toEqual(expect.arrayContaining(["connection", "connections"]));
        expect(secretOutputs).toEqual(["connection", "connections"]);
        expect(result).toMatchObject({
            digests: { debian: digestOf("debian"), tools: digestOf("tools") },
            copied: { blobs: 3, bytes: 300 },
            skipped: { blobs: 3, bytes: 300 },
        });
    });

    it("tells nodes where to ask first, for the registries whose images keep their names", async () => {
        const { result } = await declareMirror(() => ({ images, to: { registry: "room:5000/mirror" } }));
        expect(result.nodeSettings).toEqual({ "docker.io": { mirrors: ["room:5000/mirror"] } });
    });

    it("takes outputs of other resources for what is only known later", async () => {
        const { resources } = await declareMirror(() => ({
            images: { app: pulumi.output(`room:5000/app@${digestOf("app")}`) },
            to: { archive: pulumi.output("images.tar") },
        }));
        expect(find(resources, "base", "ImageMirror").inputs.to).toEqual({ archive: "images.tar" });
    });
});

/** Each with the path and the words of what is said of it. */
const BAD: [unknown, string][] = [
    [{ to: { folder: "x" } }, "images: missing; expected at least one image, or a layout to load from (`from`)"],
    [{ images, to: {} }, "to: empty; expected exactly one of registry, folder, archive"],
    [{ images, to: { folder: "x", archive: "y" } }, "to: folder and archive are both set"],
    [{ images, to: { registry: "https://room" } }, 'to.registry: "https://room" is not a registry'],
    [{ images, to: { regsitry: "room" } }, 'to.regsitry: not a setting; did you mean "registry"?'],
    [{ images: { a: "De Bian" }, to: { folder: "x" } }, "images.a: "],
    [{ images: { a: { source: "debian:12", name: "b@sha256:1" } }, to: { folder: "x" } }, "images.a.name: "],
    [
        { images: { a: { source: "debian:12", platforms: ["linux/arm65"] } }, to: { folder: "x" } },
        "images.a.platforms[0]",
    ],
    [{ images, platforms: ["linux/arm64", "linux/aarch64"], to: { folder: "x" } }, "platforms[1]: the same as item 0"],
    [{ from: { folder: "a", archive: "b" }, to: { folder: "x" } }, "from: folder and archive are both set"],
    [{ from: {}, to: { folder: "x" } }, "from: neither folder nor archive is set"],
    [{ from: { folder: "x" }, to: { folder: "x" } }, "to.folder: the same place as `from`"],
    [{ from: { folder: "a", contents: "abc" }, to: { folder: "x" } }, 'from.contents: "abc" is not a digest'],
    [{ images, to: { folder: "x" }, referrers: "yes" }, "referrers: found text; expected true or false"],
    [
        { images: { a: "docker.io/team/app:1", b: "ghcr.io/team/app:1" }, to: { folder: "x" } },
        'images.b: "team/app:1" at the target, as images.a is',
    ],
];

describe("bad settings", () => {
    it.each(BAD)("%j is refused", async (args, said) => {
        const resources: never[] = [];
        const declared = declare(() => new ImageMirror("base", args as ImageMirrorArgs), { resources });
        await expect(declared).rejects.toThrow(SettingsError);
        await expect(declared).rejects.toThrow(said);
        expect(resources).toEqual([]);
    });
});
