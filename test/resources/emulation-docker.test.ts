import { mkdtempSync, rmSync, symlinkSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, beforeEach, describe, expect, it } from "vitest";
import { factsOf } from "../../core/emulation/binfmt";
import { operations } from "../../resources/binfmt-handlers/operations";
import { pushBinfmtImage } from "../support/binfmt-image";
import { Dockerd } from "../support/dockerd";
import { type RunningRegistry, startRegistry } from "../support/registry";

const foreign = process.arch === "arm64" ? "amd64" : "arm64";
const FOREIGN = `linux/${foreign}`;
const MACHINE = factsOf(foreign).machine;
const HANDLERS = "/proc/sys/fs/binfmt_misc";

let dockerd: Dockerd;
/** Two of one storage: this process pushes to the one, the daemon pulls from the other in its own network. */
let outer: RunningRegistry;
let registry: RunningRegistry;
let storage: string;
let image: string;

beforeAll(async () => {
    storage = mkdtempSync(join(tmpdir(), "binfmt-image-"));
    [outer, dockerd] = await Promise.all([startRegistry({ storage }), Dockerd.start({ emulation: true })]);
    registry = await startRegistry({ storage, through: (command) => dockerd.inside(command) });
    image = await push({});
});
afterAll(async () => {
    await registry?.stop();
    await dockerd?.stop();
    await outer?.stop();
    rmSync(storage, { recursive: true, force: true });
});

const push = async (options: Parameters<typeof pushBinfmtImage>[2]) =>
    `${registry.registry}/${await pushBinfmtImage(outer.registry, [foreign, "s390x"], options)}`;

const inputs = (changed: object = {}) => ({
    docker: { endpoint: dockerd.endpoint, image },
    platforms: [FOREIGN],
    emulators: {},
    owner: "shop-dev-room",
    ...changed,
});
const name = (of = image, machine: string = MACHINE) =>
    `buildfleet-${of.split(":").at(-1)?.slice(0, 12)}-qemu-${machine}`;
const handlers = () => dockerd.shell(`cd ${HANDLERS}; echo *-*`).replace("*-*", "").split(" ").filter(Boolean);
/** Everything of ours that a host could have left: handlers, containers, images besides the installer's. */
const traces = async () => [
    ...handlers(),
    ...(await dockerd.containers()),
    ...dockerd
        .docker("images", "--format", "{{.Repository}}")
        .split("\n")
        .filter((one) => one.includes("probe")),
];
const debian = () => dockerd.shell(`cat /usr/lib/binfmt.d/qemu-${MACHINE}.conf >${HANDLERS}/register`);

