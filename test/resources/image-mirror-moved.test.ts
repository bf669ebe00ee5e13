import { mkdtempSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it } from "vitest";
import { lookForMoved } from "../../drivers/mirror";
import { listenToProgress } from "../../drivers/progress";
import { RegistryClient } from "../../drivers/registry";
import { type Inputs, operations } from "../../resources/image-mirror/operations";
import { type FaultServer, startFaultServer } from "../support/fault-server";
import { layerBytes, pushIndex, pushPlatform } from "../support/mirror-images";
import { type RunningRegistry, startRegistry } from "../support/registry";

const amd64 = { os: "linux", architecture: "amd64" };
const arm64 = { os: "linux", architecture: "arm64" };

let registry: RunningRegistry;
/** The source as the mirror sees it: what is asked of it is counted. */
let world: FaultServer;
let client: RegistryClient;
let target: RunningRegistry;
let folder: string;
let told: string[];
let hush: () => void;

beforeAll(async () => {
    folder = mkdtempSync(join(tmpdir(), "buildfleet-moved-"));
    [registry, target] = await Promise.all([startRegistry(), startRegistry()]);
    client = new RegistryClient({ registry: registry.registry, plainHttp: true });
});
beforeEach(async () => {
    world = await startFaultServer({ upstream: registry.registry });
    told = [];
    hush = listenToProgress((line) => told.push(line));
});
afterEach(async () => {
    hush();
    await world.stop();
});
afterAll(async () => {
    await client.close();
    await Promise.all([registry.stop(), target.stop()]);
    rmSync(folder, { recursive: true, force: true });
});

/** A release of two platforms: the amd64 one is new each time, the other where it is not given. */
async function publish(name: string, other?: Awaited<ReturnType<typeof pushPlatform>>) {
    const [path = "", tag = ""] = name.split(":");
    const first = await pushPlatform(client, path, amd64, [layerBytes(100)]);
    const second = other ?? (await pushPlatform(client, path, arm64, [layerBytes(100)]));
    return { ...(await pushIndex(client, path, [first, second], tag)), second };
}

const inputsFor = (names: string[], more: Partial<Inputs> = {}): Inputs => ({
    subject: 'ImageMirror "test"',
    images: Object.fromEntries(
        names.map((name) => [name, { source: `${world.address}/${name}`, name: "", platforms: [] }]),
    ),
    platforms: [],
    from: {},
    to: { registry: target.registry },
    connection: { plainHttp: true },
    connections: { [world.address]: { plainHttp: true } },
    referrers: true,
    ...more,
});
const mirrored = async (inputs: Inputs) => (await operations.create(inputs)).outs;
type State = Awaited<ReturnType<typeof mirrored>>;
const changes = async (state: object, inputs: Inputs) => (await operations.diff("", state as State, inputs)).changes;
const update = async (state: object, inputs: Inputs) => (await operations.update("", state as State, inputs)).outs;
/** The state as a version of this library has left it that kept no digests of sources. */
const old = ({ resolved: _, ...state }: State) => state;
const asked = () => world.seen.map(({ method, url }) => `${method} ${url.replace("/v2/", "")}`);

