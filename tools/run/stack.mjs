// One operation on a stack of this checkout, by whichever engine is there.

import { randomBytes } from "node:crypto";
import { existsSync, mkdirSync, readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { delimiter, join } from "node:path";
import { baseReferences, seedRegistry } from "../seed-registry.mjs";
import { projectRoot, say, which } from "../setup/context.mjs";
import { embedded } from "./embedded.mjs";
import { hasOwnBackend, pulumi } from "./pulumi.mjs";

/** @typedef {{create: number, update: number, delete: number, replace: number, same: number}} Changes */
/** @typedef {"preview" | "up" | "refresh" | "destroy"} Command */
/**
 * @typedef {object} Result
 * @property {number} exitCode
 * @property {Changes} [changes] none when the engine ended before it counted
 * @property {Record<string, any>} outputs
 * @property {{urn: string, message: string}[]} errors
 */
/** @typedef {{project: string, state: string, stack: string, config: string[], env: NodeJS.ProcessEnv}} Place */
/**
 * @typedef {object} Engine
 * @property {"pulumi" | "embedded"} name
 * @property {(command: Command, place: Place) => Promise<Result>} operate
 */

/** Folders of `state` that hold what was released: only a purge removes them. */
const RELEASED = ["registry"];

/**
 * @param {Command} command
 * @param {{project: string, stack: string, config: string[], toolFolder: string | undefined}} options
 * @returns {Promise<Result & {engine: Engine["name"], durationMs: number}>}
 */
export async function operate(command, { project, stack, config, toolFolder }) {
    const start = performance.now();
    const program = programOf(project, stack, config);
    const state = stateFolder(project, stack, program);
    const engine = which("pulumi") ? pulumi : embedded;
    mkdirSync(state, { recursive: true, mode: 0o700 });
    if (program === "local") await prepareLocal(command, state);
    else if (command === "up" && engine === pulumi && !hasOwnBackend())
        say(`the state of what is made in the cloud is kept in ${state}; "pulumi login" chooses a backend for it`);
    const env = environment(state, engine, toolFolder);
    const result = await engine.operate(command, { project, state, stack, config, env });
    return { engine: engine.name, ...result, durationMs: Math.round(performance.now() - start) };
}

/**
 * The base images of the example, which stand in the local registry.
 *
 * @param {Command} command
 * @param {string} state
 */
async function prepareLocal(command, state) {
    if (command === "preview" || command === "up") {
        writeFileSync(join(state, "base.json"), JSON.stringify(baseReferences(), null, 4));
    }
    if (command === "up") await seedRegistry(join(state, "registry"));
}

/**
 * The program that a stack runs (stacks/main.ts): as `--config` says, as its settings say, or the one named like it. Plain
 * text matching: it is asked before `npm ci` has brought a YAML parser.
 *
 * @param {string} project
 * @param {string} stack
 * @param {string[]} config `KEY=VALUE`
 * @returns {string}
 */
export function programOf(project, stack, config) {
    const given = config.findLast((setting) => setting.startsWith("buildfleet:program="));
    if (given) return given.slice("buildfleet:program=".length);
    const file = join(project, `Pulumi.${stack}.yaml`);
    const settings = existsSync(file) ? readFileSync(file, "utf8") : "";
    return /^\s+"?buildfleet:program"?:\s*["']?([\w-]+)/m.exec(settings)?.[1] ?? stack;
}

/**
 * Where a stack's state is kept when the user has not chosen a backend. What runs on this machine has it beside its data; any other
 * stack has a folder of its own, which nobody removes together with the local stack.
 *
 * @param {string} project
 * @param {string} stack
 * @param {string} program
 */
export const stateFolder = (project, stack, program) =>
    join(project, program === "local" ? ".buildfleet" : `.buildfleet-${stack.replaceAll("/", "-")}`);

/**
 * @param {string} state
 * @param {Engine} engine
 * @param {string | undefined} toolFolder
 */
function environment(state, engine, toolFolder) {
    const env = { ...process.env };
    if (toolFolder) env.PATH = [toolFolder, env.PATH].filter(Boolean).join(delimiter);
    // The provider's modules are loaded while the program starts (resources/warm-up.ts).
    const warmUp = `--require ${JSON.stringify(join(projectRoot, "dist/resources/warm-up.js"))}`;
    env.NODE_OPTIONS = [env.NODE_OPTIONS, warmUp].filter(Boolean).join(" ");
    const givenByUser = env.PULUMI_CONFIG_PASSPHRASE !== undefined || env.PULUMI_CONFIG_PASSPHRASE_FILE !== undefined;
    if (givenByUser || (engine === pulumi && hasOwnBackend())) return env;
    const file = join(state, "passphrase");
    // Exclusive, and kept for ever: another passphrase would make the secrets in the state unreadable.
    if (!existsSync(file)) writeFileSync(file, randomBytes(32).toString("base64url"), { mode: 0o600, flag: "wx" });
    return { ...env, PULUMI_CONFIG_PASSPHRASE_FILE: file };
}

/**
 * Removes what `up` and this script made, once the stack is destroyed.
 *
 * @param {string} project
 * @param {string} stack
 * @param {boolean} purge also what was released
 * @param {string} state the stack's folder
 */
export function removeLeftovers(project, stack, purge, state = stateFolder(project, stack, "local")) {
    removeSalt(join(project, `Pulumi.${stack}.yaml`), join(state, "pulumi"));
    if (purge) {
        rmSync(state, { recursive: true, force: true });
        return;
    }
    const kept = readdirSync(state).filter((name) => RELEASED.includes(name));
    for (const name of readdirSync(state)) {
        if (!kept.includes(name)) rmSync(join(state, name), { recursive: true, force: true });
    }
    if (kept.length === 0) rmSync(state, { recursive: true, force: true });
    for (const name of kept) {
        say(`kept: ${join(state, name)} (the bytes of what was released; "npm run destroy -- --purge" removes them)`);
    }
}

/**
 * The CLI notes the salt of its passphrase in the stack's settings file. The passphrase goes with the backend, and with another
 * one the salt would be refused; so it goes, too, and the file where nothing else was in it.
 *
 * @param {string} settings
 * @param {string} backend
 */
function removeSalt(settings, backend) {
    if (!existsSync(backend) || !existsSync(settings)) return;
    const lines = readFileSync(settings, "utf8").split("\n");
    const kept = lines.filter((line) => !/^(encryptionsalt|secretsprovider):/.test(line));
    if (kept.every((line) => line.trim() === "")) rmSync(settings);
    else if (kept.length < lines.length) writeFileSync(settings, kept.join("\n"));
}
