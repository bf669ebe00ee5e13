import { readFileSync } from "node:fs";
import { createServer, type Server } from "node:http";
import type { AddressInfo } from "node:net";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { sha256 } from "../../core/digest";
import { mediaTypes } from "../../core/image-index";
import { findTool } from "../../drivers/tools";
import { type Inputs, operations } from "../../resources/registry-service/operations";
import { imageManifest, plainClient, pushImage } from "../registry/support";
import { BareHost } from "../support/bare-host";
import { freePort } from "../support/port";

const PROGRAM = readFileSync(findTool("registry"));
const UNIT = "buildfleet-registry-room";
const STORAGE = "/var/lib/buildfleet-registry/room";
const PROGRAM_LINK = "/etc/buildfleet-registry/room/current/registry";

const host = new BareHost();
let mirror: Server;
let inputs: Inputs;
let state: Awaited<ReturnType<typeof operations.create>>["outs"];

beforeAll(async () => {
    mirror = createServer((_request, response) => void response.end(PROGRAM)).listen(0, "127.0.0.1");
    await host.open(await freePort());
    inputs = {
        ssh: host.ssh,
        name: "room",
        owner: "tests/garbage/room",
        port: await freePort(),
        artifact: {
            url: `http://127.0.0.1:${(mirror.address() as AddressInfo).port}/registry`,
            sha256: sha256(PROGRAM).slice(7),
        },
        storage: STORAGE,
        users: {},
        removeData: false,
        // The tests say themselves how long nobody has pushed.
        garbageCollection: { schedule: "Sun 03:17", quietSeconds: 3600 },
    };
    state = (await operations.create(inputs)).outs;
});
afterAll(async () => {
    await host.close();
    mirror.close();
});

const client = () => plainClient(`127.0.0.1:${inputs.port}`);
const base = () => `http://127.0.0.1:${inputs.port}`;
/** Two hours pass: all that is stored was stored then. */
const later = () => host.shell(`find ${STORAGE} -exec touch -d '-2 hours' {} +`);
/** Until the unit's process and what comes after it have ended. */
const ENDED = `while :; do case $(systemctl show -P SubState ${UNIT}-gc) in dead|failed|auto-restart) break;; esac; sleep 0.1; done`;
/** Runs the unit to the end of its process: its exit code. */
const collect = () => host.shell(`systemctl restart ${UNIT}-gc; ${ENDED}; systemctl show -P ExecMainStatus ${UNIT}-gc`);
const startUpload = async () => (await fetch(`${base()}/v2/new/blobs/uploads/`, { method: "POST" })).status;

describe("garbage collection", () => {
    it("takes what was deleted, and nothing that a manifest refers to, tagged or staged, index, child or signature", async () => {
        const registry = client();
        const released = await pushImage(registry, "app", "1.0.0", "released");
        const staged = await pushImage(registry, "app", undefined, "staged");
        const child = await pushImage(registry, "app", undefined, "child");
        const descriptor = { mediaType: mediaTypes.ociManifest, digest: child.digest, size: child.bytes.length };
        const index = Buffer.from(
            JSON.stringify({ schemaVersion: 2, mediaType: mediaTypes.ociIndex, manifests: [descriptor] }),
        );
        const { digest: indexDigest } = await registry.putManifest("app", sha256(index), mediaTypes.ociIndex, index);
        const layer = await registry.putBlob("app", Buffer.from("a signature"));
        const signature = imageManifest(released.config, { layers: [layer], subject: descriptor });
        await registry.putManifest("app", sha256(signature), mediaTypes.ociManifest, signature);
        const deleted = await pushImage(registry, "app", "old", "deleted");
        const orphan = await registry.putBlob("app", Buffer.from("a layer that nothing refers to"));
        await registry.deleteManifest("app", deleted.digest);
        await later();

        expect(await collect()).toBe("0");

        expect(await startUpload()).toBe(202);
        for (const digest of [deleted.config.digest, orphan.digest])
            expect(await registry.headBlob("app", digest)).toBeUndefined();
        for (const [ref, bytes] of [
            ["1.0.0", released.bytes],
            [staged.digest, staged.bytes],
            [child.digest, child.bytes],
            [indexDigest, index],
            [sha256(signature), signature],
        ] as const)
            expect((await registry.getManifest("app", ref)).bytes).toEqual(bytes);
        for (const { digest } of [released.config, staged.config, child.config, layer])
            expect(sha256(await registry.getBlob("app", digest))).toBe(digest);
        // Pushed again, it is there again: nothing remembers that it was.
        await registry.putBlob("app", Buffer.from("a layer that nothing refers to"));
        expect(await registry.headBlob("app", orphan.digest)).toMatchObject({ digest: orphan.digest });
    });

    it("waits while somebody pushes: a layer whose manifest is to come, and an upload that is under way", async () => {
        const layer = await client().putBlob("app", Buffer.from("its manifest comes in a minute"));
        expect(await collect()).toBe("75");
        // Again by itself.
        expect(await host.shell(`systemctl show -P SubState ${UNIT}-gc`)).toBe("auto-restart");
        expect(await startUpload()).toBe(202);
        await later();
        expect(await startUpload()).toBe(202);
        expect(await collect()).toBe("75");
        expect(await client().headBlob("app", layer.digest)).toMatchObject({ digest: layer.digest });
        const bytes = imageManifest(layer);
        await client().putManifest("app", sha256(bytes), mediaTypes.ociManifest, bytes);
        await later();
        expect(await collect()).toBe("0");
        expect((await client().getManifest("app", sha256(bytes))).bytes).toEqual(bytes);
    });

    it("lets everybody pull and nobody push meanwhile, and pushes again after, also when it is killed", async () => {
        const { digest } = await pushImage(client(), "app", "2.0.0", "pulled meanwhile");
        await later();
        // The real program, once the test has looked.
        await host.shell(`
            mkfifo /run/go /run/began
            program=$(readlink ${PROGRAM_LINK})
            printf '#!/bin/sh\\n[ "$1" = serve ] || { echo >/run/began; read -r line </run/go; }\\nexec %s "$@"\\n' "$program" >/run/slow
            chmod 0755 /run/slow; chmod 0666 /run/go /run/began
            ln -sfn /run/slow ${PROGRAM_LINK}; echo "$program" >/run/program`);
        for (const end of ["echo >/run/go", `systemctl kill --kill-who=all --signal=KILL ${UNIT}-gc`]) {
            await host.shell(`systemctl restart ${UNIT}-gc; cat /run/began`);
            expect(await startUpload()).toBe(405);
            expect(await client().headManifest("app", "2.0.0")).toMatchObject({ digest });
            await host.shell(`${end}; ${ENDED}`);
            expect(await startUpload()).toBe(202);
            await later();
        }
        await host.shell(`ln -sfn "$(cat /run/program)" ${PROGRAM_LINK}`);
        expect(await client().headManifest("app", "2.0.0")).toMatchObject({ digest });
        expect((await operations.diff("", state, inputs)).changes).toBe(false);
    });

    it("keeps the images when the registry goes, and takes them over when it comes back; deletes them when asked", async () => {
        await operations.delete("", state);
        expect(await host.shell("ls -d /etc/buildfleet* /opt/buildfleet*")).toBe("");
        state = (await operations.create(inputs)).outs;
        expect(await client().headManifest("app", "1.0.0")).toBeDefined();
        state = (await operations.update("", state, { ...inputs, removeData: true })).outs;
        await operations.delete("", state);
        expect(await host.shell(`ls -d ${STORAGE} /var/lib/buildfleet*; id buildfleet-registry`)).toBe("");
    });
});
