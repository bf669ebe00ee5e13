// Writes the tables of settings into README.md, from the schemas that check them: `npm run docs`.

import { readFileSync, writeFileSync } from "node:fs";
import { createRequire } from "node:module";
import { fileURLToPath } from "node:url";

const require = createRequire(import.meta.url);
const README = fileURLToPath(new URL("../README.md", import.meta.url));

/** @typedef {import("../core/settings-table.ts").SettingRow} SettingRow */

const cell = (/** @type {string} */ text) => text.replaceAll("|", "\\|");
const code = (/** @type {string} */ text) => (text === "" ? "" : `\`${cell(text)}\``);

/** @param {SettingRow[]} rows */
function toMarkdown(rows) {
    const lines = rows.map(
        (row) => `| ${code(row.path)} | ${cell(row.type)} | ${code(row.default)} | ${cell(row.description)} |`,
    );
    return ["| setting | takes | default | |", "|---|---|---|---|", ...lines].join("\n");
}

/**
 * The text with its tables replaced: each stands between `<!-- settings:NAME -->` and `<!-- /settings:NAME -->`.
 *
 * @param {string} text
 */
export function withTables(text) {
    const { settingsTable } = require("../dist/core/settings-table.js");
    const { imageSettings } = require("../dist/core/image-settings.js");
    const { localSettings } = require("../dist/core/local-settings.js");
    const tables = { image: imageSettings(), local: localSettings() };
    return Object.entries(tables).reduce((whole, [name, schema]) => {
        const [begin, end] = [`<!-- settings:${name} -->`, `<!-- /settings:${name} -->`];
        const [from, to] = [whole.indexOf(begin), whole.indexOf(end)];
        if (from < 0 || to < from) throw new Error(`README.md has no place for the table "${name}"`);
        return `${whole.slice(0, from + begin.length)}\n\n${toMarkdown(settingsTable(schema))}\n\n${whole.slice(to)}`;
    }, text);
}

if (process.argv[1] === fileURLToPath(import.meta.url)) writeFileSync(README, withTables(readFileSync(README, "utf8")));
