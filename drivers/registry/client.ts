import type { Digest } from "../../core/digest";
import type { Blob } from "../blob-check";
import { type StreamOptions, streamBlob } from "./blob-stream";
import { BlobUpload } from "./blob-upload";
import { type BlobOptions, getBlob, headBlob, mountBlob, putBlob } from "./blobs";
import { type Descriptor, parseJson, tagList } from "./content";
import { RegistryError } from "./errors";
import type { CallOptions, Manifest, ManifestHead } from "./manifests";
import * as manifests from "./manifests";
import { readPages } from "./pages";
import { checkPush } from "./permission";
import { type ReferrersOptions, referrers } from "./referrers";
import { type RegistryClientOptions, RegistrySession } from "./session";

/**
 * A client of one OCI registry (distribution specification 1.1). Whatever it returns was verified: bodies against their
 * digests, listings to their last page. Every method retries by itself and is safe to repeat.
 *
 * Every method throws {@link RegistryError}, or the reason of the signal it was given.
 */
export class RegistryClient {
    readonly #session: RegistrySession;

    /** @throws RegistryError `BAD_REQUEST` for a registry that is no `host[:port]`, and half a client certificate. */
    constructor(options: RegistryClientOptions) {
        this.#session = new RegistrySession(options);
    }

    /** As references name it. */
    get registry(): string {
        return this.#session.registry;
    }

    /** A manifest or index by tag or digest, at most 4 MiB. `NOT_FOUND` when there is none. */
    getManifest(repository: string, ref: string, options: CallOptions = {}): Promise<Manifest> {
        return manifests.getManifest(this.#session, repository, ref, options);
    }

    /**
     * What a tag or digest points at, undefined when nothing is there. The digest of a tag is the registry's word:
     * nothing was sent that could be verified.
     */
    headManifest(repository: string, ref: string, options: CallOptions = {}): Promise<ManifestHead | undefined> {
        return manifests.headManifest(this.#session, repository, ref, options);
    }

    /** Stores a manifest under a tag, or under its own digest and no tag at all. */
    putManifest(
        repository: string,
        ref: string,
        mediaType: string,
        bytes: Buffer,
        options: CallOptions = {},
    ): Promise<{ digest: Digest }> {
        return manifests.putManifest(this.#session, repository, ref, mediaType, bytes, options);
    }

    /**
     * Deletes a manifest by digest (with every tag of it) or, where the registry can, only a tag.
     *
     * @returns false when it was not there.
     */
    deleteManifest(repository: string, ref: string, options: CallOptions = {}): Promise<boolean> {
        return manifests.deleteManifest(this.#session, repository, ref, options);
    }

    /** A blob, read into memory. `NOT_FOUND` when there is none. */
    getBlob(repository: string, digest: string, options: BlobOptions = {}): Promise<Buffer> {
        return getBlob(this.#session, repository, digest, options);
    }

    /**
     * A blob of any size, piece by piece; `take` is waited for. Its size is checked, its digest is for the caller to check.
     * `NOT_FOUND` when there is none.
     */
    streamBlob(
        repository: string,
        blob: Blob,
        take: (piece: Buffer) => void | Promise<void>,
        options: StreamOptions = {},
    ): Promise<void> {
        return streamBlob(this.#session, repository, blob, take, options);
    }

    /** An upload of a blob of any size, in pieces; nothing is sent before the first. */
    uploadBlob(repository: string, blob: Blob, options: CallOptions = {}): BlobUpload {
        return new BlobUpload(this.#session, repository, blob, options);
    }

    /** Undefined when the repository has no such blob. */
    headBlob(
        repository: string,
        digest: string,
        options: CallOptions = {},
    ): Promise<{ digest: Digest; size: number | undefined } | undefined> {
        return headBlob(this.#session, repository, digest, options);
    }

    /** Uploads a blob unless it is there; `mediaType` only stands in the descriptor that is returned. */
    putBlob(
        repository: string,
        bytes: Buffer,
        mediaType = "application/octet-stream",
        options: CallOptions = {},
    ): Promise<Descriptor> {
        return putBlob(this.#session, repository, bytes, mediaType, options);
    }

    /**
     * Takes a blob over from another repository of the same registry, without sending it.
     *
     * @returns false when the registry would not; upload it then.
     */
    mountBlob(repository: string, digest: string, from: string, options: CallOptions = {}): Promise<boolean> {
        return mountBlob(this.#session, repository, digest, from, options);
    }

    /** Every tag, in the registry's order; none for a repository that does not exist yet. */
    async tags(repository: string, options: CallOptions & { pageSize?: number } = {}): Promise<string[]> {
        const query = options.pageSize === undefined ? "" : `?n=${options.pageSize}`;
        const tags: string[] = [];
        try {
            const request = {
                method: "GET" as const,
                target: `${manifests.repositoryPath(repository)}/tags/list${query}`,
                limit: manifests.MANIFEST_LIMIT,
                expect: [200],
                scopes: manifests.pull(repository),
                signal: options.signal,
            };
            await readPages(this.#session, request, (reply) => {
                tags.push(...(parseJson(reply, "GET", tagList, "a list of tags").tags ?? []));
            });
        } catch (error) {
            const absent = error instanceof RegistryError && error.saysAbsent && tags.length === 0;
            if (!absent) throw error;
        }
        return tags;
    }

    /** What refers to a digest (signatures, attestations), by the referrers API or the tag `sha256-<hex>`. */
    referrers(repository: string, digest: string, options: ReferrersOptions = {}): Promise<Descriptor[]> {
        return referrers(this.#session, repository, digest, options);
    }

    /** Whether a push to the repository would be taken: an upload is opened and cancelled. Throws where it would not. */
    checkPush(repository: string, options: CallOptions = {}): Promise<void> {
        return checkPush(this.#session, repository, options);
    }

    /** Where the registry's token service is; undefined where it has none. Asked without credentials. */
    async tokenService(options: CallOptions = {}): Promise<URL | undefined> {
        const challenges = await this.#session.challenges(options.signal);
        const realm = challenges.find(({ scheme }) => scheme === "bearer")?.parameters.realm;
        return realm !== undefined && URL.canParse(realm) ? new URL(realm) : undefined;
    }

    /** Drops the connections kept open; idle ones do not keep the process alive either. */
    close(): Promise<void> {
        return this.#session.close();
    }
}
