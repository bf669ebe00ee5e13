import { describe, expect, it } from "vitest";
import type { MultiPlatformImageArgs } from "../../index";
import { find, inventory } from "../support/declared";
import { declareImage } from "./declare-image";

/** What the promotion gets; Git answers main, sha-0123456789ab and 1.4.2. */
async function promotion(args: Partial<MultiPlatformImageArgs>) {
    const { tags, version, immutableTags } = find((await declareImage(args)).resources, "app-promotion").inputs;
    return { tags, version, immutableTags };
}

describe("tags from Git", () => {
    it("are promoted with those that are given, and Git's version", async () => {
        expect(await promotion({ gitTags: { branch: true } })).toEqual({
            tags: ["stable", "main", "sha-0123456789ab"],
            version: "1.4.2",
            immutableTags: [],
        });
        expect((await promotion({ gitTags: {}, tags: ["main"] })).tags).toEqual(["main", "sha-0123456789ab"]);
    });

    it("ask Git about what is built from, by the rules", async () => {
        const { resources } = await declareImage({
            gitTags: { date: true },
            contexts: { base: "docker-image://debian:13", common: "../common" },
            dockerfile: "docker/Dockerfile",
        });
        expect(find(resources, "app-git")).toMatchObject({
            type: "GitTags",
            parent: "app",
            inputs: {
                folder: "service",
                paths: ["service", "../common", "docker/Dockerfile"],
                rules: { version: true, branch: false, commit: true, date: true, dirty: "refuse" },
                taken: ["stable"],
            },
        });
        const other = await declareImage({
            gitTags: { folder: ".." },
            version: "2.0.0",
            dockerfile: { inline: "FROM a" },
        });
        expect(find(other.resources, "app-git").inputs).toMatchObject({ folder: "..", paths: ["service"] });
    });

    it("leave a version that is given as it is", async () => {
        const { resources } = await declareImage({ gitTags: {}, version: "2.0.0" });
        expect(find(resources, "app-git").inputs.rules.version).toBe(false);
        expect((await promotion({ gitTags: {}, version: "2.0.0" })).version).toBe("2.0.0");
    });

    it("are read before anything is built", async () => {
        const { resources } = await declareImage({ gitTags: {} });
        const early = resources.filter(({ name, dependsOn }) => name !== "app-git" && !dependsOn.includes("app-git"));
        expect(early.map(({ name }) => name)).toEqual(["app"]);
    });

    it("add one resource; without them there is none, and no other input", async () => {
        const without = inventory((await declareImage()).resources);
        expect(inventory((await declareImage({ gitTags: {} })).resources)).toEqual(
            [...without, "GitTags app-git"].sort(),
        );
        expect(await promotion({ version: "1.4.2", immutableTags: ["stable"] })).toEqual({
            tags: ["stable"],
            version: "1.4.2",
            immutableTags: ["stable"],
        });
    });
});

describe("immutable kinds of tags", () => {
    it("become the names of the tags there are", async () => {
        expect((await promotion({ version: "1.4.2", immutable: ["versions"] })).immutableTags).toEqual(["1.4.2"]);
        expect(
            (
                await promotion({
                    gitTags: { branch: true },
                    immutable: ["versions", "commits"],
                    immutableTags: ["stable"],
                })
            ).immutableTags,
        ).toEqual(["stable", "sha-0123456789ab", "1.4.2"]);
        expect((await promotion({ tags: ["3.0.0", "3.0"], immutable: ["versions"] })).immutableTags).toEqual(["3.0.0"]);
    });
});
