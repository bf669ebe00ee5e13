import { availableParallelism } from "node:os";
import { defineConfig } from "vitest/config";

// As many files at a time as there are cores, the cheap ones first, so that a mistake shows early; the machine at last, alone.
const STACKS = ["test/e2e/**/*.test.ts"];
const PROCESSES = ["test/aws/**/*.test.ts", "test/engine/**/*.test.ts", "test/resources/**/*.test.ts"];
// An emulated machine, which takes both cores for minutes.
const MACHINES = ["test/vm/**/*.test.ts"];

const timeouts = { testTimeout: 60_000, hookTimeout: 120_000 };

export default defineConfig({
    test: {
        // Without it Vitest leaves a core to the terminal.
        maxWorkers: availableParallelism(),
        minWorkers: 1,
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
