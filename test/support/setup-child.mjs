// A set-up of two small tools, for tests that kill it: `node setup-child.mjs CACHE MODULES [hang]`.
// "hang": the second tool's compile writes half of it, says so, and never ends.

import { chmodSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { withLock } from "../../tools/setup/lock.mjs";
import { inspectTools, installTools } from "../../tools/setup/tools.mjs";

const [cache = "", modules = "", mode] = process.argv.slice(2);

const tool = (/** @type {string} */ name) => ({
    name,
    minimum: "1.0.0",
    why: "",
    versionArgs: ["--version"],
    module: "fake",
    goModule: "example.com/fake",
    goPackage: `example.com/fake/${name}`,
});

/** @type {import("../../tools/setup/tools.mjs").Toolbox} */
const toolbox = {
    tools: [tool("first"), tool("second")],
    modules,
    cache,
    folders: [],
    async compile(_toolbox, { name }, output) {
        process.stdout.write(`compile ${name}\n`);
        writeFileSync(output, "#!/bin/sh\n");
        if (mode === "hang" && name === "second") {
            process.stdout.write("hanging\n");
            await new Promise((never) => setInterval(never, 2 ** 30));
        }
        writeFileSync(output, `#!/bin/sh\necho ${name} 1.0.0\n`);
        chmodSync(output, 0o755);
    },
};

await withLock(join(cache, "setup.lock"), async () => installTools(toolbox, await inspectTools(toolbox)));
process.stdout.write(`done ${(await inspectTools(toolbox)).map(({ action }) => action).join(" ")}\n`);
