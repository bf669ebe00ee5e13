// An OCI image layout (image-spec 1.1) with multi-platform images of one layer each, from tar files.

import { createHash } from "node:crypto";
import { createReadStream, createWriteStream, mkdirSync, renameSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { Transform } from "node:stream";
import { pipeline } from "node:stream/promises";
import { createGzip } from "node:zlib";
import { EPOCH } from "./recipe.mjs";

const MEDIA = "application/vnd.oci.image";

/** @typedef {{mediaType: string, digest: string, size: number, [field: string]: unknown}} Descriptor */

/** Writes one layout folder; the layout is complete once `finish` has returned. */
export class OciLayout {
    /** @type {Descriptor[]} */
    #images = [];

    /** @param {string} folder made if need be */
    constructor(folder) {
        this.folder = folder;
        mkdirSync(join(folder, "blobs/sha256"), { recursive: true });
    }

    /**
     * @param {string} tar path of the root file system
     * @param {string} architecture
     * @param {string} createdBy what `docker history` shows
     * @returns {Promise<Descriptor>} the manifest's, with its platform
     */
    async addPlatform(tar, architecture, createdBy) {
        const platform = { os: "linux", architecture, ...(architecture === "arm64" && { variant: "v8" }) };
        const { layer, diffId } = await this.#addLayer(tar);
        const created = new Date(EPOCH * 1000).toISOString();
        const config = this.#addJson(`${MEDIA}.config.v1+json`, {
            created,
            ...platform,
            config: {
                Env: ["PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"],
                Cmd: ["/bin/sh"],
                WorkingDir: "/",
            },
            rootfs: { type: "layers", diff_ids: [diffId] },
            history: [{ created, created_by: createdBy }],
        });
        const mediaType = `${MEDIA}.manifest.v1+json`;
        return { ...this.#addJson(mediaType, { schemaVersion: 2, mediaType, config, layers: [layer] }), platform };
    }

    /**
     * @param {string} name unique in the layout
     * @param {Descriptor[]} manifests
     * @returns {string} the image's digest
     */
    addImage(name, manifests) {
        const mediaType = `${MEDIA}.index.v1+json`;
        const index = this.#addJson(mediaType, { schemaVersion: 2, mediaType, manifests });
        this.#images.push({ ...index, annotations: { "org.opencontainers.image.ref.name": name } });
        return index.digest;
    }

    finish() {
        writeFileSync(join(this.folder, "oci-layout"), JSON.stringify({ imageLayoutVersion: "1.0.0" }));
        writeFileSync(join(this.folder, "index.json"), JSON.stringify({ schemaVersion: 2, manifests: this.#images }));
    }

    /** @param {string} tar */
    async #addLayer(tar) {
        const temporary = join(
            this.folder,
            `layer.${this.#images.length}.${createHash("sha256").update(tar).digest("hex")}`,
        );
        const plain = new Measure();
        const packed = new Measure();
        await pipeline(createReadStream(tar), plain, createGzip(), packed, createWriteStream(temporary));
        renameSync(temporary, this.#blobPath(packed.digest));
        const layer = { mediaType: `${MEDIA}.layer.v1.tar+gzip`, digest: packed.digest, size: packed.size };
        return { layer, diffId: plain.digest };
    }

    /**
     * @param {string} mediaType
     * @param {unknown} value
     * @returns {Descriptor}
     */
    #addJson(mediaType, value) {
        const bytes = Buffer.from(JSON.stringify(value));
        const digest = `sha256:${createHash("sha256").update(bytes).digest("hex")}`;
        writeFileSync(this.#blobPath(digest), bytes);
        return { mediaType, digest, size: bytes.length };
    }

    /** @param {string} digest */
    #blobPath(digest) {
        return join(this.folder, "blobs", digest.replace(":", "/"));
    }
}

/** Passes bytes through and knows their number and digest at the end. */
class Measure extends Transform {
    #hash = createHash("sha256");
    size = 0;
    digest = "";

    /** @override @type {Transform["_transform"]} */
    _transform(chunk, _encoding, done) {
        this.#hash.update(chunk);
        this.size += chunk.length;
        done(null, chunk);
    }

    /** @override @type {Transform["_flush"]} */
    _flush(done) {
        this.digest = `sha256:${this.#hash.digest("hex")}`;
        done();
    }
}
