/** What a program loads: nothing of a cloud it does not use, and never the AWS SDK, which is for what acts. */
import { execFileSync } from "node:child_process";
import { resolve } from "node:path";
import { describe, expect, it } from "vitest";

const CHECKOUT = resolve(__dirname, "../..");
const MOCKS = `const pulumi = require("@pulumi/pulumi");
pulumi.runtime.setMocks({ newResource: ({ name, inputs }) => ({ id: name, state: inputs }), call: ({ inputs }) => inputs }, "p", "s", true);`;

/** Modules that are loaded when the program, run against mocks, has declared everything. */
function loaded(program: string): string[] {
    const tell = `process.on("exit", () => console.log(JSON.stringify(Object.keys(require.cache))));`;
    const output = execFileSync(process.execPath, ["-e", [MOCKS, tell, program].join("\n")], { cwd: CHECKOUT });
    return JSON.parse(output.toString());
}
const inAws = (modules: string[], folder = "") =>
    modules.filter((path) => new RegExp(`/@pulumi/aws/${folder}.*\\.js$`).test(path));
const inSdk = (modules: string[]) => modules.filter((path) => /\/(@aws-sdk|@smithy)\//.test(path));

const FLEET = `new Ec2Fleet("builders", {
    subnets: [{ id: "subnet-0a1b2c3d4e5f60001", zone: "eu-central-1a", vpcId: "vpc-0a1b2c3d4e5f60000" }],
    access: { mode: "ssm" },
});`;

describe("a program loads", () => {
    it("nothing of AWS with the package alone", () => {
        const modules = loaded(`require("buildfleet");`);
        expect([...inAws(modules), ...inSdk(modules)]).toEqual([]);
    });

    it("no component for AWS before it is used", () => {
        const modules = loaded(`require("buildfleet/aws");`);
        expect([...inAws(modules), ...inSdk(modules)]).toEqual([]);
        expect(modules.filter((path) => /\/components\/aws\//.test(path)).map((path) => path.split("/").pop())).toEqual(
            ["peer.js"],
        );
    });

    it("nothing of EC2 for a repository and a key", () => {
        const modules = loaded(`const { EcrRepository, ImageSigningKey } = require("buildfleet/aws");
            new EcrRepository("app"); new ImageSigningKey("images");`);
        expect(inAws(modules, "ecr/").length).toBeGreaterThan(0);
        expect(inAws(modules, "(ec2|ebs|vpc)/")).toEqual([]);
        expect(inSdk(modules)).toEqual([]);
    });

    it("only its own modules of @pulumi/aws for a fleet, and nothing of the AWS SDK", () => {
        const modules = loaded(`const { Ec2Fleet } = require("buildfleet/aws"); ${FLEET}`);
        expect(inAws(modules, "ec2/instance").length).toBe(1);
        expect(inAws(modules, "ecr/")).toEqual([]);
        // The package's own index would load all 2,700 of them.
        expect(inAws(modules).length).toBeLessThan(30);
        expect(inAws(modules, "index")).toEqual([]);
        expect(inSdk(modules)).toEqual([]);
    });
});
