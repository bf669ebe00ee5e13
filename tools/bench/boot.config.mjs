import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { defineConfig } from "vitest/config";

/** What `npm run bench` runs in the tests' machine. */
export default defineConfig({
    root: join(fileURLToPath(import.meta.url), "../../.."),
    test: { include: ["test/vm/boot-times.ts"], pool: "forks" },
});
