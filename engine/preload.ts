/**
 * Loaded into the program before the SDK.
 *
 * The SDK reports an uncaught error through a coloured `util.inspect`, which in Node 20.20 never returns for a stack that names a scoped
 * package's top-level file (`node_modules/@pulumi/resource.ts`). Without colours it does.
 */
import "./lazy";
import { existsSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { missingPlugin, pluginOnPath, REFUSED } from "./missing";

import Module = require("node:module");
import util = require("node:util");

const inspect = util.inspect;
const plain = (value: unknown, options?: unknown, ...rest: unknown[]) =>
    (inspect as (...args: unknown[]) => string)(
        value,
        typeof options === "object" ? { ...options, colors: false } : options,
        ...rest,
    );
util.inspect = Object.assign(plain, inspect) as typeof inspect;

type Load = (request: string, parent?: { paths?: string[] }, ...rest: unknown[]) => unknown;

/**
 * Except in a preview, a program is ended where it loads a provider's package without a plugin, which is before it asks the engine for
 * anything: it would otherwise be refused halfway, with some of its resources made. What is loaded as an ES module gets past this, and is
 * refused when it is registered.
 */
function refuseMissing(provided: string[]): void {
    const loader = Module as unknown as { _load: Load };
    const load = loader._load;
    const asked = new Set<string>(["@pulumi/pulumi"]);
    loader._load = (request, parent, ...rest) => {
        const [name = ""] = /^(?:@[^/]+\/)?[^./][^/]*/.exec(request) ?? [];
        if (name.includes("pulumi") && !asked.has(name)) {
            asked.add(name);
            const plugin = pluginOf(name, parent?.paths ?? []);
            if (plugin !== undefined && !provided.includes(plugin) && !pluginOnPath(plugin)) {
                process.stderr.write(`${missingPlugin(plugin)}; a preview needs none\n`);
                process.exit(REFUSED);
            }
        }
        return load.call(Module, request, parent, ...rest);
    };
}

/** The plugin that a package's package.json asks for (`pulumi.resource`). */
function pluginOf(name: string, folders: string[]): string | undefined {
    const file = folders.map((folder) => join(folder, name, "package.json")).find(existsSync);
    const { pulumi } = file ? JSON.parse(readFileSync(file, "utf8")) : {};
    return pulumi?.resource ? (pulumi.name ?? name.replace(/^.*\//, "")) : undefined;
}

const provided = process.env.EMBEDDED_ENGINE_PROVIDES;
if (provided !== undefined) refuseMissing(provided.split(","));
