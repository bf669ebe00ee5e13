import { existsSync, readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { isAlive, readPidFile } from "../../drivers/daemon";
import { writeAdvisories, writeAppContext } from "../support/app";
import { freePort } from "../support/port";
import { MAIN_PROGRAM, type Run, TestStack } from "../support/stack";
import { buildCounts, type FleetNode, RepositoryView, storeEntry } from "../support/views";

const ARCHITECTURES = ["amd64", "arm64"] as const;
type Architecture = (typeof ARCHITECTURES)[number];

describe("a runner that lost what it kept", () => {
    const stack = new TestStack(MAIN_PROGRAM);
    let settings: object;
    let first: Run;
    let released: object;
    let repository: RepositoryView;
    /** Names in the buildx store. */
    let builders: Record<Architecture, string>;

    /** All that a release left in the registry and in the nodes' histories. */
    const state = async () => ({
        builds: await buildCounts(stack, nodes()),
        attached: await repository.allAttached(first.outputs.signature.digests),
        stable: await repository.manifestText("stable"),
    });
    const nodes = (): FleetNode[] => first.outputs.nodes;
    const nodeOf = (architecture: Architecture) => nodes().find(({ name }) => name === architecture);
    const certificates = (architecture: Architecture) => stack.path("buildx/buildfleet", builders[architecture]);

    /** Every builder's entry points at its own platform's node, with its own certificate, and the node lets it in. */
    async function expectRegistered() {
        for (const architecture of ARCHITECTURES) {
            const [node] = JSON.parse(storeEntry(stack, builders[architecture]).text).Nodes;
            const folder = certificates(architecture);
            expect(node.Endpoint).toBe(nodeOf(architecture)?.endpoint);
            expect(node.DriverOpts).toEqual({
                cacert: join(folder, "ca.pem"),
                cert: join(folder, "cert.pem"),
                key: join(folder, "key.pem"),
                servername: nodeOf(architecture)?.serverName,
            });
        }
        expect((await state()).builds).toEqual(expect.objectContaining({ amd64: expect.any(Number) }));
    }

    beforeAll(async () => {
        settings = { registry: { port: await freePort() } };
        writeAppContext(stack.path("app"));
        writeAdvisories(stack.path("advisories"), [
            { id: "BF-2026-0001", severity: "high", package: "openssl", affected: "< 3.0.2", fixed: "3.0.2" },
        ]);
        first = await stack.up(settings);
        repository = new RepositoryView(first.outputs.ref.split("@")[0]);
        released = await state();
        const named = (ending: Architecture) =>
            readdirSync(stack.path("buildx/instances")).find((name) => name.includes(`linux-${ending}`)) ?? "";
        builders = { amd64: named("amd64"), arm64: named("arm64") };
        await expectRegistered();
    }, 300_000);
    afterAll(() => stack.dispose());

    const lost: [string, () => void, readonly Architecture[]][] = [
        [
            "its buildx store and its certificates",
            () => rmSync(stack.path("buildx"), { recursive: true }),
            ARCHITECTURES,
        ],
        ["one private key", () => rmSync(join(certificates("amd64"), "key.pem")), ["amd64"]],
        ["half of an entry", () => cutShort(storeEntry(stack, builders.amd64)), ["amd64"]],
        ["an entry to another node", () => pointElsewhere(storeEntry(stack, builders.arm64)), ["arm64"]],
    ];

    it.each(lost)(
        "mends the registrations after it lost %s, and builds nothing",
        async (_, lose, broken) => {
            lose();
            const expected = broken.map((architecture) => `update app-builder-linux-${architecture}`);
            const preview = await stack.run("preview", settings);
            expect([...preview.did].sort()).toEqual(expected);
            const mended = await stack.up(settings);
            expect([...mended.did].sort()).toEqual(expected);
            expect(mended.outputs).toEqual(first.outputs);
            await expectRegistered();
            expect(await state()).toEqual(released);
        },
        300_000,
    );

    function cutShort({ path, text }: { path: string; text: string }) {
        writeFileSync(path, text.slice(0, text.length / 2));
    }
    function pointElsewhere({ path, text }: { path: string; text: string }) {
        const entry = JSON.parse(text);
        entry.Nodes[0].Endpoint = nodeOf("amd64")?.endpoint;
        writeFileSync(path, JSON.stringify(entry));
    }

    it("has nothing left to mend then", async () => {
        expect((await stack.run("preview", settings)).did).toEqual([]);
        expect((await stack.up(settings)).did).toEqual([]);
    }, 300_000);

    it.each([
        ["a node", ".buildfleet/fleet/builders/arm64", "builders-arm64"],
        ["the registry", ".buildfleet/registry-registry", "registry"],
    ])(
        "starts %s again after it was killed, and nothing else",
        async (_, folder, resource) => {
            const daemon = readPidFile(stack.path(folder, "process.pid"));
            if (!daemon) throw new Error(`nothing runs in ${folder}`);
            process.kill(daemon.pid, "SIGKILL");
            await expect.poll(() => isAlive(daemon), { timeout: 20_000 }).toBe(false);
            const preview = await stack.run("preview", settings);
            expect(preview.errors).toEqual([]);
            expect(preview.did).toContain(`update ${resource}`);
            expect(preview.did.filter((step) => step.includes("app-image"))).toEqual([]);
            const mended = await stack.up(settings);
            expect(mended.did).toEqual([`update ${resource}`]);
            expect(mended.outputs).toEqual(first.outputs);
            expect(readPidFile(stack.path(folder, "process.pid"))?.pid).not.toBe(daemon.pid);
            await expectRegistered();
            expect(await state()).toEqual(released);
            expect((await stack.up(settings)).did).toEqual([]);
        },
        300_000,
    );

    it("is left without process, store entry and certificate by destroy, and keeps the images' bytes", async () => {
        const folders = ["amd64", "arm64"].map((node) => `.buildfleet/fleet/builders/${node}`);
        const daemons = [...folders, ".buildfleet/registry-registry"].map((folder) =>
            readPidFile(stack.path(folder, "process.pid")),
        );
        expect((await stack.run("destroy", settings)).exitCode).toBe(0);
        expect(daemons.map((daemon) => daemon && isAlive(daemon))).toEqual([false, false, false]);
        expect(readdirSync(stack.path("buildx/instances"))).toEqual([]);
        expect(ARCHITECTURES.map((architecture) => existsSync(certificates(architecture)))).toEqual([false, false]);
        expect(readdirSync(stack.path(".buildfleet/registry"))).not.toEqual([]);
        expect(readFileSync(stack.path("Pulumi.yaml"), "utf8")).toContain("e2e");
    }, 300_000);
});
