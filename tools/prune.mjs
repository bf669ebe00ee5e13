// Removes what was compiled from sources that are gone: tsc leaves it, and it would be published.

import { existsSync, readdirSync, rmSync } from "node:fs";
import { join } from "node:path";
import { projectRoot } from "./setup/context.mjs";

const COMPILED = /\.(d\.ts|js|js\.map)$/;

for (const entry of readdirSync(join(projectRoot, "dist"), { recursive: true, withFileTypes: true })) {
    if (!entry.isFile() || !COMPILED.test(entry.name)) continue;
    const path = join(entry.parentPath, entry.name);
    const source = join(projectRoot, path.slice(join(projectRoot, "dist").length)).replace(COMPILED, ".ts");
    if (!existsSync(source)) rmSync(path);
}
