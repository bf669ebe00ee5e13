// `npm run bench [-- --json] [--runs N] [--only overhead,noChange,tenImages,startup,memory,loading,index,mirror,boot]`: what the library costs over doing
// the same by hand, both sides in one run. docs/benchmarks.md says how each figure is measured.

import { existsSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { parseArgs } from "node:util";
import { boot } from "./boot.mjs";
import { byHand } from "./by-hand.mjs";
import { index } from "./index.mjs";
import { loading } from "./loading.mjs";
import { mirror } from "./mirror.mjs";
import { checkout, freePort, treeMemoryMb, Workspace } from "./workspace.mjs";

const { values } = parseArgs({
    options: {
        json: { type: "boolean", default: false },
        runs: { type: "string", default: "5" },
        only: { type: "string", default: "overhead,noChange,tenImages,startup,memory,loading,index,mirror,boot" },
    },
});
const runs = Number(values.runs);
const wanted = values.only.split(",");
const storage = join(checkout, ".buildfleet/registry");
const basePath = join(checkout, ".buildfleet/base.json");
const hello = join(checkout, "examples/hello");

const say = (/** @type {string} */ line) => process.stderr.write(`${line}\n`);
const median = (/** @type {number[]} */ numbers) => {
    const sorted = [...numbers].sort((a, b) => a - b);
    const middle = Math.floor(sorted.length / 2);
    return sorted.length % 2 ? (sorted[middle] ?? 0) : ((sorted[middle - 1] ?? 0) + (sorted[middle] ?? 0)) / 2;
};
const round = (/** @type {number} */ number) => Math.round(number * 100) / 100;

if (!existsSync(basePath)) throw new Error("run `npm start` once: the base images are not in the local registry");
const base = JSON.parse(readFileSync(basePath, "utf8"));

/** The local stack's own shape: registry, two nodes, key, and as many images as asked for. */
const PROGRAM = `
const buildfleet = require("buildfleet");
const settings = new pulumi.Config("bench").getObject("settings");
const registry = new buildfleet.LocalRegistry("registry", { port: settings.port });
const fleet = new buildfleet.LocalFleet("builders", { registries: registry.nodeSettings });
const key = new buildfleet.SigningKey("key");
module.exports = async () => {
await new Promise((done) => pulumi.all([registry.urn, fleet.urn]).apply(done)); // as stacks/local.ts does
await new Promise(setImmediate);
return { refs: Array.from({ length: settings.images }, (_, i) => new buildfleet.MultiPlatformImage("image-" + i, {
    fleet, repository: registry.repository("hello-" + i), context: settings.context, platforms: ["linux/amd64", "linux/arm64"],
    version: "1.0.0", emulation: "allow", sign: { key }, scan: { advisories: settings.context + "/advisories" },
    buildArgs: { BASE: settings.base, BUILD_BASE: settings.buildBase, VERSION: "1.0.0" },
    labels: { "org.opencontainers.image.title": "hello-" + i },
}).ref) };
};
`;

async function settingsFor(/** @type {number} */ images) {
    const port = await freePort();
    const registry = `127.0.0.1:${port}`;
    return {
        port,
        images,
        context: hello,
        base: `${registry}/${base.base}`,
        buildBase: `${registry}/${base.buildBase}`,
    };
}

/** A cold `up`: tools and base images are there, build caches, certificates, keys and state are not. */
async function coldUp(/** @type {number} */ images) {
    const workspace = new Workspace(PROGRAM);
    workspace.seed(storage);
    const settings = await settingsFor(images);
    let peakMb = 0;
    const sampler = setInterval(() => {
        peakMb = Math.max(peakMb, treeMemoryMb(process.pid) - process.memoryUsage.rss() / 1024 / 1024);
    }, 250);
    const { seconds } = await workspace.engine("up", settings);
    clearInterval(sampler);
    return { workspace, settings, seconds, peakMb };
}

async function overhead() {
    const [ours, theirs] = [/** @type {number[]} */ ([]), /** @type {number[]} */ ([])];
    for (let run = 0; run < runs; run++) {
        const up = await coldUp(1);
        await up.workspace.dispose();
        ours.push(up.seconds);
        theirs.push(await byHand({ storage, base, advisories: join(hello, "advisories") }));
        say(`overhead ${run + 1}/${runs}: up ${round(ours.at(-1) ?? 0)} s, by hand ${round(theirs.at(-1) ?? 0)} s`);
    }
    const ratios = ours.map((seconds, i) => seconds / (theirs[i] ?? 1));
    const differences = ours.map((seconds, i) => seconds - (theirs[i] ?? 0));
    return {
        ratio: round(median(ratios)),
        seconds: round(median(differences)),
        upSeconds: round(median(ours)),
        byHandSeconds: round(median(theirs)),
    };
}

async function noChange() {
    const { workspace, settings } = await coldUp(1);
    const bare = new Workspace("");
    const [ours, theirs] = [/** @type {number[]} */ ([]), /** @type {number[]} */ ([])];
    await bare.engine("up");
    for (let run = 0; run < runs; run++) {
        const up = await workspace.engine("up", settings);
        const { changes } = JSON.parse(up.stdout);
        if (changes.create + changes.update + changes.replace + changes.delete > 0)
            throw new Error(`an up without a change changed something: ${JSON.stringify(changes)}`);
        ours.push(up.seconds);
        theirs.push((await bare.engine("up")).seconds);
        say(`noChange ${run + 1}/${runs}: ${round(ours.at(-1) ?? 0)} s, bare program ${round(theirs.at(-1) ?? 0)} s`);
    }
    await workspace.dispose();
    await bare.dispose();
    return { seconds: round(median(ours)), programSeconds: round(median(theirs)) };
}

async function tenImages() {
    const [one, ten] = [/** @type {number[]} */ ([]), /** @type {number[]} */ ([])];
    let peakMb = 0;
    for (let run = 0; run < runs; run++) {
        for (const [images, seconds] of /** @type {const} */ ([
            [1, one],
            [10, ten],
        ])) {
            const up = await coldUp(images);
            await up.workspace.dispose();
            seconds.push(up.seconds);
            peakMb = Math.max(peakMb, up.peakMb);
        }
        say(
            `tenImages ${run + 1}/${runs}: one ${round(one.at(-1) ?? 0)} s, ten ${round(ten.at(-1) ?? 0)} s, peak ${Math.round(peakMb)} MB`,
        );
    }
    const ratios = ten.map((seconds, i) => seconds / (one[i] ?? 1));
    return {
        ratio: round(median(ratios)),
        oneSeconds: round(median(one)),
        tenSeconds: round(median(ten)),
        peakMb: Math.round(peakMb),
    };
}

async function startup() {
    const workspace = new Workspace(
        `${PROGRAM}\nprocess.on("exit", () => require("node:fs").writeFileSync("loaded.json", JSON.stringify(Object.keys(require.cache))));`,
    );
    const settings = await settingsFor(1);
    const seconds = [];
    for (let run = 0; run < runs; run++) {
        seconds.push((await workspace.engine("preview", settings)).seconds);
        say(`startup ${run + 1}/${runs}: preview ${round(seconds.at(-1) ?? 0)} s`);
    }
    const loaded = JSON.parse(readFileSync(join(workspace.folder, "loaded.json"), "utf8"));
    const loadsAws = loaded.some((/** @type {string} */ path) =>
        /node_modules[\\/](@pulumi[\\/]aws|@aws-sdk)[\\/]/.test(path),
    );
    await workspace.dispose();
    return { seconds: round(median(seconds)), loadsAws };
}

/** @type {Record<string, object>} */
const report = {};
if (wanted.includes("overhead")) report.overhead = await overhead();
if (wanted.includes("noChange")) report.noChange = await noChange();
if (wanted.includes("tenImages") || wanted.includes("memory")) {
    const { peakMb, ...rest } = await tenImages();
    report.tenImages = rest;
    report.memory = { peakMb };
}
if (wanted.includes("startup")) report.startup = await startup();
if (wanted.includes("loading")) {
    report.loading = await loading(runs, (seconds) => round(median(seconds)), say);
}
if (wanted.includes("index")) report.index = await index(runs, (numbers) => round(median(numbers)), say);
if (wanted.includes("mirror")) report.mirror = await mirror(runs, (numbers) => round(median(numbers)), say);
if (wanted.includes("boot")) Object.assign(report, await boot(runs, (numbers) => round(median(numbers))));

if (values.json) process.stdout.write(`${JSON.stringify(report, null, 4)}\n`);
else
    for (const [name, figures] of Object.entries(report))
        process.stdout.write(
            `${name}: ${Object.entries(figures)
                .map(([key, value]) => `${key} ${value}`)
                .join(", ")}\n`,
        );
