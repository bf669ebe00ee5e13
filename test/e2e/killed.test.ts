import { appendFileSync, mkdirSync, readdirSync, readFileSync } from "node:fs";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { readPidFile } from "../../drivers/daemon";
import { filesBelow } from "../support/files";
import { countLines, killAt, orphans, seeded, victims } from "../support/kills";
import { isSigned, Machines } from "../support/machines";
import type { TestStack } from "../support/stack";

const SEED = Number(process.env.KILL_SEED ?? 1_122_026);
const KILLS = 20;
/** Scan and bill of materials cost more than all the rest: most runs are without, nearer to the other points. */
const PLAIN = { image: { scan: false, sbom: false } };

/** State and buildx's store: whatever was killed, each file is whole. */
function expectWholeFiles(stack: TestStack): void {
    const states = filesBelow(stack.path("state")).filter((path) => path.endsWith(".json"));
    const builders = filesBelow(stack.path("buildx/instances"));
    for (const path of [...states, ...builders])
        expect(() => JSON.parse(readFileSync(path, "utf8")), path).not.toThrow();
}

describe("an up that is killed", () => {
    const machines = new Machines();
    let stack: TestStack;
    let watching = true;
    let watcher: Promise<void>;
    /** Why it ended before its time. */
    let blind: unknown;
    /** Every digest the tag was ever seen to point at, and whether it verified at that moment. */
    const seen = new Map<string, boolean>();

    /** Looks at the tag; a digest that was not there before must verify now, the index and every child. */
    async function lookAtTag(): Promise<void> {
        const { stable } = await machines.tagged("stable");
        if (stable === undefined || seen.has(stable)) return;
        const digests = await machines.digestsOf(stable);
        const signed = digests.map((digest) => isSigned(`${machines.repository}@${digest}`, machines.publicKey));
        seen.set(stable, (await Promise.all(signed)).every(Boolean));
    }

    beforeAll(async () => {
        await machines.start();
        stack = machines.imageStack();
        stack.env.TMPDIR = stack.path("tmp");
        mkdirSync(stack.env.TMPDIR);
        await stack.up();
        watcher = (async () => {
            while (watching) {
                await lookAtTag();
                await new Promise((resolve) => setTimeout(resolve, 100));
            }
        })().catch((error) => {
            blind = error;
        });
    }, 300_000);
    afterAll(async () => {
        watching = false;
        await watcher;
        await stack?.dispose();
        await machines.dispose();
    });

    it(`goes on with the next up, at ${KILLS} points (KILL_SEED=${SEED})`, async () => {
        const random = seeded(SEED);
        appendFileSync(stack.path("app/hello.txt"), "counted\n");
        const whole = await countLines(stack);
        appendFileSync(stack.path("app/hello.txt"), "counted again\n");
        const plain = await countLines(stack, PLAIN);
        for (let kill = 0; kill < KILLS; kill++) {
            // Every other one hits the run that goes on after a kill; two in a row hit the same settings.
            const isFirst = kill % 2 === 0;
            const [settings, lines] = kill % 8 < 2 ? [{}, whole] : [PLAIN, plain];
            const whom = victims[(kill + Math.floor(random() * 2)) % victims.length] ?? "engine";
            if (isFirst) appendFileSync(stack.path("app/hello.txt"), `kill ${kill}\n`);
            let point = 1 + Math.floor(((kill + random()) / KILLS) * (lines - 1));
            let line = await killAt(stack, point, whom, settings);
            while (line === undefined) {
                // It ended before that line: a shorter run than the counted one. Again, earlier.
                appendFileSync(stack.path("app/hello.txt"), "again\n");
                point = Math.floor(point * 0.9);
                line = await killAt(stack, point, whom, settings);
            }
            const where = `kill ${kill}: ${whom} killed at line ${point} of ${lines}, "${line.trim()}"`;
            expect(await orphans(stack.folder), where).toEqual([]);
            expectWholeFiles(stack);
            await lookAtTag();
            expect([...seen.values()], where).not.toContain(false);
            if (isFirst) continue;

            const next = await stack.run("up", settings);
            expect(next.exitCode, `${where}; the next up:\n${next.stderr}`).toBe(0);
            expect(await machines.tagged("stable"), where).toEqual({ stable: next.outputs.digest });
        }
        await lookAtTag();
        expect(blind).toBeUndefined();
        expect([...seen.values()]).not.toContain(false);
        expect(seen.size).toBeGreaterThanOrEqual(KILLS / 2);
        // Neither what was half written, nor what tools and passwords were handed over in.
        expect(readdirSync(stack.path("tmp"))).toEqual([]);
        expect(filesBelow(stack.folder).filter((path) => path.includes(".tmp"))).toEqual([]);
    }, 1_800_000);
});

describe("machines that are killed while they start", () => {
    const machines = new Machines();
    afterAll(() => machines.dispose());

    it(`leave no daemon that nobody knows (KILL_SEED=${SEED})`, async () => {
        const random = seeded(SEED);
        const { stack } = machines;
        const daemons = () =>
            filesBelow(stack.path(".buildfleet"))
                .filter((path) => path.endsWith("process.pid"))
                .flatMap((path) => readPidFile(path)?.pid ?? []);
        for (const whom of victims) {
            await killAt(stack, 4 + Math.floor(random() * 14), whom, await machines.settle());
            expect(await orphans(stack.folder, daemons), whom).toEqual([]);
            expectWholeFiles(stack);
        }
        await machines.start();
        expect(daemons()).toHaveLength(3);
        expect(await orphans(stack.folder, daemons)).toEqual([]);
    }, 300_000);
});
