// What a program pays for loading the library, with and without its part for AWS: `npm run bench -- --only loading`.

import { readFileSync } from "node:fs";
import { join } from "node:path";
import { Workspace } from "./workspace.mjs";

/** Says which modules the program has loaded when it ends. */
const TELL = `process.on("exit", () => require("node:fs").writeFileSync("loaded.json", JSON.stringify(Object.keys(require.cache))));`;

/** With all that would have to be looked up, as a preview without AWS needs it. */
const FLEET = `new Ec2Fleet("builders", {
    subnets: [{ id: "subnet-0a1b2c3d4e5f60001", zone: "eu-central-1a", vpcId: "vpc-0a1b2c3d4e5f60000" }],
    access: { mode: "ssm" },
});`;

const PROGRAMS = {
    /** Nothing of ours: what engine and SDK take. */
    bare: "",
    library: `require("buildfleet");`,
    withAws: `require("buildfleet"); const { Ec2Fleet } = require("buildfleet/aws"); ${FLEET}`,
};

/**
 * Seconds of a preview, and how many modules of `@pulumi/aws` (it has some 2,700) and of the AWS SDK its program loads.
 *
 * @param {number} runs
 * @param {(numbers: number[]) => number} middle
 * @param {(line: string) => void} say
 */
export async function loading(runs, middle, say) {
    /** @type {Record<string, number>} */
    const figures = {};
    for (const [name, program] of Object.entries(PROGRAMS)) {
        const workspace = new Workspace(`${TELL}\n${program}`);
        const seconds = [];
        for (let run = 0; run < runs; run++) seconds.push((await workspace.engine("preview")).seconds);
        /** @type {string[]} */
        const loaded = JSON.parse(readFileSync(join(workspace.folder, "loaded.json"), "utf8"));
        const count = (/** @type {RegExp} */ of) => loaded.filter((path) => of.test(path)).length;
        figures[`${name}Seconds`] = middle(seconds);
        figures[`${name}AwsModules`] = count(/[\\/]@pulumi[\\/]aws[\\/].*\.js$/);
        figures[`${name}SdkModules`] = count(/[\\/]@aws-sdk[\\/]/);
        say(
            `loading ${name}: preview ${figures[`${name}Seconds`]} s, ${figures[`${name}AwsModules`]} modules of @pulumi/aws`,
        );
        await workspace.dispose();
    }
    return figures;
}
