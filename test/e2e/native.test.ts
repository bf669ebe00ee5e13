import { appendFileSync } from "node:fs";
import { createServer, type Server, type Socket } from "node:net";
import { afterAll, beforeAll, beforeEach, describe, expect, it } from "vitest";
import { Platform } from "../../core/platform";
import { isSigned, Machines } from "../support/machines";
import type { Run, TestStack } from "../support/stack";

const host = Platform.parse(`linux/${process.arch}`);
/** The architecture of this machine, and the other one, which it can only emulate. */
const [native, foreign] = host.architecture === "arm64" ? ["arm64", "amd64"] : ["amd64", "arm64"];

const refusal = (run: Run) => run.errors.map(({ message }) => message).join("\n");

describe("native or refused", () => {
    const machines = new Machines();
    let stack: TestStack;
    let released: Run;
    const names = () => machines.nodes.map(({ name }) => name);
    /** Builds on all nodes, and what the tag points at: unchanged where nothing was built. */
    const traces = async (): Promise<Record<string, unknown>> => ({
        builds: await Promise.all(names().map((name) => machines.buildsOn(name))),
        ...(await machines.tagged("stable")),
    });

    beforeAll(async () => {
        await machines.start();
        stack = machines.imageStack();
        released = await stack.up();
    }, 300_000);
    afterAll(async () => {
        await stack?.dispose();
        await machines.dispose();
    });
    beforeEach(() => appendFileSync(stack.path("app/hello.txt"), "changed\n"));

    it("does not emulate where that was not allowed", async () => {
        const before = await traces();
        const run = await stack.run("up", { image: { emulation: "refuse" } });
        expect(run.exitCode).toBe(1);
        expect(refusal(run)).toContain(`no node can build linux/${foreign}; tried:`);
        expect(refusal(run)).toMatch(
            new RegExp(`${foreign} \\(tcp://.*\\): is linux/${native}\\b.* and would emulate`),
        );
        expect(refusal(run)).toContain('write emulation: "allow"');
        expect(await traces()).toEqual(before);
        expect(before.stable).toBe(released.outputs.digest);
    }, 300_000);

    it("names the node that does not answer, quickly, and builds nothing, not even for the platform that could be", async () => {
        const before = await traces();
        await machines.stopNode(foreign);
        const started = Date.now();
        const run = await stack.run("up", { image: { emulation: "refuse" } });
        expect(Date.now() - started).toBeLessThan(30_000);
        expect(run.exitCode).toBe(1);
        expect(refusal(run)).toContain(`no node can build linux/${foreign}; tried:`);
        expect(refusal(run)).toMatch(new RegExp(`${foreign}: tcp://127.0.0.1:\\d+: UNAVAILABLE`));
        expect(refusal(run)).not.toContain("would emulate");
        expect(run.did.filter((step) => !step.includes("builder"))).toEqual([]);
        await machines.restart();
        expect(await traces()).toEqual(before);
    }, 300_000);

    it("refuses the same way with the only node of the machine's own architecture stopped", async () => {
        await machines.stopNode(native);
        const nodes = machines.nodes.map((node) => ({ ...node, platforms: [`linux/${native}`] }));
        const [own] = nodes.filter(({ name }) => name === native);
        const run = await stack.run("up", {
            nodes: [own],
            image: { platforms: [`linux/${native}`], emulation: "refuse" },
        });
        expect(run.exitCode).toBe(1);
        expect(refusal(run)).toContain(`no node can build linux/${native}; tried:`);
        expect(refusal(run)).toContain("start one of these nodes or add another");
        await machines.restart();
        expect((await machines.tagged("stable")).stable).toBe(released.outputs.digest);
    }, 300_000);

    it("says which platforms the fleet has where none is declared", async () => {
        const run = await stack.run("up", { nodes: machines.nodes.filter(({ name }) => name === native) });
        expect(run.exitCode).toBe(1);
        expect(refusal(run)).toContain(
            `no node of the fleet declares linux/${foreign}; it has ${native} (linux/${native})`,
        );
    }, 300_000);
});

describe("two nodes of one architecture", () => {
    const machines = new Machines();
    let stack: TestStack;
    let first: Run;
    /** The run that moved the platform back to the node it is placed on. */
    let back: Run;
    let silent: Server;
    const open = new Set<Socket>();

    beforeAll(async () => {
        silent = createServer((socket) => open.add(socket)).listen(0, "127.0.0.1");
        await machines.start({ fleet: { nodes: { "linux/arm64": 2 } } });
        stack = machines.imageStack();
        first = await stack.up();
    }, 300_000);
    afterAll(async () => {
        for (const socket of open) socket.destroy();
        silent.close();
        await stack?.dispose();
        await machines.dispose();
    });

    it("goes on with the second when the first is stopped, under the same name, with the same image", async () => {
        const { node } = first.outputs.platforms["linux/arm64"];
        const other = node === "arm64-1" ? "arm64-2" : "arm64-1";
        await machines.stopNode(node);
        const moved = await stack.up();
        expect(moved.did).toEqual(["update app-builder-linux-arm64"]);
        expect(moved.outputs.digest).toBe(first.outputs.digest);

        appendFileSync(stack.path("app/hello.txt"), "changed\n");
        const before = await machines.buildsOn(other);
        const rebuilt = await stack.up();
        expect(rebuilt.outputs.platforms["linux/arm64"].node).toBe(other);
        expect(await machines.buildsOn(other)).toBeGreaterThan(before);
        expect(await isSigned(rebuilt.outputs.ref, machines.publicKey)).toBe(true);

        await machines.restart();
        back = await stack.up();
        expect(back.did).toEqual(["update app-builder-linux-arm64"]);
        expect(back.outputs.digest).toBe(rebuilt.outputs.digest);
    }, 300_000);

    it("waits once, and not long, for a node that accepts and never answers", async () => {
        const address = silent.address();
        const endpoint = `tcp://127.0.0.1:${typeof address === "object" && address ? address.port : 0}`;
        const { node } = first.outputs.platforms["linux/arm64"];
        const nodes = machines.nodes.map((one) => (one.name === node ? { ...one, endpoint } : one));
        const asked = open.size;
        const run = await stack.up({ nodes });
        expect(run.did).toEqual(["update app-builder-linux-arm64"]);
        expect(run.outputs.digest).toBe(back.outputs.digest);
        // The diff waited the probe's 3 s; the update after it does not ask again.
        expect(open.size - asked).toBe(1);
        expect(run.durationMs - back.durationMs).toBeLessThan(20_000);
    }, 300_000);
});
