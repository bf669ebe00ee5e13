// Writes the tables of settings into the documents, from the schemas that check them: `npm run docs`.

import { readFileSync, writeFileSync } from "node:fs";
import { createRequire } from "node:module";
import { fileURLToPath } from "node:url";

const require = createRequire(import.meta.url);

/** Which document has which tables. */
export const TABLES = {
    "README.md": ["image", "local"],
    "docs/aws.md": ["fleet", "repository", "aws"],
    "docs/onprem.md": ["external", "managed", "registry", "server", "mirror", "onprem"],
};

/** Settings of the stacks that are described elsewhere. */
const ELSEWHERE = {
    registry: "The private registry, as in the table of `RegistryConnection`",
    registryServer:
        "In place of `registry`: one that this stack sets up, as in the table of `RegistryServer`; `ssh` may be the name of a managed host",
    mirror: "What is brought into the registry before the image is built, as in the table of `ImageMirror`; `to` is the registry",
    builders: "`external`: as in the table of `ExternalFleet`; `managed`: as in that of `ManagedFleet`",
    fleet: "The builders, as in the table of `Ec2Fleet`",
    repository: "As in the table of `EcrRepository`; `name` is `hello` when unset",
    scan: "As in the table of `MultiPlatformImage`",
    sign: "As in the table of `MultiPlatformImage`; an `ImageSigningKey` of the stack's own when unset",
};

/** A default that takes more than this is told in the description. */
const LONGEST = 80;

/** @typedef {import("../core/settings-table.ts").SettingRow} SettingRow */
/** @typedef {keyof typeof TABLES} Document */

const cell = (/** @type {string} */ text) => text.replaceAll("|", "\\|");
const code = (/** @type {string} */ text) => (text === "" || text.length > LONGEST ? "" : `\`${cell(text)}\``);

/** @param {SettingRow[]} rows */
function toMarkdown(rows) {
    const lines = rows.map(
        (row) => `| ${code(row.path)} | ${cell(row.type)} | ${code(row.default)} | ${cell(row.description)} |`,
    );
    return ["| setting | takes | default | |", "|---|---|---|---|", ...lines].join("\n");
}

/** @param {string} name */
function rowsOf(name) {
    const { settingsTable } = require("../dist/core/settings-table.js");
    /** @type {Record<string, () => SettingRow[]>} */
    const tables = {
        image: () => settingsTable(require("../dist/core/image-settings.js").imageSettings()),
        local: () => settingsTable(require("../dist/core/local-settings.js").localSettings()),
        fleet: () => settingsTable(require("../dist/core/aws/fleet-settings.js").fleetSettings()),
        repository: () => settingsTable(require("../dist/core/aws/repository-settings.js").repositorySettings()),
        external: () => settingsTable(require("../dist/core/external-fleet-settings.js").externalFleetSettings()),
        managed: () => settingsTable(require("../dist/core/managed-fleet-settings.js").managedFleetSettings()),
        registry: () => settingsTable(require("../dist/core/registry-settings.js").registrySettings()),
        server: () => settingsTable(require("../dist/core/registry-server/settings.js").registryServerSettings()),
        mirror: () => settingsTable(require("../dist/core/image-mirror-settings.js").imageMirrorSettings()),
        onprem: () => shortened(settingsTable(require("../dist/core/onprem-settings.js").onpremSettings())),
        aws: () => shortened(settingsTable(require("../dist/core/aws-settings.js").awsSettings())),
    };
    return tables[name]?.() ?? [];
}

/** @param {SettingRow[]} rows */
function shortened(rows) {
    const seen = new Set();
    return rows.flatMap((row) => {
        const [name = ""] = /^\w+/.exec(row.path) ?? [];
        if (!(name in ELSEWHERE)) return [row];
        if (seen.has(name)) return [];
        seen.add(name);
        const description = ELSEWHERE[/** @type {keyof typeof ELSEWHERE} */ (name)];
        return [{ path: name, type: "table", default: "", description }];
    });
}

/**
 * A document's text with its tables replaced: each stands between `<!-- settings:NAME -->` and `<!-- /settings:NAME -->`.
 *
 * @param {string} text
 * @param {Document} document
 */
export function withTables(text, document) {
    return TABLES[document].reduce((whole, name) => {
        const [begin, end] = [`<!-- settings:${name} -->`, `<!-- /settings:${name} -->`];
        const [from, to] = [whole.indexOf(begin), whole.indexOf(end)];
        if (from < 0 || to < from) throw new Error(`${document} has no place for the table "${name}"`);
        return `${whole.slice(0, from + begin.length)}\n\n${toMarkdown(rowsOf(name))}\n\n${whole.slice(to)}`;
    }, text);
}

if (process.argv[1] === fileURLToPath(import.meta.url)) {
    for (const document of /** @type {Document[]} */ (Object.keys(TABLES))) {
        const file = fileURLToPath(new URL(`../${document}`, import.meta.url));
        writeFileSync(file, withTables(readFileSync(file, "utf8"), document));
    }
}
