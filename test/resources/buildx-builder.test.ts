import { execFileSync } from "node:child_process";
import { chmodSync, existsSync, mkdirSync, mkdtempSync, readFileSync, rmSync, statSync, writeFileSync } from "node:fs";
import { createServer, type Socket } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, beforeEach, describe, expect, it } from "vitest";
import { findTool } from "../../drivers/tools";
import { createAuthority, issueCertificate } from "../../drivers/x509";
import { type Inputs, operations } from "../../resources/buildx-builder/operations";
import { type RunningBuildkitd, startBuildkitd } from "../support/buildkitd";
import { freePort } from "../support/port";

const native = process.arch === "arm64" ? "linux/arm64" : "linux/amd64";
const foreign = process.arch === "arm64" ? "linux/amd64" : "linux/arm64";

let store: string;
let before: string | undefined;
let daemons: Record<"one" | "two" | "arm", RunningBuildkitd>;
let client: NonNullable<Inputs["client"]>;
let otherClient: NonNullable<Inputs["client"]>;
let inputs: Inputs;

async function newClient(authority: Awaited<ReturnType<typeof createAuthority>>) {
    const { certificate, privateKey } = await issueCertificate({
        authority,
        commonName: "client",
        usage: "client",
        days: 2,
    });
    return { ca: authority.certificate, certificate, privateKey };
}

beforeAll(async () => {
    store = mkdtempSync(join(tmpdir(), "buildfleet-store-"));
    before = process.env.BUILDX_CONFIG;
    process.env.BUILDX_CONFIG = store;
    const authority = await createAuthority({ name: "builders", days: 2 });
    const start = async (name: string, platforms?: string[]) => {
        const own = await issueCertificate({ authority, commonName: name, usage: "server", dnsNames: [name], days: 2 });
        return startBuildkitd({ ca: authority.certificate, ...own }, undefined, platforms);
    };
    // What an arm64 machine with handlers for the others claims.
    const claims = ["linux/arm64", "linux/arm/v7", "linux/386"];
    const [one, two, arm] = await Promise.all([start("one"), start("two"), start("arm", claims)]);
    daemons = { one, two, arm };
    [client, otherClient] = await Promise.all([newClient(authority), newClient(authority)]);
});
afterAll(async () => {
    await Promise.all(Object.values(daemons ?? {}).map((daemon) => daemon.stop()));
    if (before === undefined) delete process.env.BUILDX_CONFIG;
    else process.env.BUILDX_CONFIG = before;
    rmSync(store, { recursive: true, force: true });
});
beforeEach(() => {
    rmSync(store, { recursive: true, force: true });
    inputs = {
        name: "app-linux",
        platform: native,
        emulation: "refuse",
        placementKey: "app",
        nodes: [node("one")],
        client,
    };
});

const node = (name: keyof typeof daemons, more: Partial<Inputs["nodes"][0]> = {}) => ({
    name,
    endpoint: daemons[name].endpoint,
    platforms: [native],
    serverName: name,
    ...more,
});
const register = async (more: Partial<Inputs> = {}) => (await operations.create({ ...inputs, ...more })).outs;
type State = Awaited<ReturnType<typeof register>>;
const changes = async (state: State, more: Partial<Inputs> = {}) =>
    (await operations.diff("", state, { ...inputs, ...more })).changes;
const update = async (state: State, more: Partial<Inputs> = {}) =>
    (await operations.update("", state, { ...inputs, ...more })).outs;

const entry = () => join(store, "instances/app-linux");
const certificates = () => join(store, "buildfleet/app-linux");
/** What buildx itself says of the builder; it dials the node. */
const inspect = () => execFileSync(findTool("docker-buildx"), ["inspect", "app-linux"], { encoding: "utf8" });

/** The registration works and nothing is left to mend. */
async function expectMended(state: State, more: Partial<Inputs> = {}) {
    expect(await changes(state, more)).toBe(false);
    expect(inspect()).toMatch(/Status:\s+running/);
}

