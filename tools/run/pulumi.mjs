// The Pulumi CLI, where it is on PATH.

import { existsSync, mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync } from "node:fs";
import { homedir, hostname, tmpdir } from "node:os";
import { join, sep } from "node:path";
import { pathToFileURL } from "node:url";
import { runChild } from "./child.mjs";

/** @typedef {import("./stack.mjs").Engine} Engine */

/** Whether the user has chosen a backend: then the stack lives there, and its secrets are theirs to set up. */
export function hasOwnBackend(env = process.env) {
    if (env.PULUMI_BACKEND_URL) return true;
    const credentials = join(env.PULUMI_HOME || join(env.HOME || homedir(), ".pulumi"), "credentials.json");
    if (!existsSync(credentials)) return false;
    return Boolean(JSON.parse(readFileSync(credentials, "utf8")).current);
}

/** @type {Engine} */
export const pulumi = {
    name: "pulumi",
    async operate(command, { project, state, stack, config, env: given }) {
        /** @type {NodeJS.ProcessEnv} */
        const env = { ...given, PULUMI_SKIP_UPDATE_CHECK: "true", PULUMI_DEBUG_COMMANDS: "true" };
        if (!hasOwnBackend(given)) {
            const backend = join(state, "pulumi");
            mkdirSync(backend, { recursive: true, mode: 0o700 });
            env.PULUMI_BACKEND_URL = pathToFileURL(backend).href;
        }
        const at = { cwd: project, env };
        const selected = await runChild("pulumi", ["stack", "select", "--create", stack, "--non-interactive"], at);
        if (selected.exitCode !== 0) return { exitCode: selected.exitCode, outputs: {}, errors: [] };
        if (!hasOwnBackend(given) && isHeldByTheDead(join(state, "pulumi"), stack)) {
            await runChild("pulumi", ["cancel", "--yes", "--stack", stack, "--non-interactive"], at);
        }
        // The events are a file's, so that the display stays the CLI's own.
        const folder = mkdtempSync(join(tmpdir(), "buildfleet-events-"));
        try {
            const events = join(folder, "events.jsonl");
            const consent = command === "preview" ? [] : ["--yes", "--skip-preview"];
            const settings = config.flatMap((setting) => ["--config", setting]);
            const options = ["--stack", stack, "--non-interactive", "--event-log", events, ...consent, ...settings];
            const { exitCode } = await runChild("pulumi", [command, ...options], at);
            const outputs = command === "destroy" ? {} : await readOutputs(stack, at);
            return { exitCode, outputs, ...readEvents(existsSync(events) ? readFileSync(events, "utf8") : "") };
        } finally {
            rmSync(folder, { recursive: true, force: true });
        }
    },
};

/**
 * Whether a stack of our own backend is locked by runs of this machine that were killed, and by no other: the CLI would
 * refuse until somebody says `pulumi cancel`.
 *
 * @param {string} backend folder
 * @param {string} stack
 */
export function isHeldByTheDead(backend, stack) {
    const locks = join(backend, ".pulumi/locks");
    if (!existsSync(locks)) return false;
    const held = readdirSync(locks, { recursive: true, encoding: "utf8" })
        .filter((path) => path.endsWith(".json") && path.split(sep).includes(stack))
        .map((path) => JSON.parse(readFileSync(join(locks, path), "utf8")));
    const isDead = (/** @type {{pid: number, hostname: string}} */ lock) =>
        lock.hostname === hostname() && !existsSync(`/proc/${lock.pid}`);
    return held.length > 0 && held.every(isDead);
}

/**
 * @param {string} stack
 * @param {{cwd: string, env: NodeJS.ProcessEnv}} at
 * @returns {Promise<Record<string, unknown>>}
 */
async function readOutputs(stack, at) {
    const child = await runChild("pulumi", ["stack", "output", "--json", "--stack", stack], {
        ...at,
        stdout: "capture",
    });
    return child.exitCode === 0 ? JSON.parse(child.stdout) : {};
}

/**
 * The counts of the last summary and the errors of a log of engine events (apitype.EngineEvent, one a line).
 *
 * @param {string} log
 * @returns {{changes?: import("./stack.mjs").Changes, errors: {urn: string, message: string}[]}}
 */
export function readEvents(log) {
    const events = log
        .split("\n")
        .filter((line) => line.trim() !== "")
        .map((line) => JSON.parse(line));
    const errors = events
        .map(({ diagnosticEvent }) => diagnosticEvent)
        .filter((event) => event?.severity === "error")
        .map(({ urn = "", message }) => ({ urn, message: message.replace(/<\{%.*?%\}>/g, "").trim() }));
    const counts = events.findLast(({ summaryEvent }) => summaryEvent)?.summaryEvent.resourceChanges;
    if (!counts) return { errors };
    const count = (/** @type {string[]} */ ...operations) =>
        operations.reduce((sum, name) => sum + (counts[name] ?? 0), 0);
    const changes = {
        create: count("create"),
        update: count("update"),
        delete: count("delete"),
        replace: count("replace"),
        same: count("same"),
    };
    return { changes, errors };
}
