// `npm test`: the tests, closing with one line that tells how many there were.

import { mkdtempSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { runChild } from "./child.mjs";

/**
 * @param {string} project
 * @param {NodeJS.ProcessEnv} env
 * @param {string[]} args for vitest
 * @returns {Promise<number>} exit code
 */
export async function runTests(project, env, args) {
    const folder = mkdtempSync(join(tmpdir(), "buildfleet-tests-"));
    try {
        const file = join(folder, "results.json");
        const vitest = join(project, "node_modules/vitest/vitest.mjs");
        const reporters = ["--reporter=default", "--reporter=json", `--outputFile.json=${file}`];
        const options = { cwd: project, env, stdout: /** @type {const} */ ("inherit") };
        const { exitCode } = await runChild(process.execPath, [vitest, "run", ...reporters, ...args], options);
        const results = JSON.parse(readFileSync(file, "utf8"));
        // A file that can't be loaded, or whose set-up fails, runs no test, and must not read as "0 failed".
        const brokenFiles = results.testResults.filter(
            (/** @type {any} */ result) =>
                result.status === "failed" &&
                !result.assertionResults.some((/** @type {any} */ test) => test.status === "failed"),
        );
        const skipped = results.numPendingTests + results.numTodoTests;
        const failed = results.numFailedTests + brokenFiles.length;
        if (skipped > 0) process.stdout.write(`${skipped} skipped\n`);
        process.stdout.write(`${results.numPassedTests} passed, ${failed} failed\n`);
        return exitCode;
    } finally {
        rmSync(folder, { recursive: true, force: true });
    }
}
