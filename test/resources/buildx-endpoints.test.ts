import { execFileSync } from "node:child_process";
import { existsSync, mkdtempSync, readFileSync, rmSync, statSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it } from "vitest";
import { probe } from "../../drivers/buildkit";
import { openRelay } from "../../drivers/relay";
import { findTool } from "../../drivers/tools";
import { type Inputs, operations } from "../../resources/buildx-builder/operations";
import { BuilderHost, RoomAccess } from "../support/builder-host";
import { MachineRoom, type RoomHost } from "../support/machine-room";

const native = process.arch === "arm64" ? "linux/arm64" : "linux/amd64";
const foreign = process.arch === "arm64" ? "linux/amd64" : "linux/arm64";

let room: MachineRoom;
let access: RoomAccess;
let host: BuilderHost;
/** A host that has no BuildKit, and no sshd. */
let bare: RoomHost;
let client: NonNullable<Inputs["client"]>;
let store: string;
const before = { PATH: process.env.PATH, BUILDX_CONFIG: process.env.BUILDX_CONFIG };

beforeAll(async () => {
    store = mkdtempSync(join(tmpdir(), "buildfleet-store-"));
    room = await MachineRoom.create();
    access = new RoomAccess();
    process.env.PATH = `${access.path}:${before.PATH}`;
    process.env.BUILDX_CONFIG = store;
    host = await BuilderHost.start("one", await room.host(), access);
    bare = await room.host();
    client = await access.client();
});
afterAll(async () => {
    for (const [name, value] of Object.entries(before)) {
        if (value === undefined) delete process.env[name];
        else process.env[name] = value;
    }
    await host?.stop();
    await room?.close();
    access?.dispose();
    rmSync(store, { recursive: true, force: true });
});
beforeEach(() => access.trust(host.host.address));
afterEach(() => rmSync(store, { recursive: true, force: true }));

type Node = Inputs["nodes"][0];
const inputsOf = (nodes: Node[], more: Partial<Inputs> = {}): Inputs => ({
    name: "app-linux",
    platform: native,
    emulation: "refuse",
    placementKey: "app",
    nodes,
    ...more,
});
const register = async (nodes: Node[], more: Partial<Inputs> = {}) =>
    (await operations.create(inputsOf(nodes, more))).outs;
const inspect = () => execFileSync(findTool("docker-buildx"), ["inspect", "app-linux"], { encoding: "utf8" });
const entry = () => JSON.parse(readFileSync(join(store, "instances/app-linux"), "utf8")).Nodes[0];
const linesOf = (tool: string) =>
    readFileSync(join(access.folder, `${tool}.log`), "utf8")
        .trim()
        .split("\n");
const forget = (tool: string) => rmSync(join(access.folder, `${tool}.log`), { force: true });
const sorted = (lines: string[]) => [...new Set(lines)].sort();

/** A client's tool that runs what it is told to run in the container here, and keeps a record of how it was called. */
function standIn(tool: "docker" | "kubectl"): void {
    const environment = `BUILDKIT_HOST=unix://${host.socket} PATH=${dirname(findTool("buildctl"))}:$PATH`;
    // Everything up to the command is for the tool itself.
    const script = `echo "$@" >> ${access.folder}/${tool}.log\nwhile [ "$1" != buildctl ]; do shift; done\n${environment} exec "$@"`;
    access.tool(tool, script);
}

describe("an endpoint", () => {
    it.each<[string, () => string, ("ssh" | "docker" | "kubectl")?]>([
        ["tcp://", () => host.tcp],
        ["unix://", () => `unix://${host.socket}`],
        ["ssh://", () => host.ssh, "ssh"],
        ["ssh:// with a socket", () => `${host.ssh}${host.socket}`, "ssh"],
        ["docker-container://", () => "docker-container://builder_1?context=room", "docker"],
        ["kube-pod://", () => "kube-pod://builder-0?namespace=ci&container=buildkitd", "kubectl"],
    ])(
        "%s is asked, registered and used by buildx, and the second look finds nothing to do",
        async (_kind, endpointOf, tool) => {
            if (tool === "docker" || tool === "kubectl") standIn(tool);
            if (tool) forget(tool);
            const endpoint = endpointOf();
            const nodes = [{ name: "one", endpoint, ...(endpoint.startsWith("tcp:") ? { serverName: "one" } : {}) }];
            const state = await register(nodes, { client });
            expect(state).toMatchObject({ nodeName: "one", endpoint, emulated: false });
            expect(state.nativePlatform).toContain(native);
            const ours = tool ? linesOf(tool) : [];
            if (tool) forget(tool);
            expect(inspect()).toMatch(/Status:\s+running/);
            // Both reach the daemon by the same words, but for what keeps ssh from asking and from waiting.
            const plain = ours.map((line) => line.replace("-o BatchMode=yes -o ConnectTimeout=5 ", ""));
            if (tool) expect(sorted(plain)).toEqual(sorted(linesOf(tool)));
            expect(Object.keys(entry().DriverOpts ?? {}).length).toBe(endpoint.startsWith("tcp:") ? 4 : 0);
            expect((await operations.diff("", state, inputsOf(nodes, { client }))).changes).toBe(false);
        },
    );

    it("loses the certificate when it moves from tcp:// to ssh://, and gets it back", async () => {
        const tcp = [{ name: "one", endpoint: host.tcp, serverName: "one" }];
        const ssh = [{ name: "one", endpoint: host.ssh, serverName: "one" }];
        const state = await register(tcp, { client });
        expect((await operations.diff("", state, inputsOf(ssh, { client }))).changes).toBe(true);
        const moved = (await operations.update("", state, inputsOf(ssh, { client }))).outs;
        expect(entry()).toMatchObject({ Endpoint: host.ssh });
        expect(entry().DriverOpts ?? {}).toEqual({});
        expect(existsSync(join(store, "buildfleet/app-linux"))).toBe(false);
        expect(inspect()).toMatch(/Status:\s+running/);
        const back = (await operations.update("", moved, inputsOf(tcp, { client }))).outs;
        expect(inspect()).toMatch(/Status:\s+running/);
        expect((await operations.diff("", back, inputsOf(tcp, { client }))).changes).toBe(false);
    });
});

