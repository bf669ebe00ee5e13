import { availableParallelism } from "node:os";
import { defineConfig } from "vitest/config";
import { BaseSequencer, type TestSpecification } from "vitest/node";

const STACKS = ["test/e2e/**/*.test.ts"];
const PROCESSES = ["test/aws/**/*.test.ts", "test/engine/**/*.test.ts", "test/resources/**/*.test.ts"];
// An emulated machine: mostly one core, for minutes.
const MACHINES = ["test/vm/**/*.test.ts"];

/** The files that take minutes, begun first, so that none of them is left alone at the end. */
const LONGEST = ["vm/builder", "e2e/killed", "e2e/concurrent-releases", "e2e/gates", "e2e/fresh-runner", "e2e/native"];

class LongestFirst extends BaseSequencer {
    override async sort(files: TestSpecification[]): Promise<TestSpecification[]> {
        const rank = ({ moduleId }: TestSpecification) => {
            const index = LONGEST.findIndex((name) => moduleId.endsWith(`/${name}.test.ts`));
            return index < 0 ? LONGEST.length : index;
        };
        return (await super.sort(files)).sort((a, b) => rank(a) - rank(b));
    }
}

const timeouts = { testTimeout: 60_000, hookTimeout: 120_000 };

export default defineConfig({
    test: {
        // Without it Vitest leaves a core to the terminal.
        maxWorkers: availableParallelism(),
        minWorkers: 1,
        sequence: { sequencer: LongestFirst },
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
                    sequence: { groupOrder: 2 },
                    testTimeout: 600_000,
                    hookTimeout: 120_000,
                },
            },
        ],
    },
});
