// How long a builder takes from power-on until BuildKit answers over mutual TLS, in the virtual machine of the tests.

import { mkdtempSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { checkout, timed } from "./workspace.mjs";

/** What others report, seconds until a builder can be used; facts of the projects' own pages, not measured here. */
export const OTHERS = { runningPool: "2-4", stoppedInstances: "15-21" };

/**
 * @param {number} runs machines; each is booted twice
 * @param {(numbers: number[]) => number} median
 */
export async function boot(runs, median) {
    const folder = mkdtempSync(join(tmpdir(), "buildfleet-boot-"));
    try {
        const file = join(folder, "times.json");
        const vitest = join(checkout, "node_modules/vitest/vitest.mjs");
        const args = [vitest, "run", "--config", join(checkout, "tools/bench/boot.config.mjs")];
        const env = { ...process.env, BUILDFLEET_BOOT_RUNS: String(runs), BUILDFLEET_BOOT_TIMES: file };
        const result = await timed(process.execPath, args, { cwd: checkout, env });
        if (result.exitCode !== 0) throw new Error(`the machine was not measured:\n${result.stdout}${result.stderr}`);
        const { first, wake } = JSON.parse(readFileSync(file, "utf8"));
        return { first: figures(first, median), wake: figures(wake, median), others: OTHERS };
    } finally {
        rmSync(folder, { recursive: true, force: true });
    }
}

/**
 * @param {Record<string, number>[]} boots phases in seconds since the kernel's start; `outside` since QEMU's
 * @param {(numbers: number[]) => number} median
 */
function figures(boots, median) {
    const of = (/** @type {(phase: (name: string) => number) => number} */ figure) =>
        median(boots.map((times) => figure((name) => times[name] ?? Number.NaN)));
    // What there is none of in a boot (a wake downloads nothing) is left out.
    const all = {
        untilAnswering: of((at) => at("outside")),
        kernel: of((at) => at("kernel")),
        untilNetwork: of((at) => at("network")),
        download: of((at) => at("downloaded") - at("network")),
        unpack: of((at) => at("artifact") - at("downloaded")),
        untilBuildkitStarts: of((at) => at("buildkit-start")),
        buildkitStart: of((at) => at("answering") - at("buildkit-start")),
        afterNetwork: of((at) => at("answering") - at("network")),
    };
    return Object.fromEntries(Object.entries(all).filter(([, seconds]) => !Number.isNaN(seconds)));
}
