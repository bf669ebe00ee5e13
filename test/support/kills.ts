import { once } from "node:events";
import { readdirSync, readFileSync } from "node:fs";
import { createInterface } from "node:readline";
import type { TestStack } from "./stack";

/** What of a run is ended: the engine, the program, both, or every process of it. */
export const victims = ["engine", "program", "engine and program", "every process"] as const;
export type Victims = (typeof victims)[number];

/** mulberry32: the same numbers, 0 to 1, for the same seed. */
export function seeded(seed: number): () => number {
    let state = seed >>> 0;
    return () => {
        state = (state + 0x6d2b79f5) >>> 0;
        let mixed = Math.imul(state ^ (state >>> 15), state | 1);
        mixed ^= mixed + Math.imul(mixed ^ (mixed >>> 7), mixed | 61);
        return ((mixed ^ (mixed >>> 14)) >>> 0) / 2 ** 32;
    };
}

interface Process {
    pid: number;
    command: string;
}

const textOf = (path: string) => {
    try {
        return readFileSync(path, "utf8");
    } catch {
        return ""; // it has ended, or is another user's
    }
};

/** Processes whose arguments or environment name a folder. */
export function processesOf(folder: string): Process[] {
    return readdirSync("/proc")
        .filter((name) => /^\d+$/.test(name) && Number(name) !== process.pid)
        .map((name) => ({ pid: Number(name), command: textOf(`/proc/${name}/cmdline`).replaceAll("\0", " ") }))
        .filter(({ pid, command }) => command.includes(folder) || textOf(`/proc/${pid}/environ`).includes(folder));
}

/** Waits until no process of a folder is left but those expected at that moment; what is left after the time is the result. */
export async function orphans(
    folder: string,
    expected: () => number[] = () => [],
    withinMs = 20_000,
): Promise<Process[]> {
    const end = Date.now() + withinMs;
    for (;;) {
        const running = processesOf(folder);
        const known = expected();
        const left = running.filter(({ pid }) => !known.includes(pid));
        if (left.length === 0 || Date.now() > end) return left;
        await new Promise((resolve) => setTimeout(resolve, 50));
    }
}

/** SIGKILL, to what may have ended by itself. */
export const kill = (pid: number | undefined) => {
    try {
        if (pid !== undefined) process.kill(pid, "SIGKILL");
    } catch (error) {
        if ((error as NodeJS.ErrnoException).code !== "ESRCH") throw error;
    }
};

/**
 * Runs `up` and, at its n-th line of progress, kills with SIGKILL.
 *
 * @returns the line it was killed at, or nothing where it ended before.
 */
export async function killAt(
    stack: TestStack,
    line: number,
    whom: Victims,
    settings = {},
): Promise<string | undefined> {
    const child = stack.start("up", settings);
    let count = 0;
    let at: string | undefined;
    child.stdout?.resume();
    const lines = createInterface({ input: child.stderr as NodeJS.ReadableStream }).on("line", (text) => {
        if (++count !== line) return;
        at = text;
        const ours = processesOf(stack.folder);
        const program = ours.filter(
            ({ command }) => /node .*pulumi\/cmd\/run/.test(command) && !command.startsWith("/bin/sh"),
        );
        if (whom.includes("program")) for (const { pid } of program) kill(pid);
        if (whom.includes("engine") || program.length === 0) kill(child.pid);
        if (whom === "every process") for (const { pid } of ours) kill(pid);
    });
    await once(child, "exit");
    lines.close();
    return at;
}

/** Lines of progress of an `up` that runs to its end. */
export async function countLines(stack: TestStack, settings = {}): Promise<number> {
    const { exitCode, stderr } = await stack.run("up", settings);
    if (exitCode !== 0) throw new Error(`up failed:\n${stderr}`);
    return stderr.trimEnd().split("\n").length;
}
