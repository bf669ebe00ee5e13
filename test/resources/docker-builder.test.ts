import { spawn } from "node:child_process";
import { once } from "node:events";
import { existsSync, mkdirSync, mkdtempSync, readFileSync, rmSync, statSync, writeFileSync } from "node:fs";
import { createServer, type ServerResponse } from "node:http";
import type { AddressInfo } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { parse } from "smol-toml";
import { afterAll, beforeAll, beforeEach, describe, expect, it } from "vitest";
import { buildDockerfile } from "../../drivers/buildx";
import { listenToProgress } from "../../drivers/progress";
import { RegistryClient } from "../../drivers/registry";
import { createAuthority, issueCertificate } from "../../drivers/x509";
import { type Inputs, operations } from "../../resources/buildx-builder/operations";
import { RoomAccess } from "../support/builder-host";
import { pushBuildkitImage } from "../support/buildkit-image";
import { pushDebianImage } from "../support/debian-image";
import { Dockerd } from "../support/dockerd";
import { freePort } from "../support/port";
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

/** sshd as the host's owner would have it: `docker` on the PATH, and where it finds the daemon. */
async function startSshd(
    port: number,
    { hostKey, authorizedKeys }: { hostKey: string; authorizedKeys: string },
    env: Record<string, string>,
) {
    const folder = mkdtempSync(join(tmpdir(), "docker-host-sshd-"));
    const config = [
        `ListenAddress 127.0.0.1:${port}`,
        `HostKey ${hostKey}`,
        `AuthorizedKeysFile ${authorizedKeys}`,
        ...["StrictModes no", "UsePAM no", "PasswordAuthentication no", "PidFile none"],
        `SetEnv ${Object.entries({ PATH: "/usr/bin:/bin", ...env })
            .map(([name, value]) => `${name}=${value}`)
            .join(" ")}`,
        "",
    ];
    writeFileSync(join(folder, "sshd_config"), config.join("\n"));
    // Debian's package leaves it to the unit.
    mkdirSync("/run/sshd", { recursive: true });
    const command = ["--pdeathsig", "KILL", "/usr/sbin/sshd", "-D", "-e", "-f", join(folder, "sshd_config")];
    const child = spawn("setpriv", command, { stdio: ["ignore", "ignore", "pipe"] });
    await new Promise<void>((resolve, reject) => {
        let log = "";
        child.stderr.setEncoding("utf8").on("data", (text: string) => {
            log += text;
            if (log.includes("Server listening on")) resolve();
        });
        child.once("exit", () => reject(new Error(`sshd does not listen:\n${log}`)));
    });
    return {
        async stop() {
            const ended = once(child, "exit");
            child.kill("SIGKILL");
            await ended;
            rmSync(folder, { recursive: true, force: true });
        },
    };
}

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
/** `buildkitd.toml` as the container has it. */
function configuration() {
    const tar = dockerd.docker("cp", `${CONTAINER}:/etc/buildkit/buildkitd.toml`, "-");
    // One file: its header has 512 bytes, and zeros fill up the rest.
    return parse(tar.slice(512).replace(/\0+$/, "")) as {
        registry?: Record<string, object>;
        worker?: { oci?: Record<string, unknown> };
    };
}
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
        expect(configuration().registry).toMatchObject({ [registry.registry]: { http: true } });
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
        ["gone", () => dockerd.remove(CONTAINER), { sameContainer: false }],
        ["stopped", () => dockerd.docker("stop", "--time", "1", CONTAINER), { sameContainer: true }],
        [
            "given other limits by somebody",
            () => dockerd.docker("update", "--memory", "2g", "--memory-swap", "4g", CONTAINER),
            { sameContainer: false },
        ],
    ])("has its container mended when it is %s, and keeps its cache", async (_case, damage, { sameContainer }) => {
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

    it("has its registration mended, whatever is wrong with it, and its container left alone", async () => {
        const edit = (
            change: (value: { Nodes: { Files: object; DriverOpts: object; Endpoint: string }[] }) => void,
        ) => {
            const value = JSON.parse(readFileSync(entry(), "utf8"));
            change(value);
            writeFileSync(entry(), JSON.stringify(value));
        };
        const wrongs: [string, () => void][] = [
            ["no store", () => rmSync(store, { recursive: true })],
            ["half a file", () => writeFileSync(entry(), '{"Name":"app-li')],
            ["no configuration", () => edit(({ Nodes: [node] }) => node && Object.assign(node, { Files: {} }))],
            [
                "another limit",
                () => edit(({ Nodes: [node] }) => node && Object.assign(node.DriverOpts, { memory: "5" })),
            ],
            [
                "another daemon",
                () => edit(({ Nodes: [node] }) => node && Object.assign(node, { Endpoint: "unix:///x" })),
            ],
            ["a second node", () => edit(({ Nodes }) => Nodes.push(Nodes[0] as (typeof Nodes)[0]))],
            ["another driver", () => edit((value) => Object.assign(value, { Driver: "remote" }))],
        ];
        const state = await register();
        const { Id } = await container();
        for (const [wrong, damage] of wrongs) {
            damage();
            expect(await changes(state), wrong).toBe(true);
            await update(state);
            expect(await changes(state), wrong).toBe(false);
        }
        expect((await container()).Id).toBe(Id);
        await build(HELLO);
    });

    it("is made anew where image, configuration or limits are others, and keeps its cache", async () => {
        let state = await register();
        await build(HELLO);
        for (const more of [{ image: otherImage }, { maxParallelism: 3 }, { cpus: 1 }]) {
            const { Id } = await container();
            expect(await changes(state, more)).toBe(true);
            state = await update(state, more);
            expect(await changes(state, more)).toBe(false);
            const made = await container();
            expect(made.Id).not.toBe(Id);
            expect(made.Config.Image).toBe(more.image ?? image);
            expect(made.HostConfig.CpuQuota).toBe((more.cpus ?? 1.5) * 100_000);
            expect(configuration().worker?.oci?.["max-parallelism"]).toBe(more.maxParallelism);
        }
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
        await once(server, "listening");
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
            /dead \(unix:\/\/\/nowhere\/docker\.sock\)[\s\S]*Cannot connect to the Docker daemon[\s\S]*next: start one of these nodes/,
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

    it("pulls from a registry with a private authority that asks for a client certificate", async () => {
        const authority = await createAuthority({ name: "room", days: 1 });
        const issue = (usage: "server" | "client") =>
            issueCertificate({ authority, commonName: usage, usage, ipAddresses: ["127.0.0.1"], days: 1 });
        const { certificate, privateKey } = await issue("client");
        const ca = authority.certificate;
        const secured = await startRegistry({ tls: { ...(await issue("server")), clientCa: ca } });
        try {
            const address = secured.registry;
            const client = new RegistryClient({
                registry: address,
                ca,
                clientCert: certificate,
                clientKey: privateKey,
            });
            const { reference } = await pushDebianImage(client, "base", [], native.split("/")[1]);
            await client.close();
            const pull = `FROM ${reference}\n`;
            const state = await register();
            await expect(build(pull)).rejects.toThrow(/failed to resolve source metadata/);
            const more = {
                registries: { [address]: { http: false, caPem: ca, clientCertificate: { certificate, privateKey } } },
            };
            await update(state, more);
            await build(pull);
            expect(await changes(state, more)).toBe(false);
        } finally {
            await secured.stop();
        }
    });

    it("is made on a daemon that is reached by ssh, too, from a host whose key is known", async () => {
        const access = new RoomAccess();
        const path = process.env.PATH;
        const port = await freePort();
        const sshd = await startSshd(port, access.hostFiles, { DOCKER_HOST: dockerd.endpoint });
        try {
            process.env.PATH = `${access.path}:${path}`;
            const node = { name: "room", endpoint: `ssh://root@127.0.0.1:${port}`, docker: docker() };
            await expect(register({}, { nodes: [node] })).rejects.toThrow(/Host key verification failed/);
            access.trust(`[127.0.0.1]:${port}`);
            const state = await register({}, { nodes: [node] });
            expect(state).toMatchObject({ endpoint: node.endpoint, nativePlatform: native });
            await build(HELLO);
            expect(await changes(state, {}, { nodes: [node] })).toBe(false);
            await dockerd.remove(CONTAINER);
            expect(await changes(state, {}, { nodes: [node] })).toBe(true);
            await update(state, {}, { nodes: [node] });
            expect((await container()).State.Running).toBe(true);
        } finally {
            process.env.PATH = path;
            await sshd.stop();
            access.dispose();
        }
    });

    it("takes builds through the relay that counts them, where it has a limit of builds", async () => {
        const nodes = inputs().nodes.map((node) => ({ ...node, maxBuilds: 1 }));
        const state = await register({}, { nodes });
        expect(await changes(state, {}, { nodes })).toBe(false);
        await build(HELLO);
        expect(await dockerd.containers()).toEqual([CONTAINER]);
        await dockerd.remove(CONTAINER);
        expect(await changes(state, {}, { nodes })).toBe(true);
        await update(state, {}, { nodes });
        await build(HELLO);
        await operations.delete("", state);
    });
});