describe("a node that is reached by ssh", () => {
    const failure = async (endpoint: string) => {
        const started = Date.now();
        const error = await register([{ name: "one", endpoint }]).then(
            () => undefined,
            ({ message }: Error) => message,
        );
        return { message: error ?? "registered", seconds: (Date.now() - started) / 1000 };
    };

    it("and whose host key is not known, is told in ssh's own words", async () => {
        access.trust();
        const { message } = await failure(host.ssh);
        expect(message).toContain(`no node can build ${native}; tried:\n  one: ${host.ssh}: ssh exited with 255`);
        expect(message).toContain("Host key verification failed");
    });

    it("and lets nobody in by that name", async () => {
        const { message } = await failure(host.ssh.replace("root@", "nobody@"));
        expect(message).toMatch(/ssh exited with 255: nobody@.*: Permission denied \(publickey/);
    });

    it("and has no daemon at that socket", async () => {
        const { message } = await failure(`${host.ssh}/run/nothing.sock`);
        expect(message).toMatch(/ssh exited with 1: .*dial unix \/run\/nothing\.sock/);
    });

    it("is waited for once, and not long, when its cable is cut", async () => {
        const nodes: Node[] = [{ name: "cut", endpoint: `ssh://root@${bare.address}` }];
        bare.cut();
        try {
            const { message, seconds } = await failure(`ssh://root@${bare.address}`);
            expect(message).toMatch(/ssh exited with 255: .*(timed out|No route to host)/);
            expect(seconds).toBeLessThan(20);
            const again = Date.now();
            await expect(register(nodes)).rejects.toThrow("no node can build");
            expect(Date.now() - again).toBeLessThan(3_000);
        } finally {
            bare.mend();
        }
    }, 300_000);
});

describe("a node's platforms", () => {
    const node = (platforms?: string[]): Node => ({
        name: "one",
        endpoint: `unix://${host.socket}`,
        ...(platforms ? { platforms } : {}),
    });

    it.each([
        ["claims", [native, foreign]],
        ["claims nothing, and is asked for", undefined],
    ])("one that %s the other architecture's is refused for it, and for nothing else", async (_case, platforms) => {
        const refused = register([node(platforms)], { platform: foreign });
        await expect(refused).rejects.toThrow(
            new RegExp(`one \\(unix://.*\\): is ${native}\\S* and would emulate ${foreign}`),
        );
        await expect(refused).rejects.toThrow('write emulation: "allow"');
        expect(existsSync(join(store, "instances/app-linux"))).toBe(false);
        expect((await register([node(platforms)])).emulated).toBe(false);
    });

    it("one that would emulate does where that is allowed, and the state says so", async () => {
        const state = await register([node([native, foreign])], { platform: foreign, emulation: "allow" });
        expect(state).toMatchObject({ emulated: true, nodeName: "one" });
        expect(state.nativePlatform).toContain(native);
    });

    it("one that claims what its daemon can't run is refused, emulation or not", async () => {
        const refused = register([node(["linux/s390x"])], { platform: "linux/s390x", emulation: "allow" });
        await expect(refused).rejects.toThrow(new RegExp(`is ${native}\\S* and can't run linux/s390x`));
    });

    it("one that declares another platform is not asked", async () => {
        await expect(register([node([foreign])])).rejects.toThrow(
            `no node of the fleet declares ${native}; it has one (${foreign})`,
        );
    });
});

describe("a relay", () => {
    const children = () => execFileSync("ps", ["--ppid", String(process.pid), "-o", "args="], { encoding: "utf8" });

    it("is private, carries several connections, and leaves neither process nor file", async () => {
        const relay = await openRelay(host.ssh);
        const path = relay.endpoint.slice("unix://".length);
        expect(statSync(dirname(path)).mode & 0o777).toBe(0o700);
        const answers = await Promise.all([1, 2, 3].map(() => probe({ endpoint: relay.endpoint })));
        expect(new Set(answers.map(({ nativePlatform }) => nativePlatform)).size).toBe(1);
        await relay.close();
        expect(existsSync(dirname(path))).toBe(false);
        expect(children()).not.toContain("dial-stdio");
    });

    it("ends what still runs when it is closed", async () => {
        // It accepts, and says nothing: as a host that hangs.
        access.tool("docker", `echo "$$" > ${access.folder}/pid\nexec sleep 600`);
        await expect(probe({ endpoint: "docker-container://hangs" }, 5_000)).rejects.toThrow("no answer within 5 s");
        expect(existsSync(`/proc/${readFileSync(join(access.folder, "pid"), "utf8").trim()}`)).toBe(false);
    });

    it("names the tool that is missing", async () => {
        const path = process.env.PATH;
        process.env.PATH = join(access.folder, "nowhere");
        writeFileSync(join(access.folder, "nowhere"), "");
        try {
            await expect(openRelay("kube-pod://builder-0")).rejects.toThrow("kubectl was not found on PATH");
        } finally {
            process.env.PATH = path;
        }
    });
});
