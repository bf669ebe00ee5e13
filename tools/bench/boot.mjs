// How long a builder takes from power-on until BuildKit answers over mutual TLS, in the virtual machine of the tests.

import { mkdtempSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { checkout, timed } from "./workspace.mjs";

/** A boot takes a minute or two, and the machine for itself. */
const MOST_RUNS = 3;

/** What others report until a builder can be used, in seconds on real EC2; from their own pages, not measured here. */
const OTHERS = { othersRunningPool: "2-4", othersStoppedInstances: "15-21" };

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
        const env = {
            ...process.env,
            BUILDFLEET_BOOT_RUNS: String(Math.min(runs, MOST_RUNS)),
            BUILDFLEET_BOOT_TIMES: file,
        };
        const result = await timed(process.execPath, args, { cwd: checkout, env });
        if (result.exitCode !== 0) throw new Error(`the machine was not measured:\n${result.stdout}${result.stderr}`);
        const { first, wake } = JSON.parse(readFileSync(file, "utf8"));
        return { boot: figures(first, median), wake: { ...figures(wake, median), ...OTHERS } };
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
