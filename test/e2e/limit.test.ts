import { readFileSync } from "node:fs";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { ActiveBuilds } from "../support/active-builds";
import { Gate } from "../support/gate";
import { kill, processesOf } from "../support/kills";
import { freePort } from "../support/port";
import { TestStack } from "../support/stack";

const LIMIT = 3;
const EACH = 10;
const native = process.arch === "arm64" ? "linux/arm64" : "linux/amd64";

const WAITS = new RegExp(`builder \\S+: waits for builder node \\S+, which runs ${LIMIT} builds at a time`);

/** The node; the registry takes what is built. */
const SHARED = `
const { writeFileSync } = require("node:fs");
const registry = new buildfleet.LocalRegistry("registry", { port: settings.port });
const fleet = new buildfleet.LocalFleet("builders", {
    platforms: [settings.platform], maxParallelism: 64, maxBuilds: settings.limit, registries: registry.nodeSettings,
});
fleet.client.apply((client) => client && writeFileSync("client.json", JSON.stringify(client), { mode: 0o600 }));
module.exports = { nodes: fleet.nodes, address: registry.address };
`;

const BUILDS = `
const client = JSON.parse(require("node:fs").readFileSync(settings.shared + "/client.json", "utf8"));
const fleet = { nodes: settings.nodes, client: pulumi.secret(client) };
for (let i = 0; i < settings.count; i++)
    new buildfleet.MultiPlatformImage("image-" + i, {
        fleet,
        repository: { name: settings.repository + "-" + i, connection: { plainHttp: true } },
        context: settings.shared + "/context",
        platforms: [settings.platform],
        buildArgs: { NAME: [settings.round, pulumi.getStack(), i].join("-") },
        tags: ["built"],
        test: false,
        sbom: false,
        scan: false,
        sign: false,
    });
`;

describe(`a node with a limit of ${LIMIT} builds`, () => {
    const shared = new TestStack(SHARED, { name: "shared" });
    const stacks = [new TestStack(BUILDS, { name: "left" }), new TestStack(BUILDS, { name: "right" })];
    let gate: Gate;
    let node: { endpoint: string; serverName: string };
    let settings: { shared: string; nodes: object[]; platform: string };
    let address: string;
    const active = () => {
        const client = JSON.parse(readFileSync(shared.path("client.json"), "utf8"));
        return new ActiveBuilds(node.endpoint, { ...client, serverName: node.serverName });
    };
    const settingsOf = (stack: TestStack, count: number, round = "first") => ({
        ...settings,
        count,
        round,
        repository: `${address}/${stack.name}/app`,
    });
    /** An `up`, what it says, and when it says that it waits. */
    function start(stack: TestStack, count: number, round?: string) {
        const child = stack.start("up", settingsOf(stack, count, round));
        const run = { child, stderr: "", waits: Promise.resolve(), ended: Promise.resolve<number | null>(null) };
        run.ended = new Promise((resolve) => child.once("close", resolve));
        run.waits = new Promise((resolve, reject) => {
            child.stdout?.resume();
            child.stderr?.setEncoding("utf8").on("data", (text: string) => {
                run.stderr += text;
                if (WAITS.test(run.stderr)) resolve();
            });
            void run.ended.then(() => reject(new Error(`it did not wait:\n${run.stderr}`)));
        });
        run.waits.catch(() => undefined);
        return run;
    }

    beforeAll(async () => {
        gate = await Gate.start();
        gate.writeContext(shared.path("context"));
        const { outputs } = await shared.up({ port: await freePort(), platform: native, limit: LIMIT });
        [node] = outputs.nodes;
        address = outputs.address;
        settings = { shared: shared.folder, nodes: outputs.nodes, platform: native };
    });
    afterAll(async () => {
        gate?.close();
        await Promise.all(stacks.map((stack) => stack.dispose()));
        await shared.dispose();
    });

    it(`never runs more, though two programs start ${2 * EACH} at once; all finish, and waiting is shown`, async () => {
        const seen = active();
        const runs = stacks.map((stack) => start(stack, EACH));
        await Promise.all(runs.map(({ waits }) => waits));
        await gate.holds(LIMIT);
        expect(seen.now).toBe(LIMIT);
        gate.stayOpen();
        for (const run of runs) expect(await run.ended, run.stderr).toBe(0);
        expect(new Set(gate.knocked).size).toBe(2 * EACH);
        expect(seen.ended).toBe(2 * EACH);
        expect(seen.most).toBe(LIMIT);
        seen.close();
    }, 300_000);

    it("is no change for either program afterwards", async () => {
        const again = await Promise.all(stacks.map((stack) => stack.up(settingsOf(stack, EACH))));
        expect(again.flatMap(({ did }) => did)).toEqual([]);
    }, 300_000);

    it("has its places back from a program that was killed", async () => {
        gate.shut();
        const left = start(stacks[0] as TestStack, LIMIT + 1, "killed");
        await Promise.race([gate.holds(LIMIT), left.waits]);
        await gate.holds(LIMIT);
        for (const { pid } of processesOf((stacks[0] as TestStack).folder)) kill(pid);
        await left.ended;
        gate.stayOpen();
        const right = start(stacks[1] as TestStack, LIMIT, "after");
        expect(await right.ended, right.stderr).toBe(0);
    }, 300_000);
});