describe("emulation through a host's Docker daemon", () => {
    beforeEach(async () => {
        dockerd.shell(`echo -1 >${HANDLERS}/status`);
        for (const container of await dockerd.containers()) await dockerd.remove(container);
    });

    it("registers the image's emulators so that containers can use them, mends what is gone, and takes every trace away", async () => {
        const both = inputs({ platforms: [FOREIGN, "linux/s390x"] });
        const { id, outs } = await operations.create(both);
        expect(id).toBe(`${dockerd.endpoint}/shop-dev-room`);
        expect(outs.handlers).toEqual({
            [FOREIGN]: { handler: name(), interpreter: `/usr/bin/qemu-${MACHINE}`, ours: true },
            "linux/s390x": { handler: name(image, "s390x"), interpreter: "/usr/bin/qemu-s390x", ours: true },
        });
        expect(handlers().sort()).toEqual([name(), name(image, "s390x")].sort());
        expect(dockerd.shell(`cat ${HANDLERS}/${name()}`)).toMatch(/^enabled\n.*^flags: OCF$/ms);
        expect(await operations.diff("", outs, both)).toMatchObject({ changes: false });
        const fewer = (await operations.update("", outs, inputs())).outs;
        expect(handlers()).toEqual([name()]);
        // Somebody switches it off, and forgets what a stopped container is for.
        dockerd.shell(`echo 0 >${HANDLERS}/${name()}`);
        expect(await operations.diff("", fewer, inputs())).toMatchObject({ changes: true, replaces: [] });
        dockerd.docker("container", "prune", "--force");
        const mended = (await operations.update("", fewer, inputs())).outs;
        expect(await operations.diff("", mended, inputs())).toMatchObject({ changes: false });
        dockerd.docker("container", "prune", "--force");
        expect(await operations.diff("", mended, inputs())).toMatchObject({ changes: true });
        // The host boots.
        dockerd.shell(`echo -1 >${HANDLERS}/${name()}`);
        await operations.delete("", mended);
        expect(await traces()).toEqual([]);
    });

    it("uses a handler that somebody else has put there and leaves it behind; one of its own comes when that one goes", async () => {
        debian();
        const { outs } = await operations.create(inputs());
        expect(outs.handlers[FOREIGN]).toMatchObject({ handler: `qemu-${MACHINE}`, ours: false });
        expect(await operations.diff("", outs, inputs())).toMatchObject({ changes: false });
        dockerd.shell(`echo -1 >${HANDLERS}/qemu-${MACHINE}`);
        expect(await operations.diff("", outs, inputs())).toMatchObject({ changes: true });
        const own = (await operations.update("", outs, inputs())).outs;
        expect(own.handlers[FOREIGN]).toMatchObject({ handler: name(), ours: true });
        debian();
        await operations.delete("", own);
        expect(await traces()).toEqual([`qemu-${MACHINE}`]);
    });

    it("stays until its last user is gone, whatever the daemon and the image are called, beside what containers can't use", async () => {
        // It finds its emulator in each container, or not: the installer's has one.
        const to = `:/usr/bin/qemu-${MACHINE}:`;
        const line = dockerd.shell(`sed 's|:[^:]*:[POCF]*$|${to}|' /usr/lib/binfmt.d/qemu-${MACHINE}.conf`);
        dockerd.shell(`printf %s '${line}' >${HANDLERS}/register`);
        const unusable = dockerd.shell(`cat ${HANDLERS}/qemu-${MACHINE}`);
        // What a run that was killed has left.
        const labels = [
            "--label",
            `buildfleet.emulation=${name()}`,
            "--label",
            "buildfleet.emulation.owner=shop-dev-room",
        ];
        dockerd.docker("create", "--name", `buildfleet-emulation.${name()}.shop-dev-room`, ...labels, image);
        const mine = (await operations.create(inputs())).outs;
        const theirs = (await operations.create(inputs({ owner: "other" }))).outs;
        await operations.delete("", mine);
        expect(handlers().sort()).toEqual([name(), `qemu-${MACHINE}`].sort());
        const [user] = await dockerd.containers();
        const before = await dockerd.container(`${user}`);
        symlinkSync(dockerd.socket, join(dockerd.folder, "renamed.sock"));
        const endpoint = `unix://${dockerd.folder}/renamed.sock`;
        const renamed = inputs({ owner: "other", docker: { endpoint, image } });
        expect(await operations.diff("", theirs, renamed)).toMatchObject({ changes: true, replaces: [] });
        const same = (await operations.update("", theirs, renamed)).outs;
        expect((await dockerd.container(`${user}`))?.Id).toBe(before?.Id);
        expect(await operations.diff("", same, renamed)).toMatchObject({ changes: false });
        // A daemon that is gone holds up nobody.
        const dead = { ...same, machine: "another", docker: { endpoint: "unix:///nowhere/docker.sock", image } };
        await operations.update("", dead, renamed);
        expect((await dockerd.container(`${user}`))?.Id).toBe(before?.Id);
        const newer = inputs({ owner: "other", docker: { endpoint, image: await push({ label: "newer" }) } });
        const moved = (await operations.update("", same, newer)).outs;
        expect(handlers().sort()).toEqual([name(newer.docker.image), `qemu-${MACHINE}`].sort());
        await operations.delete("", moved);
        await operations.delete("", moved);
        expect(await traces()).toEqual([`qemu-${MACHINE}`]);
        expect(dockerd.shell(`cat ${HANDLERS}/qemu-${MACHINE}`)).toBe(unusable);
    });

    it("refuses what can't be, says why, and leaves nothing behind", async () => {
        const native = process.arch === "arm64" ? "linux/arm64" : "linux/amd64";
        const missing = `${registry.registry}/none@sha256:${"0".repeat(64)}`;
        const broken = await push({ label: "broken", emulator: () => "/usr/bin/dash" });
        const cases: [object, RegExp][] = [
            [
                { docker: { endpoint: dockerd.endpoint, image: broken } },
                /does not run under buildfleet-.*next: see that .* static/s,
            ],
            [{ platforms: [FOREIGN, native] }, /needs no emulation on linux/],
            [
                { platforms: [FOREIGN, "linux/riscv64"] },
                /did not register .*-qemu-riscv64\n {2}\| installing: riscv64 unsupp/,
            ],
            [{ docker: { endpoint: dockerd.endpoint, image: missing } }, /next: push .* to the registry first/],
            [{ docker: { endpoint: "unix:///nowhere/docker.sock", image } }, /start Docker there/],
        ];
        for (const [changed, message] of cases) {
            await expect(operations.create(inputs(changed))).rejects.toThrow(message);
            expect(await traces()).toEqual([]);
        }
    });
});
