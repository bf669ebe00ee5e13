// Gets everything a fresh machine needs: `node tools/setup.mjs`; with --tests, what only the tests need, too; with --check
// only tells what is missing.

import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { provideBase, readBase } from "./base/index.mjs";
import { cacheRoot, SetupError, say } from "./setup/context.mjs";
import { withLock } from "./setup/lock.mjs";
import { installMoto, motoInstalled } from "./setup/moto.mjs";
import { buildSources, dependenciesInstalled, installDependencies, sourcesBuilt } from "./setup/project.mjs";
import {
    emulationState,
    enableEmulation,
    installPackages,
    missingPackages,
    requirePlatform,
    TEST_PACKAGES,
} from "./setup/system.mjs";
import { defaultToolbox, inspectTools, installTools, requireGo, testToolbox } from "./setup/tools.mjs";
import { hasArtifact, provideArtifact } from "./vm/artifact.mjs";
import { provideMachineImage, readMachineImage } from "./vm/image.mjs";
import { canMakeImage, machineArchitecture } from "./vm/recipe.mjs";

/**
 * One thing that must be there.
 *
 * @typedef {object} Step
 * @property {string} name
 * @property {() => Promise<string[]>} missing what is missing, in words; nothing when the step is done
 * @property {() => Promise<void>} provide
 * @property {boolean} [tests] only the tests need it
 */

/** @typedef {import("./setup/tools.mjs").Toolbox} Toolbox */

const toolbox = defaultToolbox();

/** @param {Toolbox} toolbox */
const compiled = (toolbox) => ({
    missing: async () =>
        (await inspectTools(toolbox))
            .filter(({ action }) => action === "compile")
            .map(({ tool, why }) => `${tool.name}: ${why}`),
    provide: async () => {
        await requireGo(toolbox);
        await installTools(toolbox, await inspectTools(toolbox));
    },
});

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
        ...compiled(toolbox),
    },
    {
        name: "base images",
        missing: async () => (readBase() ? [] : ["no base image for the examples"]),
        provide: async () => {
            await provideBase();
        },
    },
    {
        name: "packages for tests",
        tests: true,
        missing: async () => missingPackages(TEST_PACKAGES),
        provide: () => installPackages(missingPackages(TEST_PACKAGES)),
    },
    {
        name: "tools for tests",
        tests: true,
        ...compiled(testToolbox()),
    },
    {
        name: "moto",
        tests: true,
        missing: async () => (motoInstalled() ? [] : ["no emulator of AWS's APIs"]),
        provide: installMoto,
    },
    {
        name: "machine image",
        tests: true,
        missing: async () =>
            !canMakeImage() || readMachineImage(machineArchitecture()) ? [] : ["no disk of a machine to boot"],
        provide: () => provideMachineImage(machineArchitecture()),
    },
    {
        name: "machine's BuildKit",
        tests: true,
        missing: async () =>
            !canMakeImage() || (await hasArtifact(machineArchitecture())) ? [] : ["no tarball of BuildKit"],
        provide: () => provideArtifact(machineArchitecture()),
    },
];

/**
 * Brings everything there; does nothing, fast, when it is.
 *
 * @param {{tests?: boolean, only?: string[]}} [options] `tests`: what only the tests need, too; `only`: steps by name
 * @returns {Promise<{toolFolder: string | undefined}>} folder that must stand in front of PATH, because a tool on PATH
 *   is too old
 */
export async function setup({ tests = false, only } = {}) {
    requirePlatform();
    const steps = STEPS.filter((step) => (only ? only.includes(step.name) : tests || !step.tests));
    if ((await missingSteps(steps)).length > 0) {
        await withLock(join(cacheRoot(), "setup.lock"), async () => {
            // Asked again, one by one: whoever held the lock before may have done it, and a step may need the one above.
            for (const step of steps) if ((await step.missing()).length > 0) await step.provide();
        });
    }
    const shadowed = (await inspectTools(toolbox)).some((state) => state.shadowed);
    return { toolFolder: shadowed ? join(cacheRoot(), "bin") : undefined };
}

/** @param {Step[]} steps */
async function missingSteps(steps) {
    const states = await Promise.all(steps.map(async (step) => ({ step, missing: await step.missing() })));
    return states.filter(({ missing }) => missing.length > 0);
}

/** Prints what is there and what is missing; changes nothing. Not having what only tests need is no failure. */
async function check() {
    requirePlatform();
    const missing = await missingSteps(STEPS);
    for (const { name, tests } of STEPS) {
        const problems = missing.find(({ step }) => step.name === name)?.missing ?? [];
        const only = tests && problems.length > 0 ? " (for tests only)" : "";
        say(
            `${problems.length > 0 ? "missing" : "ok     "}  ${name}${only}${problems.map((line) => `\n           ${line}`).join("")}`,
        );
    }
    for (const { tool, action, why } of await inspectTools(toolbox)) say(`         ${tool.name}: ${action}, ${why}`);
    return missing.some(({ step }) => !step.tests) ? 1 : 0;
}

if (process.argv[1] === fileURLToPath(import.meta.url)) {
    try {
        const unknown = process.argv.slice(2).filter((argument) => !["--check", "--tests"].includes(argument));
        if (unknown.length > 0) {
            throw new SetupError(`unknown argument ${unknown.join(" ")}`, "there are only --check and --tests");
        }
        if (process.argv.includes("--check")) process.exitCode = await check();
        else await setup({ tests: process.argv.includes("--tests") });
    } catch (error) {
        if (!(error instanceof SetupError)) throw error;
        say(error.message);
        process.exitCode = 1;
    }
}
