// Gets everything a fresh machine needs: `node tools/setup.mjs`, or with --check only tells what is missing.

import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { provideBase, readBase } from "./base/index.mjs";
import { cacheRoot, SetupError, say } from "./setup/context.mjs";
import { withLock } from "./setup/lock.mjs";
import { buildSources, dependenciesInstalled, installDependencies, sourcesBuilt } from "./setup/project.mjs";
import { emulationState, enableEmulation, installPackages, missingPackages, requirePlatform } from "./setup/system.mjs";
import { defaultToolbox, inspectTools, installTools, requireGo } from "./setup/tools.mjs";

/**
 * One thing that must be there.
 *
 * @typedef {object} Step
 * @property {string} name
 * @property {() => Promise<string[]>} missing what is missing, in words; nothing when the step is done
 * @property {() => Promise<void>} provide
 */

const toolbox = defaultToolbox();

const compiles = async () => (await inspectTools(toolbox)).filter(({ action }) => action === "compile");

/** @type {Step[]} In this order: each needs what stands above it. */
const STEPS = [
    {
        name: "packages",
        missing: async () => missingPackages(),
        provide: () => installPackages(missingPackages()),
    },
    {
        name: "dependencies",
        missing: async () => (dependenciesInstalled() ? [] : ["node_modules is not what package-lock.json says"]),
        provide: installDependencies,
    },
    {
        name: "build",
        missing: async () => (sourcesBuilt() ? [] : ["dist is older than the sources"]),
        provide: buildSources,
    },
    {
        name: "emulation",
        missing: async () => (emulationState().ready ? [] : [emulationState().detail]),
        provide: enableEmulation,
    },
    {
        name: "tools",
        missing: async () => (await compiles()).map(({ tool, why }) => `${tool.name}: ${why}`),
        provide: async () => {
            await requireGo(toolbox);
            await installTools(toolbox, await inspectTools(toolbox));
        },
    },
    {
        name: "base images",
        missing: async () => (readBase() ? [] : ["no base image for the examples"]),
        provide: async () => {
            await provideBase();
        },
    },
];

/**
 * Brings everything there; does nothing, fast, when it is.
 *
 * @returns {Promise<{toolFolder: string | undefined}>} folder that must stand in front of PATH, because a tool on PATH
 *   is too old
 */
export async function setup() {
    requirePlatform();
    if ((await missingSteps()).length > 0) {
        await withLock(join(cacheRoot(), "setup.lock"), async () => {
            // Asked again, one by one: whoever held the lock before may have done it, and a step may need the one above.
            for (const step of STEPS) if ((await step.missing()).length > 0) await step.provide();
        });
    }
    const shadowed = (await inspectTools(toolbox)).some((state) => state.shadowed);
    return { toolFolder: shadowed ? join(cacheRoot(), "bin") : undefined };
}

async function missingSteps() {
    const states = await Promise.all(STEPS.map(async (step) => ({ step, missing: await step.missing() })));
    return states.filter(({ missing }) => missing.length > 0);
}

/** Prints what is there and what is missing; changes nothing. */
async function check() {
    requirePlatform();
    const missing = await missingSteps();
    for (const { name } of STEPS) {
        const problems = missing.find(({ step }) => step.name === name)?.missing ?? [];
        say(
            `${problems.length > 0 ? "missing" : "ok     "}  ${name}${problems.map((line) => `\n           ${line}`).join("")}`,
        );
    }
    for (const { tool, action, why } of await inspectTools(toolbox)) say(`         ${tool.name}: ${action}, ${why}`);
    return missing.length > 0 ? 1 : 0;
}

if (process.argv[1] === fileURLToPath(import.meta.url)) {
    try {
        const unknown = process.argv.slice(2).filter((argument) => argument !== "--check");
        if (unknown.length > 0) throw new SetupError(`unknown argument ${unknown.join(" ")}`, "there is only --check");
        if (process.argv.includes("--check")) process.exitCode = await check();
        else await setup();
    } catch (error) {
        if (!(error instanceof SetupError)) throw error;
        say(error.message);
        process.exitCode = 1;
    }
}
