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
 * The table of a stack, with one line for each component whose settings have a table of their own.
 *
 * @param {SettingRow[]} rows
 */
function withoutComponents(rows) {
    const components = { fleet: "Ec2Fleet", repository: "EcrRepository" };
    const seen = new Set();
    return rows.flatMap((row) => {
        const [name = ""] = /^\w+/.exec(row.path) ?? [];
        const component = components[/** @type {keyof typeof components} */ (name)];
        if (!component) return [row];
        if (seen.has(name)) return [];
        seen.add(name);
        return [{ path: name, type: "table", default: "", description: `As in the table of ${component}` }];
    });
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
    const { awsSettings } = require("../dist/core/aws-settings.js");
    const { fleetSettings } = require("../dist/core/aws/fleet-settings.js");
    const { repositorySettings } = require("../dist/core/aws/repository-settings.js");
    const tables = {
        image: settingsTable(imageSettings()),
        fleet: settingsTable(fleetSettings()),
        repository: settingsTable(repositorySettings()),
        local: settingsTable(localSettings()),
        aws: withoutComponents(settingsTable(awsSettings())),
    };
    return Object.entries(tables).reduce((whole, [name, rows]) => {
        const [begin, end] = [`<!-- settings:${name} -->`, `<!-- /settings:${name} -->`];
        const [from, to] = [whole.indexOf(begin), whole.indexOf(end)];
        if (from < 0 || to < from) throw new Error(`README.md has no place for the table "${name}"`);
        return `${whole.slice(0, from + begin.length)}\n\n${toMarkdown(rows)}\n\n${whole.slice(to)}`;
    }, text);
}

if (process.argv[1] === fileURLToPath(import.meta.url)) writeFileSync(README, withTables(readFileSync(README, "utf8")));
