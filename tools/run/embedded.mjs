// The engine of this package, for machines without the Pulumi CLI.

import { join } from "node:path";
import { runChild } from "./child.mjs";

/** @typedef {import("./stack.mjs").Engine} Engine */

/** @type {Engine} */
export const embedded = {
    name: "embedded",
    async operate(command, { project, state, stack, config, env }) {
        const where = ["--cwd", project, "--stack", stack, "--state", join(state, "state")];
        const settings = config.flatMap((setting) => ["--config", setting]);
        const cli = join(project, "dist/engine/cli.js");
        const child = await runChild(process.execPath, [cli, command, ...where, ...settings, "--json"], {
            cwd: project,
            env,
            stdout: "capture",
        });
        // No document: it was ended before it could say anything, and has told why on standard error.
        if (child.stdout.trim() === "") return { exitCode: child.exitCode || 1, outputs: {}, errors: [] };
        const { changes, outputs, errors } = JSON.parse(child.stdout);
        return { exitCode: child.exitCode, changes, outputs, errors };
    },
};
