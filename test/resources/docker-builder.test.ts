import { execFileSync } from "node:child_process";
import { existsSync, mkdtempSync, readFileSync, rmSync, statSync, writeFileSync } from "node:fs";
import { createServer, type ServerResponse } from "node:http";
import type { AddressInfo } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { parse } from "smol-toml";
import { afterAll, beforeAll, beforeEach, describe, expect, it } from "vitest";
import { buildDockerfile } from "../../drivers/buildx";
import { listenToProgress } from "../../drivers/progress";
import { findTool } from "../../drivers/tools";
import { type Inputs, operations } from "../../resources/buildx-builder/operations";
import { pushBuildkitImage } from "../support/buildkit-image";
import { Dockerd } from "../support/dockerd";
import { type RunningRegistry, startRegistry } from "../support/registry";

const native = process.arch === "arm64" ? "linux/arm64" : "linux/amd64";
const foreign = process.arch === "arm64" ? "linux/amd64" : "linux/arm64";
const CONTAINER = "buildx_buildkit_buildfleet-room";
const VOLUME = `${CONTAINER}_state`;

let store: string;
let before: string | undefined;
let dockerd: Dockerd;
let registry: RunningRegistry;
let image: string;
let otherImage: string;

beforeAll(async () => {
    store = mkdtempSync(join(tmpdir(), "buildfleet-store-"));
    before = process.env.BUILDX_CONFIG;
    process.env.BUILDX_CONFIG = store;
    [registry, dockerd] = await Promise.all([startRegistry(), Dockerd.start()]);
    image = await pushBuildkitImage(registry.registry);
    otherImage = await pushBuildkitImage(registry.registry, { tag: "other", label: "other" });
});
afterAll(async () => {
    await dockerd?.stop();
    await registry?.stop();
    if (before === undefined) delete process.env.BUILDX_CONFIG;
    else process.env.BUILDX_CONFIG = before;
    rmSync(store, { recursive: true, force: true });
});
beforeEach(() => rmSync(store, { recursive: true, force: true }));

type Docker = NonNullable<Inputs["nodes"][0]["docker"]>;

const docker = (more: Docker = {}): Docker => ({
    image,
    network: "host",
    memory: "1 GiB",
    cpus: 1.5,
    env: { NO_PROXY: "a,b" },
    registries: { [registry.registry]: { http: true } },
    ...more,
});
const inputs = (more: Docker = {}, others: Partial<Inputs> = {}): Inputs => ({
    name: "app-linux",
    platform: native,
    emulation: "refuse",
    placementKey: "app",
    nodes: [{ name: "room", endpoint: dockerd.endpoint, docker: docker(more) }],
    ...others,
});
const register = async (...args: Parameters<typeof inputs>) => (await operations.create(inputs(...args))).outs;
type State = Awaited<ReturnType<typeof register>>;
const changes = async (state: State, ...args: Parameters<typeof inputs>) =>
    (await operations.diff("", state, inputs(...args))).changes;
const update = async (state: State, ...args: Parameters<typeof inputs>) =>
    (await operations.update("", state, inputs(...args))).outs;

const entry = (name = "app-linux") => join(store, "instances", name);
const container = async () => {
    const found = await dockerd.container(CONTAINER);
    if (!found) throw new Error(`no container ${CONTAINER}`);
    return found;
};
const build = (dockerfile: string) => buildDockerfile({ builder: "app-linux", platform: native, dockerfile });
const HELLO = "FROM scratch\nCOPY <<EOF /hello\nhello\nEOF\n";
/** Every layer was taken from the node's cache. */
const isCached = (output: { stderr: string }) => /^#\d+ CACHED$/m.test(output.stderr);

