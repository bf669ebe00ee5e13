// What `npm start`, `npm test` and the others run: the set-up first, then the work.

import { delimiter } from "node:path";
import { fileURLToPath } from "node:url";
import { parseArgs } from "node:util";
import { runChild } from "./run/child.mjs";
import { toJson, toText } from "./run/report.mjs";
import { againAsRoot } from "./run/root.mjs";
import { operate, programOf, removeLeftovers, stateFolder } from "./run/stack.mjs";
import { runTests } from "./run/tests.mjs";
import { projectRoot, SetupError, say, which } from "./setup/context.mjs";
import { setup } from "./setup.mjs";
import { machineArchitecture } from "./vm/recipe.mjs";

const USAGE = `usage: node tools/run.mjs <up|preview|refresh|destroy> [--json] [--stack NAME] [--config KEY=VALUE]... [--purge]
       node tools/run.mjs <test|bench> [ARGUMENT]...
       node tools/run.mjs test:vm [--arch amd64|arm64] [ARGUMENT]...
  --stack   local (default) or aws
  --json    one JSON document on standard output, and nothing else there
  --purge   destroy only: also remove the bytes of what was released`;

/**
 * @param {import("./run/stack.mjs").Command} command
 * @param {string[]} args
 */
async function runStack(command, args) {
    const options = readOptions(command, args);
    const program = programOf(projectRoot, options.stack, options.config);
    // Only BuildKit on this machine needs root, and a preview of what runs elsewhere nothing but the program.
    const isLocal = program === "local";
    if (program === "aws" && command !== "preview" && !which("pulumi") && !which("pulumi-resource-aws")) {
        const next = "install it (https://www.pulumi.com/docs/install); a preview works without";
        throw new SetupError(`the stack ${options.stack} needs the Pulumi CLI, which is not on PATH`, next);
    }
    const { toolFolder } = await setup(!isLocal && command === "preview" ? { only: ["dependencies", "build"] } : {});
    if (isLocal && !isRoot()) return againAsRoot([command, ...args]);
    const report = await operate(command, { project: projectRoot, toolFolder, ...options });
    process.stdout.write(`${options.json ? toJson(report) : toText(report, command)}\n`);
    const state = stateFolder(projectRoot, options.stack, program);
    if (command === "destroy" && report.exitCode === 0) {
        removeLeftovers(projectRoot, options.stack, options.purge, state);
    }
    return report.exitCode;
}

/**
 * @param {string} command
 * @param {string[]} args
 */
function readOptions(command, args) {
    try {
        const { values } = parseArgs({
            args,
            options: {
                json: { type: "boolean", default: false },
                stack: { type: "string", default: "local" },
                config: { type: "string", multiple: true, default: [] },
                purge: { type: "boolean", default: false },
            },
        });
        if (values.purge && command !== "destroy") throw new Error("--purge goes with destroy");
        return values;
    } catch (error) {
        throw new SetupError(`${/** @type {Error} */ (error).message}\n${USAGE}`);
    }
}

/** @param {string[]} args */
async function main([command, ...args]) {
    switch (command) {
        case "up":
        case "preview":
        case "refresh":
        case "destroy":
            return runStack(command, args);
        case "test": {
            const env = await toolEnvironment({ tests: true });
            return isRoot() ? runTests(projectRoot, env, args) : againAsRoot([command, ...args]);
        }
        case "test:vm": {
            const at = args.indexOf("--arch");
            // Read by the set-up and by the tests.
            if (at >= 0) process.env.BUILDFLEET_VM_ARCH = args.splice(at, 2)[1] ?? "";
            const env = await toolEnvironment({ tests: true });
            if (isRoot()) return runTests(projectRoot, env, ["--project", "vm", ...args]);
            return againAsRoot([command, "--arch", machineArchitecture(), ...args]);
        }
        case "bench": {
            const bench = fileURLToPath(new URL("bench/main.mjs", import.meta.url));
            const only = args[args.indexOf("--only") + 1] ?? "";
            const options = {
                cwd: projectRoot,
                // The boots are measured in the tests' machine.
                env: await toolEnvironment({ tests: !args.includes("--only") || only.split(",").includes("boot") }),
                stdout: /** @type {const} */ ("inherit"),
            };
            if (!isRoot()) return againAsRoot([command, ...args]);
            return (await runChild(process.execPath, [bench, ...args], options)).exitCode;
        }
        default:
            throw new SetupError(USAGE);
    }
}

const isRoot = () => process.getuid?.() === 0;

/** @param {Parameters<typeof setup>[0]} [options] */
async function toolEnvironment(options) {
    const { toolFolder } = await setup(options);
    return toolFolder ? { ...process.env, PATH: [toolFolder, process.env.PATH].join(delimiter) } : process.env;
}

try {
    process.exitCode = await main(process.argv.slice(2));
} catch (error) {
    if (!(error instanceof SetupError)) throw error;
    say(error.message);
    process.exitCode = 1;
}
