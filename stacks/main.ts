import * as pulumi from "@pulumi/pulumi";
import { SettingsError } from "../core/problems";

/** The programs by name. Each is loaded only when it is picked: nobody pays for a cloud's SDK they do not use. */
const programs: Record<string, () => (settings: unknown) => Promise<Record<string, unknown>>> = {
    local: () => require("./local").local,
    aws: () => require("./aws").aws,
    onprem: () => require("./onprem").onprem,
};

/** `buildfleet:program` picks the program (default: the one named like the stack), `buildfleet:settings` are its settings. */
async function main(): Promise<Record<string, unknown>> {
    const config = new pulumi.Config("buildfleet");
    const name = config.get("program") ?? pulumi.getStack();
    const program = Object.hasOwn(programs, name) ? programs[name] : undefined;
    if (!program)
        throw new SettingsError("buildfleet", [
            {
                path: "program",
                found: `${JSON.stringify(name)} is not a program`,
                expected: `one of ${Object.keys(programs).join(", ")}`,
                hint: `run "pulumi config set buildfleet:program ${Object.keys(programs)[0]}"`,
            },
        ]);
    return program()(config.getObject("settings") ?? {});
}

module.exports = main;
