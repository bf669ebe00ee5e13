// What a run shows: a table for people, one JSON document for programs.

/** @typedef {import("./stack.mjs").Result & {engine: string, durationMs: number}} Report */

/**
 * @param {Report} report
 * @returns {string}
 */
export function toJson({ engine, exitCode, changes, outputs, errors, durationMs }) {
    const counted = changes ?? { create: 0, update: 0, delete: 0, replace: 0, same: 0 };
    const failure = exitCode === 0 ? {} : { errors };
    return JSON.stringify({ engine, changes: counted, outputs, durationMs, ...failure }, null, 2);
}

/** A value that a preview does not know; the Pulumi CLI leaves such outputs out. */
const UNKNOWN = "[unknown]";

/**
 * @param {Report} report
 * @param {string} command
 * @returns {string}
 */
export function toText(report, command) {
    const { changes, durationMs, engine } = report;
    const isKnown = (/** @type {[string, unknown]} */ [, value]) => value !== UNKNOWN;
    const outputs = Object.fromEntries(Object.entries(report.outputs).filter(isKnown));
    const later = Object.keys(report.outputs).filter((name) => !(name in outputs));
    const lines = [];
    if (outputs.platforms && Object.keys(outputs.platforms).length > 0) lines.push(platformTable(outputs), "");
    const shown = Object.keys(outputs).filter((name) => name !== "platforms" && name !== "vulnerabilities");
    const first = ["ref", "digest", "tags"].filter((name) => shown.includes(name));
    for (const name of [...first, ...shown.filter((other) => !first.includes(other))]) {
        lines.push(`${name}: ${oneLine(outputs[name])}`);
    }
    if (later.length > 0) lines.push(`known after the next up: ${later.join(", ")}`);
    if (lines.length > 0) lines.push("");
    if (changes) lines.push(summary(changes, command));
    lines.push(`${(durationMs / 1000).toFixed(1)} s, ${engine} engine`);
    return lines.join("\n");
}

/** @type {Record<string, Record<keyof import("./stack.mjs").Changes, string>>} */
const WORDS = {
    done: { create: "created", update: "updated", replace: "replaced", delete: "deleted", same: "unchanged" },
    planned: {
        create: "to create",
        update: "to update",
        replace: "to replace",
        delete: "to delete",
        same: "unchanged",
    },
};

/**
 * @param {import("./stack.mjs").Changes} changes
 * @param {string} command
 */
function summary(changes, command) {
    const { same, ...moved } = changes;
    if (Object.values(moved).every((count) => count === 0)) {
        const what =
            command === "up" ? "Nothing has changed: nothing was built, nothing was signed" : "Nothing has changed";
        return `${what} (${same} resources).`;
    }
    const words = Object.entries(WORDS[command === "preview" ? "planned" : "done"] ?? {});
    const count = (/** @type {string} */ name) => changes[/** @type {keyof typeof changes} */ (name)];
    return `Resources: ${words.flatMap(([name, word]) => (count(name) > 0 ? `${count(name)} ${word}` : [])).join(", ")}.`;
}

/** @param {Record<string, any>} outputs */
function platformTable({ platforms, vulnerabilities = {} }) {
    const head = ["PLATFORM", "NODE", "EMULATED", "DIGEST", "SIZE", "DURATION", "FINDINGS"];
    const rows = Object.entries(platforms).map(([platform, image]) => [
        platform,
        image.node ?? "",
        image.emulated ? "yes" : "no",
        `${String(image.digest ?? "").slice(0, "sha256:".length + 12)}`,
        size(image.size),
        image.durationMs === undefined ? "" : `${(image.durationMs / 1000).toFixed(1)} s`,
        findings(vulnerabilities[platform]),
    ]);
    const widths = head.map((title, i) => Math.max(title.length, ...rows.map((row) => row[i]?.length ?? 0)));
    return [head, ...rows]
        .map((row) =>
            row
                .map((cell, i) => cell.padEnd(widths[i] ?? 0))
                .join("  ")
                .trimEnd(),
        )
        .join("\n");
}

/** @param {unknown} bytes */
function size(bytes) {
    return typeof bytes === "number" ? `${(bytes / 1_000_000).toFixed(1)} MB` : "";
}

/** @param {{counts?: Record<string, number>, advisories?: number} | undefined} scan */
function findings(scan) {
    if (!scan) return "not scanned";
    const found = Object.entries(scan.counts ?? {}).filter(([, count]) => count > 0);
    const text = found.length > 0 ? found.map(([severity, count]) => `${count} ${severity}`).join(", ") : "none";
    return scan.advisories === undefined ? text : `${text} (${scan.advisories} advisories)`;
}

/** @param {unknown} value */
function oneLine(value) {
    if (Array.isArray(value) && value.every((item) => typeof item === "string")) return value.join(", ");
    return typeof value === "string" ? value : JSON.stringify(value);
}
