// `npm test`: the tests, closing with one line that tells how many there were.

import { mkdtempSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { runChild } from "./child.mjs";

/** The emulated machine leaves much of two cores unused for minutes: all of it runs beside all the rest. */
const WHOLE = [["--project=!vm"], ["--project=vm"]];

/**
 * @param {string} project
 * @param {NodeJS.ProcessEnv} env
 * @param {string[]} args for vitest; all tests without
 * @returns {Promise<number>} exit code
 */
export async function runTests(project, env, args) {
    const folder = mkdtempSync(join(tmpdir(), "buildfleet-tests-"));
    const sets = args.length === 0 ? WHOLE : [args];
    try {
        const runs = await Promise.all(
            sets.map(async (set, index) => {
                const file = join(folder, `results-${index}.json`);
                const vitest = join(project, "node_modules/vitest/vitest.mjs");
                const reporters = ["--reporter=default", "--reporter=json", `--outputFile.json=${file}`];
                // Of several only the first is watched; what the others say comes after it, in one piece.
                /** @type {"inherit" | "capture"} */
                const stdout = index === 0 ? "inherit" : "capture";
                const options = { cwd: project, env, stdout };
                return { file, ...(await runChild(process.execPath, [vitest, "run", ...reporters, ...set], options)) };
            }),
        );
        for (const { stdout } of runs) process.stdout.write(stdout);
        const total = { passed: 0, failed: 0, skipped: 0 };
        for (const { file } of runs) {
            const results = JSON.parse(readFileSync(file, "utf8"));
            // A file that can't be loaded runs no test, and must not read as "0 failed".
            const brokenFiles = results.testResults.filter(
                (/** @type {any} */ result) => result.status === "failed" && result.assertionResults.length === 0,
            );
            total.passed += results.numPassedTests;
            total.failed += results.numFailedTests + brokenFiles.length;
            total.skipped += results.numPendingTests + results.numTodoTests;
        }
        if (total.skipped > 0) process.stdout.write(`${total.skipped} skipped\n`);
        process.stdout.write(`${total.passed} passed, ${total.failed} failed\n`);
        return runs.find(({ exitCode }) => exitCode !== 0)?.exitCode ?? 0;
    } finally {
        rmSync(folder, { recursive: true, force: true });
    }
}
