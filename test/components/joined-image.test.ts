import * as pulumi from "@pulumi/pulumi";
import { describe, expect, it } from "vitest";
import { JoinedImage, type JoinedImageArgs, RegistryConnection } from "../../index";
import { badJoinSettings } from "../core/bad-join-settings";
import { type Declared, declare, digestOf, find, inventory } from "../support/declared";

const BASE: JoinedImageArgs = {
    repository: "room.example.com:5000/team/app",
    images: ["room.example.com:5000/ci/app:amd64", { image: "old.example.com/app:arm64", platform: "aarch64" }],
    tags: ["stable"],
};

const declareJoined = (more: Partial<JoinedImageArgs> = {}) =>
    declare(() => {
        const { ref, digest, tags, entries, signature } = new JoinedImage("app", { ...BASE, ...more });
        return { ref, digest, tags, entries, signature };
    });

/** What refuses it; nothing may have been declared then. */
async function refusal(args: object): Promise<string> {
    const resources: Declared[] = [];
    let message = "";
    await declare(
        () => {
            try {
                new JoinedImage("app", { ...BASE, ...args } as JoinedImageArgs);
            } catch (error) {
                message = (error as Error).message;
            }
        },
        { resources },
    );
    expect(inventory(resources)).toEqual([]);
    return message;
}

describe("a joined image", () => {
    it("is an index and its tags, the tags last", async () => {
        const { resources, result } = await declareJoined({ version: "1.4.2" });
        expect(inventory(resources)).toEqual([
            "ImageIndex app-index",
            "TagPromotion app-promotion",
            "buildfleet:index:JoinedImage app",
        ]);
        const none = { digest: "", builder: "", node: "", emulated: false };
        expect(find(resources, "app-index").inputs).toMatchObject({
            repository: BASE.repository,
            format: "oci",
            children: [
                { ...none, platform: "", image: "room.example.com:5000/ci/app:amd64" },
                { ...none, platform: "linux/arm64", image: "old.example.com/app:arm64" },
            ],
        });
        const promotion = find(resources, "app-promotion");
        expect(promotion.dependsOn).toContain("app-index");
        expect(promotion.inputs).toMatchObject({ digest: digestOf("app-index"), tags: ["stable"], version: "1.4.2" });
        expect(result.ref).toBe(`${BASE.repository}@${digestOf("app-index")}`);
        expect(result.signature).toBeUndefined();
    });

    it("is verified before a tag moves, where somebody signs", async () => {
        const { resources, result } = await declareJoined({ sign: { key: "awskms:///alias/images" } });
        const digests = ["app-index", "room.example.com:5000/ci/app:amd64", "old.example.com/app:arm64"].map(digestOf);
        expect(find(resources, "app-signature").inputs.digests).toEqual(digests);
        expect(find(resources, "app-verification").inputs.children).toEqual(digests.slice(1));
        expect(find(resources, "app-verification").dependsOn).toContain("app-signature");
        expect(find(resources, "app-promotion").dependsOn).toContain("app-verification");
        expect(result.signature).toEqual({ publicKey: "public half", digests });
    });

    it("keeps how registries are reached secret, and out of the children", async () => {
        const room = new RegistryConnection("room", {
            address: "old.example.com",
            username: "ci",
            password: "hunter2",
        });
        const { connection } = room.repository("app");
        const images = [{ image: pulumi.interpolate`${room.repository("app").name}:1`, connection: connection ?? {} }];
        const { resources } = await declareJoined({ images, repository: room.repository("joined") });
        const { inputs, secrets, secretOutputs } = find(resources, "app-index");
        expect(inputs.children[0].image).toBe("old.example.com/app:1");
        expect(JSON.stringify(inputs.children)).not.toContain("hunter2");
        expect(inputs.connections).toMatchObject([{ username: "ci", password: "hunter2" }]);
        expect(secrets).toEqual(expect.arrayContaining(["connection", "connections"]));
        expect(secretOutputs).toEqual(expect.arrayContaining(["connection", "connections"]));
    });

    it("has the last word of its transforms", async () => {
        const { resources } = await declareJoined({
            transform: {
                index: (args) => ({ ...args, annotations: { "org.example": "yes" } }),
                promotion: (args) => ({ ...args, tags: ["other"] }),
            },
        });
        expect(find(resources, "app-index").inputs.annotations).toEqual({ "org.example": "yes" });
        expect(find(resources, "app-promotion").inputs.tags).toEqual(["other"]);
    });
});

describe("a joined image is refused before anything is declared", () => {
    it.each(badJoinSettings)("for %s", async (_name, change, message) => {
        expect(await refusal(change)).toContain(message);
    });

    it("with all that is wrong at once", async () => {
        const message = await refusal({
            images: ["r.example.com/app", { image: "a:1", platform: "x" }],
            format: "zip",
        });
        expect(message).toMatch(/^JoinedImage "app": 3 problems/);
    });

    it("and not for values that are not known yet", async () => {
        const unknown = pulumi.output("r.example.com/app:1");
        expect(await refusal({ images: ["a:1"], format: "zip" })).not.toBe("");
        const { result } = await declareJoined({ images: [unknown, { image: unknown, platform: "linux/arm64" }] });
        expect(result.digest).toBe(digestOf("app-index"));
    });
});
