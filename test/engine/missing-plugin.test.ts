/** Packages whose plugin is not on PATH: echoed in a preview, refused by everything else before anything is done. */
import { existsSync, mkdirSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { Workspace } from "./support";

let work: Workspace;
beforeEach(() => {
    work = new Workspace();
    const folder = join(work.directory, "node_modules/@pulumi/cloud");
    mkdirSync(join(folder, "disk"), { recursive: true });
    const manifest = { name: "@pulumi/cloud", version: "1.0.0", pulumi: { resource: true, name: "cloud" } };
    writeFileSync(join(folder, "package.json"), JSON.stringify(manifest));
    writeFileSync(
        join(folder, "disk/disk.js"),
        `const pulumi = require("@pulumi/pulumi");
        exports.Disk = class extends pulumi.CustomResource {
            constructor(n, i, o) { super("cloud:disk/disk:Disk", n, { arn: undefined, size: undefined, label: undefined, ...i }, o); }
            static get(n, id) { return new exports.Disk(n, {}, { id }); }
        };
        exports.getZone = (args, o) => pulumi.runtime.invoke("cloud:disk/getZone:getZone", args, o);`,
    );
});
afterEach(() => work.remove());

const CLOUD = `const cloud = require("@pulumi/cloud/disk/disk");\n`;
const REASON = 'no provider for package "cloud": pulumi-resource-cloud is not on PATH; use the Pulumi CLI';

const preview = (program: string) => {
    work.write(CLOUD + program);
    return work.run("preview");
};

describe("in a preview", () => {
    it("a resource is echoed: inputs are known, what only the plugin knows is not, and that is said once", async () => {
        const { result, changes, outputs, errors } = await preview(`
            const disk = new cloud.Disk("a", { size: 8, label: pulumi.secret("x") });
            new cloud.Disk("b", { size: disk.size, label: disk.arn });
            module.exports = { size: disk.size, label: disk.label, arn: disk.arn, id: disk.id };`);
        expect(errors).toEqual([]);
        expect([result, changes.create]).toEqual(["succeeded", 3]);
        expect(outputs).toEqual({ size: 8, label: "[secret]", arn: "[unknown]", id: "[unknown]" });
        const said = work.lines.filter((line) => line.includes("pulumi-resource-cloud"));
        expect(said).toEqual([
            '    warning: package "cloud": pulumi-resource-cloud is not on PATH: its resources are only echoed, not checked, and values that only it knows stay unknown',
        ]);
        expect(existsSync(work.stateFile)).toBe(false);
    });

    it("a function is refused with its name, the reason and what to do", async () => {
        const { result, errors } = await preview(`module.exports = async () => await cloud.getZone({});`);
        expect(result).toBe("failed");
        expect(errors.map(({ message }) => message).join()).toContain(
            `the function cloud:disk/getZone:getZone can't be called: ${REASON}`,
        );
    });

    it("a look-up is refused, too", async () => {
        const { result, errors } = await preview(`cloud.Disk.get("a", "disk-1");`);
        expect(result).toBe("failed");
        expect(errors.map(({ message }) => message).join()).toContain(
            `cloud:disk/disk:Disk a can't be looked up: ${REASON}`,
        );
    });
});

describe("anything but a preview is refused before anything is done", () => {
    it("up, where the program loads the package, whatever it declares before and after", async () => {
        const program = `thing("before"); ${CLOUD} thing("between"); new cloud.Disk("disk"); thing("after");`;
        const { result, errors } = await work.up(program);
        expect(result).toBe("failed");
        expect(errors).toEqual([
            { urn: "", message: expect.stringMatching(new RegExp(`^${REASON}.*; a preview needs none$`)) },
        ]);
        expect(work.provider.events).toEqual([]);
        expect(work.names()).toEqual([]);
    });

    const LEFT = {
        urn: "urn:pulumi:dev::proj::cloud:disk/disk:Disk::a",
        custom: true,
        id: "disk-1",
        type: "cloud:disk/disk:Disk",
        inputs: { size: 8 },
        outputs: { size: 8, arn: "arn:disk-1" },
        provider: "urn:pulumi:dev::proj::pulumi:providers:cloud::default::1",
    };
    const OWNER = {
        urn: "urn:pulumi:dev::proj::pulumi:providers:cloud::default",
        custom: true,
        id: "1",
        type: "pulumi:providers:cloud",
    };

    /** A state as another engine left it: a thing of ours and a disk. */
    async function takeOver() {
        await work.up(`thing("a");`);
        const checkpoint = work.state();
        checkpoint.deployment.resources?.push(OWNER, LEFT);
        writeFileSync(work.stateFile, JSON.stringify(checkpoint));
        work.provider.events.length = 0;
    }

    it.each(["up", "refresh", "destroy"] as const)("%s, where the state has such a resource", async (command) => {
        await takeOver();
        const before = work.state();
        work.write(`thing("a"); thing("b");`);
        const { result, errors } = await work.run(command);
        expect(result).toBe("failed");
        expect(errors.map(({ message }) => message)).toEqual([expect.stringContaining(`nothing was done: ${REASON}`)]);
        expect(work.provider.events).toEqual([]);
        expect(work.state()).toEqual(before);
    });

    it("a preview of that state tells what would change", async () => {
        await takeOver();
        const same = await preview(`thing("a"); const a = new cloud.Disk("a", { size: 8 }); exports.arn = a.arn;`);
        expect(same.changes).toMatchObject({ same: 3, update: 0 });
        expect(same.outputs).toEqual({ arn: "arn:disk-1" });
        const grown = await preview(`thing("a"); const a = new cloud.Disk("a", { size: 9 }); exports.arn = a.arn;`);
        expect(grown.steps).toEqual([{ op: "update", urn: LEFT.urn }]);
        expect(grown.outputs).toEqual({ arn: "[unknown]" });
    });
});

it("a package of a provider that is there is loaded as ever", async () => {
    const folder = join(work.directory, "node_modules/@pulumi/test");
    mkdirSync(folder);
    writeFileSync(join(folder, "package.json"), '{"name":"@pulumi/test","pulumi":{"resource":true}}');
    writeFileSync(join(folder, "index.js"), "exports.loaded = true;");
    const { outputs } = await work.up(`module.exports = { loaded: require("@pulumi/test").loaded };`);
    expect(outputs).toEqual({ loaded: true });
});