describe("a builder in a container of a Docker daemon", () => {
    it("is made as declared: image, limits and configuration, as Docker and BuildKit tell it", async () => {
        const state = await register();
        expect(state).toMatchObject({ nodeName: "room", endpoint: dockerd.endpoint, nativePlatform: native });
        const made = await container();
        expect(made.Config.Image).toBe(image);
        expect(made.Config.Env).toContain("NO_PROXY=a,b");
        expect(made.HostConfig).toMatchObject({ Memory: 2 ** 30, CpuQuota: 150_000, CpuPeriod: 100_000 });
        expect(made.HostConfig.NetworkMode).toBe("host");
        const toml = dockerd.docker("cp", `${CONTAINER}:/etc/buildkit/buildkitd.toml`, "-");
        expect(parse(toml.slice(512).replace(/\0+$/, ""))).toMatchObject({
            registry: { [registry.registry]: { http: true } },
        });
        expect(statSync(entry()).mode & 0o777).toBe(0o600);
        expect(await changes(state)).toBe(false);
        expect((await container()).Id).toBe(made.Id);
        await build(HELLO);
    });

    it("is shared by builders, each pinned to one platform", async () => {
        const one = await register();
        const { Id } = await container();
        const other = await register({}, { name: "other", platform: foreign, emulation: "allow" });
        expect(other).toMatchObject({ emulated: true, nativePlatform: native });
        expect((await container()).Id).toBe(Id);
        expect(await changes(one)).toBe(false);
        await expect(register({}, { platform: foreign })).rejects.toThrow(
            new RegExp(`room \\(${dockerd.endpoint}\\): is ${native} and would emulate ${foreign}`),
        );
    });

    it.each<[string, () => unknown, { sameContainer: boolean }]>([
        ["the container is gone", () => dockerd.remove(CONTAINER), { sameContainer: false }],
        ["the container is stopped", () => dockerd.docker("stop", CONTAINER), { sameContainer: true }],
        [
            "somebody changed its limits",
            () => dockerd.docker("update", "--memory", "2g", "--memory-swap", "4g", CONTAINER),
            { sameContainer: false },
        ],
        ["the whole store is gone", () => rmSync(store, { recursive: true }), { sameContainer: true }],
        ["the entry is half a file", () => writeFileSync(entry(), '{"Name":"app-li'), { sameContainer: true }],
        [
            "the entry has no configuration any more",
            () => {
                const value = JSON.parse(readFileSync(entry(), "utf8"));
                value.Nodes[0].Files = {};
                writeFileSync(entry(), JSON.stringify(value));
            },
            { sameContainer: true },
        ],
        [
            "the entry has another driver",
            () => writeFileSync(entry(), JSON.stringify({ Name: "app-linux", Driver: "remote", Nodes: [{}] })),
            { sameContainer: true },
        ],
    ])("is mended where %s, and keeps its cache", async (_case, damage, { sameContainer }) => {
        const state = await register();
        await build(HELLO);
        const { Id } = await container();
        await damage();
        expect(await changes(state)).toBe(true);
        const mended = await update(state);
        expect(await changes(mended)).toBe(false);
        expect((await container()).Id === Id).toBe(sameContainer);
        expect(isCached(await build(HELLO))).toBe(true);
    });

    it.each<[string, () => Docker]>([
        ["the image", () => ({ image: otherImage })],
        ["the configuration", () => ({ maxParallelism: 3 })],
        ["a limit", () => ({ cpus: 1 })],
    ])("is made anew where %s is another one, and keeps its cache", async (_case, more) => {
        const state = await register();
        await build(HELLO);
        const { Id } = await container();
        expect(await changes(state, more())).toBe(true);
        const changed = await update(state, more());
        expect(await changes(changed, more())).toBe(false);
        const made = await container();
        expect(made.Id).not.toBe(Id);
        expect(made.Config.Image).toBe(more().image ?? image);
        expect(made.HostConfig.CpuQuota).toBe((more().cpus ?? 1.5) * 100_000);
        const toml = dockerd.docker("exec", CONTAINER, "buildctl", "debug", "workers", "--verbose");
        expect(toml).toContain(native);
        expect(isCached(await build(HELLO))).toBe(true);
    });

    it("lets a build end before its container is made anew", async () => {
        const state = await register();
        const { Id } = await container();
        let asked: (response: ServerResponse) => void = () => {};
        const request = new Promise<ServerResponse>((resolve) => {
            asked = resolve;
        });
        const server = createServer((_request, response) => asked(response)).listen(0, "127.0.0.1");
        const { port } = server.address() as AddressInfo;
        const built = build(`FROM scratch\nADD http://127.0.0.1:${port}/late /late\n`);
        const response = await request;
        let told: (line: string) => void = () => {};
        const waiting = new Promise<string>((resolve) => {
            told = resolve;
        });
        const silence = listenToProgress((line) => line.includes("made anew") && told(line));
        const updated = update(state, { cpus: 1 });
        try {
            expect(await waiting).toMatch(/^builder node room: 1 builds to end before .* is made anew/);
            expect((await container()).Id).toBe(Id);
        } finally {
            silence();
            response.end("late");
        }
        await built;
        await updated;
        server.close();
        expect((await container()).Id).not.toBe(Id);
    });

    it("tells what to set where the image can't be had, and leaves nothing half done", async () => {
        await dockerd.remove(CONTAINER);
        const missing = `${registry.registry}/moby/buildkit:missing`;
        await expect(register({ image: missing })).rejects.toThrow(
            new RegExp(
                `no node can build ${native}; tried:[\\s\\S]*manifest unknown[\\s\\S]*next: push ${missing} to the registry first`,
            ),
        );
        expect(existsSync(entry())).toBe(false);
        expect(await dockerd.containers()).toEqual([]);
    });

    it("starts a container over that a killed run has created and not configured", async () => {
        await register();
        const { Config } = await container();
        await dockerd.remove(CONTAINER);
        const marker = Config.Env.find((variable) => variable.startsWith("BUILDFLEET_SETTINGS=")) ?? "";
        dockerd.docker("create", "--name", CONTAINER, "--env", marker, "--network", "host", image);
        await build(HELLO).catch(() => undefined);
        await dockerd.remove(CONTAINER);
        dockerd.docker("create", "--name", CONTAINER, "--env", marker, "--network", "host", image);
        const state = await register();
        expect(await changes(state)).toBe(false);
        await build(HELLO);
    });

    it("does not touch a container that somebody else made", async () => {
        await dockerd.remove(CONTAINER);
        dockerd.docker("create", "--name", CONTAINER, image);
        const { Id } = await container();
        await expect(register()).rejects.toThrow(/was made by somebody else; set docker\.instance/);
        expect((await container()).Id).toBe(Id);
        const state = await register({ instance: "ours" });
        expect(await changes(state, { instance: "ours" })).toBe(false);
        expect(await dockerd.containers()).toEqual([CONTAINER, "buildx_buildkit_ours"]);
        await operations.delete("", await register({ instance: "ours", remove: true }));
        await dockerd.remove(CONTAINER);
    });

    it("says which daemon does not answer, and builds elsewhere where there is one that does", async () => {
        const dead = { name: "dead", endpoint: "unix:///nowhere/docker.sock", docker: docker() };
        await expect(register({}, { nodes: [dead] })).rejects.toThrow(
            /dead \(unix:\/\/\/nowhere\/docker\.sock\)[\s\S]*next: start Docker there/,
        );
        const nodes = [dead, ...inputs().nodes];
        expect(await register({}, { nodes })).toMatchObject({ nodeName: "room" });
    });

    it("goes with its cache when the last builder on it goes, where that is asked for, and stays otherwise", async () => {
        const one = await register({ remove: true });
        const two = await register({ remove: true }, { name: "other" });
        await operations.delete("", one);
        expect(await dockerd.containers()).toEqual([CONTAINER]);
        await operations.delete("", two);
        expect(await dockerd.containers()).toEqual([]);
        expect(await dockerd.volumes()).not.toContain(VOLUME);
        await operations.delete("", two);
        const kept = await register();
        await operations.delete("", kept);
        expect(await dockerd.containers()).toEqual([CONTAINER]);
        expect(await dockerd.volumes()).toContain(VOLUME);
    });

    it("needs nothing but what buildx itself finds: its own tools see the same builder", async () => {
        await register();
        const said = execFileSync(findTool("docker-buildx"), ["inspect", "app-linux"], { encoding: "utf8" });
        expect(said).toMatch(/Driver:\s+docker-container/);
        expect(said).toMatch(/Status:\s+running/);
    });
});
