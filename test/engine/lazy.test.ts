/** What the SDK loads with itself in the processes that the engine starts. */
import { execFileSync } from "node:child_process";
import { join } from "node:path";
import { describe, expect, it } from "vitest";
import { REPO } from "./support";

const LAZY = join(REPO, "dist/engine/lazy.js");

/** Runs a program that has the SDK, with or without the module, and gives what it prints as JSON. */
function print<T>(expression: string, { lazily, env = {} }: { lazily: boolean; env?: NodeJS.ProcessEnv }): T {
    const program = `const pulumi = require("@pulumi/pulumi"); const modules = () => Object.keys(require.cache);
        (async () => console.log(JSON.stringify(await (${expression}))))();`;
    const args = [...(lazily ? ["--require", LAZY] : []), "-e", program];
    return JSON.parse(execFileSync(process.execPath, args, { cwd: REPO, env: { ...process.env, ...env } }).toString());
}

const HEAVY = /node_modules\/(typescript|@npmcli\/arborist)\/|@pulumi\/pulumi\/automation\//;
const loaded = (lazily: boolean) => print<string[]>("modules()", { lazily }).filter((path) => HEAVY.test(path));
const stackOf = (env: NodeJS.ProcessEnv) =>
    print<{ noted: string; after: number }>(
        `(() => {
            const promise = Promise.resolve();
            require("@pulumi/pulumi/runtime/debuggable").debuggablePromise(promise, "here");
            return { noted: promise._debugStackTrace, after: Error.stackTraceLimit };
        })()`,
        { lazily: true, env },
    );

describe("the SDK in a program or provider", () => {
    it("loads neither TypeScript nor npm's resolver nor the Automation API before they are used", () => {
        expect(loaded(true)).toEqual([]);
        // What it would load by itself, so that the above can fail.
        expect(loaded(false).length).toBeGreaterThan(30);
    });

    it("has them all when they are", () => {
        const both = [true, false].map((lazily) =>
            print<unknown>(
                `(async () => {
                    const captured = { greeting: "hello" };
                    const { text } = await pulumi.runtime.serializeFunction(() => captured.greeting);
                    const paths = await pulumi.runtime.computeCodePaths();
                    return [text, paths.size > 0, typeof pulumi.automation.LocalWorkspace.createOrSelectStack,
                        "Stack" in pulumi.automation];
                })()`,
                { lazily },
            ),
        );
        expect(both[0]).toEqual(both[1]);
        expect(both[0]).toEqual([expect.stringContaining("captured.greeting"), true, "function", true]);
    });

    it("notes no stack with its promises, unless somebody looks for leaks", () => {
        expect(stackOf({})).toEqual({ noted: "Error", after: 10 });
        expect(stackOf({ PULUMI_DEBUG_PROMISE_LEAKS: "true" }).noted).toMatch(/\n\s+at .*debuggablePromise/);
    });
});