describe("a tag that moved at the source", () => {
    it.each<[string, (name: string) => Partial<Inputs>]>([
        ["registry", () => ({})],
        ["folder", (name) => ({ to: { folder: join(folder, name) } })],
        ["archive", (name) => ({ to: { archive: join(folder, `${name}.tar`) } })],
    ])("is followed into a %s, once", async (kind, more) => {
        const name = `team/${kind}:1`;
        const { digest } = await publish(name);
        const inputs = inputsFor([name], more(kind));
        const first = await mirrored(inputs);
        expect(await changes(first, inputs)).toBe(false);

        const next = await publish(name);
        expect(await changes(first, inputs)).toBe(true);
        const second = await update(first, inputs);
        expect([first.digests[name], second.digests[name]]).toEqual([digest, next.digest]);
        expect(second.contents === first.contents).toBe(kind === "registry");
        expect(await changes(second, inputs)).toBe(false);
        expect(told.filter((line) => /asked|any more/.test(line))).toEqual([]);
    });

    it("is asked for by one HEAD for each image, and one that is named by its digest not at all", async () => {
        const { digest } = await publish("team/pinned:1");
        const names = Array.from({ length: 12 }, (_, i) => `team/many-${i}:1`);
        for (const name of names) await publish(name);
        const pinned = [`team/pinned@${digest}`, `team/pinned:1@${digest}`];
        const inputs = inputsFor([...names, ...pinned]);
        const state = await mirrored(inputs);
        await publish("team/pinned:1");

        let open = 0;
        let most = 0;
        world.setFault((_, response) => {
            most = Math.max(most, ++open);
            response.once("close", () => open--);
            return "pass";
        });
        expect(await changes(state, inputs)).toBe(false);
        const heads = names.map((name) => `HEAD ${name.replace(":", "/manifests/")}`);
        expect(asked().sort()).toEqual(heads.sort());
        expect(most).toBeGreaterThan(1);
    });

    it("is followed where only some platforms are wanted, and those are as they were", async () => {
        const { second } = await publish("team/some:1");
        const inputs = inputsFor(["team/some:1"], { platforms: ["linux/arm64"] });
        const first = await mirrored(inputs);
        expect(await changes(first, inputs)).toBe(false);
        await publish("team/some:1", second);
        expect(await changes(first, inputs)).toBe(true);
        const after = await update(first, inputs);
        expect(after).toMatchObject({ digests: first.digests, copied: { blobs: 0 } });
        expect(await changes(after, inputs)).toBe(false);
    });

    it("is told from one that did not, by a state that has no digests of sources", async () => {
        const { second } = await publish("team/old:1");
        const whole = inputsFor(["team/old:1"]);
        const some = inputsFor(["team/old:1"], {
            platforms: ["linux/amd64"],
            to: { archive: join(folder, "old.tar") },
        });
        const states = [old(await mirrored(whole)), old(await mirrored(some))] as const;
        expect(await changes(states[0], whole)).toBe(false);
        expect(await changes(states[1], some)).toBe(false);
        await publish("team/old:1", second);
        expect(await changes(states[0], whole)).toBe(true);
        expect(await changes(states[1], some)).toBe(true);
        // A platform that is gone is for the update to tell.
        await pushIndex(client, "team/old", [second], "1");
        expect(await changes(states[1], some)).toBe(true);
        await expect(update(states[1], some)).rejects.toThrow("has no linux/amd64, but linux/arm64");
    });

    it("and is gone by now changes nothing, and is told of", async () => {
        const { digest } = await publish("team/gone:1");
        const inputs = inputsFor(["team/gone:1"]);
        const state = await mirrored(inputs);
        await client.deleteManifest("team/gone", digest);
        expect(await changes(state, inputs)).toBe(false);
        expect(told).toContain(
            `ImageMirror "test": ${world.address} has no team/gone:1 any more; what was mirrored stays`,
        );
    });
});

