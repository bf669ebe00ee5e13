import { writeFileSync } from "node:fs";
import { expect, test } from "vitest";
import { probe } from "../../drivers/buildkit";
import { machineArchitecture } from "../../tools/vm/recipe.mjs";
import { BuilderMachine } from "../support/vm/builder";

// Not a test of its own: `npm run bench` runs it (tools/bench/boot.mjs), for it needs all that the tests' machine needs.

const RUNS = Number(process.env.BUILDFLEET_BOOT_RUNS ?? "1");
const FILE = process.env.BUILDFLEET_BOOT_TIMES ?? "";
/** Nothing happens in between that would cost time. */
const timing = { pollSeconds: 600, stopAfterSeconds: 3_600, metricsSeconds: 600, drainSeconds: 60 };

/** Seconds of one boot: `answering` over mTLS as seen from outside, the others as the machine tells them. */
type BootTimes = Record<string, number>;

test("boots", { timeout: RUNS * 1_200_000 }, async () => {
    const times: { first: BootTimes[]; wake: BootTimes[] } = { first: [], wake: [] };
    for (let run = 0; run < RUNS; run++) {
        const builder = await BuilderMachine.create({ architecture: machineArchitecture(), timing });
        try {
            times.first.push(await boot(builder));
            // Everything on its disks, as when EC2 stops an instance.
            await builder.machine.waitFor(/buildfleet: phase=network/, 300);
            // Before that a boot takes the tarball anew: it may not be whole on the disk.
            const complete = "/opt/buildfleet/buildkit/current/complete";
            await builder.machine.shell(`until [ -e ${complete} ]; do sleep 1; done`, 300_000);
            await builder.machine.powerOff();
            await builder.machine.poweredOff(300);
            times.wake.push(await boot(builder));
        } finally {
            await builder.dispose();
        }
    }
    expect(times.wake).toHaveLength(RUNS);
    writeFileSync(FILE, JSON.stringify(times));
});

async function boot(builder: BuilderMachine): Promise<BootTimes> {
    const { machine, endpoint, settings } = builder;
    const tls = { ...(await builder.client()), serverName: settings.node };
    machine.start();
    await machine.waitFor(/buildfleet: phase=buildkit-start/, 600);
    const deadline = Date.now() + 300_000;
    for (;;) {
        try {
            await probe({ endpoint, tls }, 2_000);
            break;
        } catch (error) {
            if (Date.now() > deadline) throw error;
        }
    }
    const seconds = (performance.now() - machine.startedAt) / 1000;
    await machine.waitFor(/buildfleet: phase=network/, 600);
    const phases = machine.console.matchAll(/buildfleet: phase=([\w-]+) at=([\d.]+)/g);
    return { ...Object.fromEntries([...phases].map(([, name, at]) => [name, Number(at)])), outside: seconds };
}
