import { describe, expect, it } from "vitest";
import type { ExportArgs } from "../../index";
import { digestOf, find, inventory } from "../support/declared";
import { declareImage } from "./declare-image";

const REPOSITORY = "registry.example.com/team/app";
const exportsOf = (inventoryOf: string[]) => inventoryOf.filter((line) => line.startsWith("ImageArchive"));

describe("an image's exports", () => {
    it("are made of what was released, by the platform's own builder where layers are put together", async () => {
        const exports: ExportArgs[] = [
            { format: "oci", path: "out/app.tar" },
            { format: "docker", path: "out/app-docker.tar", platform: "linux/aarch64", name: "app:mine" },
            { format: "local", path: "out/root", platform: "linux/arm64" },
        ];
        const { resources } = await declareImage({ exports });
        expect(exportsOf(inventory(resources))).toHaveLength(3);
        const inputs = (name: string) => find(resources, `app-export-${name}`).inputs;
        const released = { repository: REPOSITORY, image: digestOf("app-index") };
        expect(inputs("out-app-tar")).toMatchObject({
            ...released,
            platform: "",
            name: `${REPOSITORY}:stable`,
            builder: "",
        });
        expect(inputs("out-app-docker-tar")).toMatchObject({ ...released, platform: "linux/arm64", name: "app:mine" });
        const builder = find(resources, "app-builder-linux-arm64").inputs.name;
        expect(inputs("out-root")).toMatchObject({ ...released, platform: "linux/arm64", name: "", builder });
        for (const name of ["out-app-tar", "out-app-docker-tar", "out-root"]) {
            const { dependsOn, secrets, parent } = find(resources, `app-export-${name}`);
            expect([dependsOn.includes("app-promotion"), secrets, parent]).toEqual([true, ["connection"], "app"]);
        }
    });

    it("need no platform where one is built", async () => {
        const { resources } = await declareImage({
            platforms: ["linux/arm64"],
            exports: [{ format: "tar", path: "r.tar" }],
        });
        expect(find(resources, "app-export-r-tar").inputs.platform).toBe("linux/arm64");
    });

    it.each<[string, object[], string]>([
        ["an unknown format", [{ format: "zip", path: "a" }], "exports[0].format"],
        ["no path", [{ format: "oci" }], "exports[0].path: missing"],
        ["the program's own folder", [{ format: "local", path: ".", platform: "linux/arm64" }], "exports[0].path"],
        ["a place twice", [1, 2].map(() => ({ format: "oci", path: "a.tar" })), "exports[1]: the same as item 0"],
        ["no platform", [{ format: "docker", path: "a" }], 'exports[0].platform: missing; "docker" is of one platform'],
        [
            "one that is not built",
            [{ format: "oci", path: "a", platform: "linux/s390x" }],
            '"linux/s390x" is not built',
        ],
        ["a name without tag", [{ format: "oci", path: "a", name: "app" }], "is no name with a tag"],
        [
            "a name of a root file system",
            [{ format: "tar", path: "a", platform: "linux/arm64", name: "app:1" }],
            "exports[0].name: set for",
        ],
    ])("are refused: %s", async (_case, exports, message) => {
        await expect(declareImage({ exports: exports as ExportArgs[] })).rejects.toThrow(message);
    });
});
