import { defineConfig } from "vitest/config";

// Tests that start daemons and whole stacks run one file at a time: each of them uses all cores, and some of what they
// prove is that things happen in time.
const WHOLE = ["test/e2e/**/*.test.ts", "test/engine/**/*.test.ts", "test/resources/**/*.test.ts"];
const PURE = ["test/**/*.test.ts"];

export default defineConfig({
    test: {
        projects: [
            {
                test: {
                    name: "parts",
                    include: PURE,
                    exclude: WHOLE,
                    testTimeout: 30_000,
                    hookTimeout: 60_000,
                    sequence: { groupOrder: 0 },
                },
            },
            {
                test: {
                    name: "whole",
                    include: WHOLE,
                    testTimeout: 60_000,
                    hookTimeout: 120_000,
                    pool: "forks",
                    poolOptions: { forks: { singleFork: true } },
                    sequence: { groupOrder: 1 },
                },
            },
        ],
    },
});
