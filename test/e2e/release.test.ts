import { appendFileSync } from "node:fs";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { writeAdvisories, writeAppContext } from "../support/app";
import { freePort, MAIN_PROGRAM, type Run, TestStack } from "../support/stack";

describe("one image for two platforms", () => {
    const stack = new TestStack(MAIN_PROGRAM);
    let settings: object;
    let first: Run;

    beforeAll(async () => {
        settings = { registry: { port: await freePort() } };
        writeAppContext(stack.path("app"));
        writeAdvisories(stack.path("advisories"), [
            { id: "BF-2026-0001", severity: "high", package: "openssl", affected: "< 3.0.2", fixed: "3.0.2" },
        ]);
        first = await stack.up(settings);
    }, 120_000);
    afterAll(() => stack.dispose());

    it("is released under its tags", () => {
        expect(first.outputs.ref).toMatch(/^127\.0\.0\.1:\d+\/team\/app@sha256:[0-9a-f]{64}$/);
        expect(first.outputs.tags).toEqual(["stable"]);
    });

    it("changes nothing the second time", async () => {
        const second = await stack.up(settings);
        expect(second.did).toEqual([]);
        expect(second.outputs).toEqual(first.outputs);
    });

    it("is rebuilt when a line of the context changes, and everything after follows once", async () => {
        appendFileSync(stack.path("app/hello.txt"), "changed\n");
        const changed = await stack.up(settings);
        expect(changed.outputs.digest).not.toBe(first.outputs.digest);
        expect(new Set(changed.did).size).toBe(changed.did.length);
        expect(changed.did.filter((step) => step.includes("app-image-"))).toHaveLength(2);
    }, 60_000);
});
