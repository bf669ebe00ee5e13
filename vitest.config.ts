import { availableParallelism } from "node:os";
import { basename } from "node:path";
import { defineConfig } from "vitest/config";
import { BaseSequencer, type TestSpecification } from "vitest/node";

// As many files at a time as there are cores, the cheap ones first, so that a mistake shows early; the machines at last, alone.
const STACKS = ["test/e2e/**/*.test.ts"];
const PROCESSES = ["test/aws/**/*.test.ts", "test/engine/**/*.test.ts", "test/resources/**/*.test.ts"];
// An emulated machine, which takes both cores for minutes.
const MACHINES = ["test/vm/**/*.test.ts"];

/** Those that take a minute or more, longest first: one of them begun last would leave the other core without work. */
const LONG = [
    ...["killed", "concurrent-releases", "gates", "external-fleet", "fresh-runner", "native", "no-change"],
    ...["image-mirror-killed", "docker-builder", "registry-server-killed", "managed-host", "machine-room"],
    ...["conformance", "managed-rivals", "docker-driver", "host-buildkit", "host-aws"],
];

class LongFirst extends BaseSequencer {
    override async sort(files: TestSpecification[]) {
        const rank = ({ moduleId }: TestSpecification) => {
            const at = LONG.indexOf(basename(moduleId, ".test.ts"));
            return at < 0 ? LONG.length : at;
        };
        return (await super.sort(files)).sort((one, other) => rank(one) - rank(other));
    }
}

const timeouts = { testTimeout: 180_000, hookTimeout: 300_000 };

export default defineConfig({
    test: {
        // Without it Vitest leaves a core to the terminal.
        maxWorkers: availableParallelism(),
        minWorkers: 1,
        sequence: { sequencer: LongFirst },
        // The tools are many short processes in Go: their memory need not be collected for them to end well.
        env: { GOGC: "400" },
        projects: [
            {
                test: {
                    name: "parts",
                    include: ["test/**/*.test.ts"],
                    exclude: [...STACKS, ...PROCESSES, ...MACHINES],
                    sequence: { groupOrder: 0 },
                    ...timeouts,
                },
            },
            {
                test: {
                    name: "processes",
                    include: PROCESSES,
                    pool: "forks",
                    sequence: { groupOrder: 1 },
                    ...timeouts,
                },
            },
            {
                test: {
                    name: "stacks",
                    include: STACKS,
                    pool: "forks",
                    sequence: { groupOrder: 2 },
                    ...timeouts,
                },
            },
            {
                test: {
                    name: "vm",
                    include: MACHINES,
                    pool: "forks",
                    poolOptions: { forks: { singleFork: true } },
                    sequence: { groupOrder: 3 },
                    testTimeout: 600_000,
                    hookTimeout: 120_000,
                },
            },
        ],
    },
});