describe("a builder's registration", () => {
    it("is one pinned node that buildx can use, its certificate private", async () => {
        const state = await register();
        expect(state).toMatchObject({ nodeName: "one", endpoint: daemons.one.endpoint, emulated: false });
        expect(inspect()).toContain(daemons.one.endpoint);
        expect(statSync(join(certificates(), "key.pem")).mode & 0o777).toBe(0o600);
        expect(statSync(certificates()).mode & 0o777).toBe(0o700);
        await expectMended(state);
    });

    it.each<[string, () => void]>([
        ["the whole store is gone", () => rmSync(store, { recursive: true })],
        ["the entry is gone", () => rmSync(entry())],
        ["the entry is half a file", () => writeFileSync(entry(), '{"Name":"app-li')],
        ["the client certificate is gone", () => rmSync(certificates(), { recursive: true })],
        ["the key is gone", () => rmSync(join(certificates(), "key.pem"))],
        ["the key is open to others", () => chmodSync(join(certificates(), "key.pem"), 0o644)],
        [
            "the certificate is another one",
            () => writeFileSync(join(certificates(), "cert.pem"), otherClient.certificate),
        ],
        [
            "the entry points at another node",
            () =>
                writeFileSync(
                    entry(),
                    readFileSync(entry(), "utf8").replaceAll(daemons.one.endpoint, daemons.two.endpoint),
                ),
        ],
        [
            "the entry expects another server name",
            () => writeFileSync(entry(), readFileSync(entry(), "utf8").replaceAll('"one"', '"two"')),
        ],
        [
            "somebody appended a second node",
            () => {
                const value = JSON.parse(readFileSync(entry(), "utf8"));
                value.Nodes.push({ ...value.Nodes[0], Name: "second", Endpoint: daemons.two.endpoint });
                writeFileSync(entry(), JSON.stringify(value));
            },
        ],
        [
            "the name is a builder of another driver",
            () => {
                mkdirSync(join(store, "instances"), { recursive: true });
                writeFileSync(
                    entry(),
                    JSON.stringify({ Name: "app-linux", Driver: "docker-container", Nodes: [{ Name: "n" }] }),
                );
            },
        ],
    ])("is mended where %s", async (_case, damage) => {
        const state = await register();
        damage();
        expect(await changes(state)).toBe(true);
        const mended = await update(state);
        expect(mended.nodeName).toBe("one");
        await expectMended(mended);
        expect(JSON.parse(readFileSync(entry(), "utf8")).Nodes).toHaveLength(1);
    });

    it("gets a rotated client certificate", async () => {
        const state = await register();
        expect(await changes(state, { client: otherClient })).toBe(true);
        await expectMended(await update(state, { client: otherClient }), { client: otherClient });
        expect(readFileSync(join(certificates(), "cert.pem"), "utf8")).toBe(otherClient.certificate);
    });

    it("follows a node that moved, under the same name", async () => {
        const state = await register();
        const nodes = [node("one", { endpoint: daemons.two.endpoint, serverName: "two" })];
        expect(await changes(state, { nodes })).toBe(true);
        const moved = await update(state, { nodes });
        expect(moved).toMatchObject({ name: "app-linux", nodeName: "one", endpoint: daemons.two.endpoint });
        await expectMended(moved, { nodes });
    });

    it("goes to the other node when its own is gone, and does not care about one that comes", async () => {
        const nodes = [node("one"), node("two")];
        const state = await register({ nodes });
        const gone = state.nodeName as "one" | "two";
        const dead = nodes.map((one) => (one.name === gone ? { ...one, endpoint: "tcp://127.0.0.1:1" } : one));
        expect(await changes(state, { nodes: dead })).toBe(true);
        const moved = await update(state, { nodes: dead });
        expect(moved.nodeName).not.toBe(gone);
        await expectMended(moved, { nodes: dead });
        const alone = nodes.filter(({ name }) => name === gone);
        const single = await register({ nodes: alone });
        expect(await changes(single, { nodes })).toBe(false);
    });

    it("does not take another node that got the port for its own", async () => {
        const nodes = [node("one", { endpoint: daemons.two.endpoint })];
        await expect(register({ nodes })).rejects.toThrow(`no node can build ${native}; tried:`);
    });

    it("is refused by a node that does not know the client", async () => {
        const stranger = await newClient(await createAuthority({ name: "others", days: 1 }));
        await expect(register({ client: { ...stranger, ca: client.ca } })).rejects.toThrow(
            `no node can build ${native}; tried:\n  one: ${daemons.one.endpoint}: UNAVAILABLE`,
        );
        expect(existsSync(entry())).toBe(false);
    });

    it("waits for a silent node once: the update after the diff goes on", async () => {
        const open = new Set<Socket>();
        const port = await freePort();
        const silent = createServer((socket) => open.add(socket)).listen(port, "127.0.0.1");
        const state = await register();
        const nodes = [node("one", { endpoint: `tcp://127.0.0.1:${port}` }), node("two")];
        const started = Date.now();
        expect(await changes(state, { nodes })).toBe(true);
        expect(Date.now() - started).toBeGreaterThan(2_900);
        expect(open.size).toBe(1);
        const moved = await update(state, { nodes });
        expect(moved.nodeName).toBe("two");
        expect(open.size).toBe(1);
        for (const socket of open) socket.destroy();
        silent.close();
    });

    it("tells an emulated platform from its own, and refuses it unless allowed", async () => {
        const nodes = [node("one", { platforms: [native, foreign] })];
        const more = { platform: foreign, nodes };
        await expect(register(more)).rejects.toThrow(`one (${daemons.one.endpoint}): is ${native}`);
        await expect(register(more)).rejects.toThrow(/would emulate|can't run/);
        expect(await register({ ...more, emulation: "allow" })).toMatchObject({ emulated: true, nodeName: "one" });
    });

    describe("for 32-bit ARM on an arm64 machine, where BuildKit claims what a handler emulates", () => {
        const platform = "linux/arm/v7";
        const on = ({ platforms: _, ...undeclared }: Inputs["nodes"][0], declared?: string[]) => ({
            platform,
            nodes: [{ ...undeclared, ...(declared && { platforms: declared }) }],
        });

        it("is refused where the node's owner does not say that its processors run it, and told what to say", async () => {
            const asked = on(node("arm"));
            await expect(register(asked)).rejects.toThrow(
                `arm (${daemons.arm.endpoint}): is linux/arm64 and would emulate ${platform}, which not every linux/arm64 processor runs; ` +
                    `declare ${platform} in the node's platforms if its processors run AArch32 themselves, or allow emulation`,
            );
            expect(await register({ ...asked, emulation: "allow" })).toMatchObject({ emulated: true });
        });

        it("is its own where the owner does", async () => {
            const declared = on(node("arm"), ["linux/arm64", "armv7l"]);
            expect(await register(declared)).toMatchObject({ emulated: false, nodeName: "arm" });
        });

        it("is not advised where no arm64 processor runs the platform", async () => {
            const failed = register({ ...on(node("arm"), ["linux/386"]), platform: "linux/386" });
            await expect(failed).rejects.toThrow(/is linux\/arm64 and would emulate linux\/386$/m);
        });
    });

    it("is taken out with its certificate, and nothing else is", async () => {
        const state = await register();
        const other = await register({ name: "other" });
        await operations.delete("", state);
        expect(existsSync(entry())).toBe(false);
        expect(existsSync(certificates())).toBe(false);
        expect(existsSync(join(store, "instances", other.name))).toBe(true);
        await operations.delete("", state);
    });
});
