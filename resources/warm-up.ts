import { readdirSync } from "node:fs";
import { join } from "node:path";

/**
 * Loads the operations into the process that runs dynamic providers while it waits for the program to start; without
 * this they are loaded one by one when they are first needed, on the way to the first build. Takes effect through
 * `NODE_OPTIONS="--require …/dist/resources/warm-up.js"`, under any engine; every other process ignores it.
 */
function warmUp(): void {
    for (const entry of readdirSync(__dirname, { withFileTypes: true }))
        if (entry.isDirectory()) require(join(__dirname, entry.name, "operations.js"));
    // The very modules that drivers/x509.ts imports; what fails here fails there again, and is told there.
    void import("reflect-metadata").then(() => import("@peculiar/x509")).catch(() => undefined);
}

// After the provider's own modules, which come first.
if (process.argv[1]?.includes("dynamic-provider")) setImmediate(warmUp);