describe("a layout as the source", () => {
    it("is followed where it was collected again; by name, and as a whole", async () => {
        await publish("team/carried:1");
        const archive = join(folder, "carried.tar");
        const collect = (names: string[]) => mirrored(inputsFor(names, { to: { archive } }));
        await collect(["team/carried:1"]);
        const named = inputsFor(["team/carried:1"], { from: { archive } });
        const all = inputsFor([], { from: { archive } });
        const states = [await mirrored(named), await mirrored(all)] as const;
        world.setFault(() => "pass");
        expect(await changes(states[0], named)).toBe(false);
        expect(await changes(states[1], all)).toBe(false);
        // The file alone is read.
        expect(asked()).toEqual([]);

        await publish("team/other:1");
        await collect(["team/carried:1", "team/other:1"]);
        expect(await changes(states[0], named)).toBe(false);
        expect(await changes(states[1], all)).toBe(true);
        const next = await publish("team/carried:1");
        await collect(["team/carried:1"]);
        expect(await changes(states[0], named)).toBe(true);
        expect((await update(states[0], named)).digests["team/carried:1"]).toBe(next.digest);
    });

    it("that was taken away is told of, and no error; one whose contents are said is not looked for", async () => {
        await publish("team/stick:1");
        const archive = join(folder, "stick.tar");
        const { contents } = await mirrored(inputsFor(["team/stick:1"], { to: { archive } }));
        const inputs = inputsFor(["team/stick:1"], { from: { archive } });
        const pinned = inputsFor(["team/stick:1"], { from: { archive, contents } });
        const states = [await mirrored(inputs), await mirrored(pinned)] as const;
        expect(readFileSync(archive).length).toBeGreaterThan(0);
        rmSync(archive);
        told.length = 0;
        expect(await changes(states[1], pinned)).toBe(false);
        expect(told).toEqual([]);
        expect(await changes(states[0], inputs)).toBe(false);
        expect(told).toEqual([
            expect.stringMatching(
                /^ImageMirror "test": .*stick.tar can't be asked whether it has a newer team\/stick:1: .*does not exist/,
            ),
        ]);
    });
});

describe("a source that can't be asked", () => {
    const names = Array.from({ length: 20 }, (_, i) => `team/away-${i}:1`);

    it("changes nothing, is told of once for all its images, and hides no other source's news", async () => {
        for (const name of names) await publish(name);
        const [near = "", ...others] = names;
        const inputs = inputsFor(others);
        inputs.images.near = { source: `${registry.registry}/${near}`, name: "near:1", platforms: [] };
        inputs.connections[registry.registry] = { plainHttp: true };
        const state = await mirrored(inputs);
        await world.stop();
        told.length = 0;
        expect(await changes(state, inputs)).toBe(false);
        expect(told).toHaveLength(1);
        expect(told[0]).toContain(`${world.address} can't be asked whether it has a newer ${others.join(", ")}: HEAD `);
        expect(told[0]).toContain("connection refused");
        await publish(near);
        expect(await changes(state, inputs)).toBe(true);
        // What is lost at the target is a change as ever, and the update says what is wrong.
        const lost = { ...state, lost: [others[0] ?? ""] };
        expect(await changes(lost, inputs)).toBe(true);
        await expect(update(lost, inputs)).rejects.toThrow("can't be mirrored; nothing was copied");
    });

    it("because it refuses one repository is asked for the others", async () => {
        for (const name of ["team/open:1", "team/closed:1"]) await publish(name);
        const inputs = inputsFor(["team/closed:1", "team/open:1"]);
        const state = await mirrored(inputs);
        await publish("team/open:1");
        world.setFault(({ url }, response) => {
            if (!url.includes("closed")) return "pass";
            response.writeHead(403).end();
            return undefined;
        });
        expect(await changes(state, inputs)).toBe(true);
        expect(told.at(-1)).toMatch(/can't be asked whether it has a newer team\/closed:1: HEAD .*403/);
    });

    it("because it never answers is not waited for by one image after the other", async () => {
        world.setFault(() => undefined);
        const place = () => ({ path: "any" });
        const images = names.map((name) => {
            const [repository = "", tag = ""] = name.split(":");
            return { key: name, source: { registry: world.address, repository, tag }, platforms: [], ...place() };
        });
        const { images: _, ...options } = inputsFor(names);
        const before = { resolved: {}, digests: {} };
        const looked = await lookForMoved({ ...options, images, place }, before, 2_000);
        expect(looked.moved).toEqual([]);
        expect(looked.unknown).toEqual([expect.stringMatching(/away-0:1, .*away-19:1: no answer within 2 s$/)]);
        expect(world.seen).toHaveLength(8);
    });
});
