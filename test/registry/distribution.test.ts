import { randomBytes } from "node:crypto";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { digestTag, sha256 } from "../../core/digest";
import { mediaTypes } from "../../core/image-index";
import { RegistryClient } from "../../drivers/registry";
import { type FaultServer, startFaultServer } from "../support/fault-server";
import { type RunningRegistry, startRegistry } from "../support/registry";
import { failure, imageManifest, plainClient, pushImage } from "./support";

describe("against distribution over plain HTTP", () => {
    let running: RunningRegistry;
    let recorder: FaultServer;
    let client: RegistryClient;
    beforeAll(async () => {
        running = await startRegistry();
        recorder = await startFaultServer({ upstream: running.registry });
        client = plainClient(recorder.address);
    });
    afterAll(async () => {
        await client.close();
        await recorder.stop();
        await running.stop();
    });

    it("reads back byte for byte what it stored, by tag and by digest", async () => {
        const { digest, bytes, config } = await pushImage(client, "team/app", "1.0", "one");
        const expected = { mediaType: mediaTypes.ociManifest, digest, size: bytes.length };
        expect(await client.getManifest("team/app", "1.0")).toEqual({ ...expected, bytes });
        expect(await client.getManifest("team/app", digest)).toEqual({ ...expected, bytes });
        expect(await client.headManifest("team/app", "1.0")).toEqual(expected);
        expect(await client.headManifest("team/app", digest)).toEqual(expected);
        expect((await client.getBlob("team/app", config.digest)).toString()).toBe('{"text":"one"}');
        expect(await client.headBlob("team/app", config.digest)).toEqual({ digest: config.digest, size: config.size });
    });

    it("stores by digest without a tag, and the same bytes twice under the same digest", async () => {
        const first = await pushImage(client, "by-digest", undefined, "quiet");
        const second = await pushImage(client, "by-digest", undefined, "quiet");
        expect(second.digest).toBe(first.digest);
        expect(await client.tags("by-digest")).toEqual([]);
    });

    it("lists tags over many pages, whole and in order", async () => {
        const { bytes } = await pushImage(client, "tagged", "t0", "tagged");
        for (const n of [1, 2, 3, 4, 5, 6]) await client.putManifest("tagged", `t${n}`, mediaTypes.ociManifest, bytes);
        expect(await client.tags("tagged", { pageSize: 2 })).toEqual(["t0", "t1", "t2", "t3", "t4", "t5", "t6"]);
        expect(recorder.seen.filter(({ url }) => url.startsWith("/v2/tagged/tags/list"))).toHaveLength(4);
    });

    it("tells absent from failed", async () => {
        const absent = sha256("absent");
        expect(await client.tags("never/pushed")).toEqual([]);
        expect(await client.headManifest("never/pushed", "1.0")).toBeUndefined();
        expect(await client.headBlob("never/pushed", absent)).toBeUndefined();
        expect(await client.referrers("never/pushed", absent)).toEqual([]);
        expect(await failure(client.getManifest("never/pushed", "1.0"))).toMatchObject({
            code: "NOT_FOUND",
            status: 404,
            registryCode: "MANIFEST_UNKNOWN",
            url: `http://${recorder.address}/v2/never/pushed/manifests/1.0`,
        });
        expect(await failure(client.getBlob("never/pushed", absent))).toMatchObject({ code: "NOT_FOUND" });
    });

    it("refuses a manifest whose blob is missing", async () => {
        const bytes = imageManifest({ mediaType: "application/json", digest: sha256("nowhere"), size: 7 });
        const error = await failure(client.putManifest("holes", "1.0", mediaTypes.ociManifest, bytes));
        expect(error.message).toContain("MANIFEST_BLOB_UNKNOWN");
        expect(await client.headManifest("holes", "1.0")).toBeUndefined();
    });

    it("moves a blob of 9 MiB, and takes it over into another repository", async () => {
        const bytes = randomBytes(9 * 1024 * 1024);
        const { digest } = await client.putBlob("large/from", bytes);
        expect((await client.getBlob("large/from", digest)).equals(bytes)).toBe(true);
        expect(await client.mountBlob("large/to", digest, "large/from")).toBe(true);
        expect(await client.headBlob("large/to", digest)).toEqual({ digest, size: bytes.length });
        expect(await client.mountBlob("large/to", sha256("absent"), "large/from")).toBe(false);
        expect(await failure(client.getBlob("large/to", digest, { maxBytes: 1000 }))).toMatchObject({
            code: "TOO_LARGE",
        });
    });

    it("uploads a blob once", async () => {
        const bytes = Buffer.from("only once");
        await client.putBlob("once", bytes);
        const uploads = () => recorder.seen.filter(({ url }) => url.startsWith("/v2/once/blobs/uploads"));
        expect(uploads().map(({ method }) => method)).toEqual(["POST", "PUT"]);
        await client.putBlob("once", bytes);
        expect(uploads()).toHaveLength(2);
    });

    it("finds referrers under the fallback tag, by type", async () => {
        const { digest } = await pushImage(client, "signed", "1.0", "signed");
        expect(await client.referrers("signed", digest)).toEqual([]);
        const signature = await pushImage(client, "signed", undefined, "signature");
        const entry = {
            mediaType: mediaTypes.ociManifest,
            digest: signature.digest,
            size: signature.bytes.length,
            artifactType: "application/vnd.example.signature",
        };
        const index = Buffer.from(
            JSON.stringify({ schemaVersion: 2, mediaType: mediaTypes.ociIndex, manifests: [entry] }),
        );
        await client.putManifest("signed", digestTag(digest), mediaTypes.ociIndex, index);
        expect(await client.referrers("signed", digest)).toEqual([entry]);
        expect(await client.referrers("signed", digest, { artifactType: entry.artifactType })).toEqual([entry]);
        expect(await client.referrers("signed", digest, { artifactType: "application/other" })).toEqual([]);
    });

    it("does not take an image under the fallback tag for an empty listing", async () => {
        const { digest, bytes } = await pushImage(client, "squatted", "1.0", "squatted");
        await client.putManifest("squatted", digestTag(digest), mediaTypes.ociManifest, bytes);
        expect(await failure(client.referrers("squatted", digest))).toMatchObject({ code: "BAD_CONTENT" });
    });

    it("deletes by digest, and says when nothing was there", async () => {
        const { digest } = await pushImage(client, "gone", "1.0", "gone");
        expect(await client.deleteManifest("gone", digest)).toBe(true);
        expect(await client.headManifest("gone", digest)).toBeUndefined();
        expect(await client.deleteManifest("gone", digest)).toBe(false);
    });

    it("says where deletion is allowed when the registry forbids it", async () => {
        const frozen = await startRegistry({ deletable: false });
        try {
            const other = plainClient(frozen.registry);
            const { digest } = await pushImage(other, "kept", "1.0", "kept");
            const error = await failure(other.deleteManifest("kept", digest));
            expect(error).toMatchObject({ status: 405, registryCode: "UNSUPPORTED" });
            expect(error.next).toContain("storage.delete.enabled");
        } finally {
            await frozen.stop();
        }
    });

    it("sends nothing for names, references and digests that are none", async () => {
        const before = recorder.seen.length;
        const bytes = Buffer.from("{}");
        for (const attempt of [
            () => client.getManifest("../../etc", "1.0"),
            () => client.getManifest("Upper/Case", "1.0"),
            () => client.getManifest("app", "no/slash"),
            () => client.getManifest("app", "sha256:short"),
            () => client.getBlob("app", "latest"),
            () => client.mountBlob("app", sha256("x"), "../other"),
            () => client.putManifest("app", "1.0", "not a type", bytes),
            () => client.putManifest("app", "1.0", mediaTypes.ociIndex, Buffer.alloc(4 * 1024 * 1024 + 1)),
        ]) {
            expect(await failure((async () => attempt())())).toMatchObject({ code: "BAD_REQUEST" });
        }
        const wrong = failure(client.putManifest("app", sha256("other"), mediaTypes.ociIndex, bytes));
        expect((await wrong).message).toMatch(new RegExp(`${sha256("other")}.*${sha256(bytes)}`));
        expect(recorder.seen.length).toBe(before);
        for (const registry of ["https://example.com", "example.com/path", "user@example.com", ""]) {
            expect(() => new RegistryClient({ registry })).toThrow("is not a registry's host and port");
        }
    });
});
