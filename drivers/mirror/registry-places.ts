import { type Digest, digestTag } from "../../core/digest";
import { mediaTypes } from "../../core/image-index";
import type { Reference } from "../../core/reference";
import { type Blob, BlobCheck } from "../blob-check";
import { withLocks } from "../lock";
import { type RegistryClient, RegistryError } from "../registry";
import type { ManifestBytes } from "./manifest";
import type { Attached, Source, SourceRepository, Target, TargetImage } from "./places";

/** Where cosign before version 3 keeps signatures, attestations and bills of materials: tags made of the digest. */
const COSIGN_TAGS = [".sig", ".att", ".sbom"];

/** Registries as the source of images; each is reached by a client of its own. */
export class RegistrySource implements Source {
    /** Tags that are made of digests, by repository. */
    readonly #digestTags = new Map<string, Promise<ReadonlySet<string> | undefined>>();

    constructor(readonly clients: ReadonlyMap<string, RegistryClient>) {}

    where({ registry, repository }: SourceRepository): string {
        return `${registry}/${repository}`;
    }

    resolve({ registry, repository, tag, digest }: Reference): Promise<ManifestBytes> {
        return this.#client(registry).getManifest(repository, digest ?? tag ?? "latest");
    }

    async lookUp({ registry, repository, tag, digest }: Reference, signal: AbortSignal): Promise<Digest | undefined> {
        const head = await this.#client(registry).headManifest(repository, digest ?? tag ?? "latest", { signal });
        return head?.digest;
    }

    manifest({ registry, repository }: SourceRepository, digest: Digest): Promise<ManifestBytes> {
        return this.#client(registry).getManifest(repository, digest);
    }

    async attached({ registry, repository }: SourceRepository, digest: Digest): Promise<Attached[]> {
        const client = this.#client(registry);
        const known = await this.#tagsOf(registry, repository);
        const exists = async (tag: string) =>
            known ? known.has(tag) : (await client.headManifest(repository, tag)) !== undefined;
        const [referrers, tagged] = await Promise.all([
            client.referrers(repository, digest, { fallback: known?.has(digestTag(digest)) ?? true }),
            Promise.all(
                COSIGN_TAGS.map(async (ending) => {
                    const tag = `${digestTag(digest)}${ending}`;
                    return (await exists(tag)) ? [tag] : [];
                }),
            ),
        ]);
        const read = [
            ...referrers.map(async (descriptor) => ({
                ...(await client.getManifest(repository, descriptor.digest)),
                descriptor: { ...descriptor },
            })),
            ...tagged.flat().map(async (tag) => ({ ...(await client.getManifest(repository, tag)), tag })),
        ];
        return Promise.all(read);
    }

    async has({ registry, repository }: SourceRepository, blob: Blob & { elsewhere: boolean }): Promise<boolean> {
        return !blob.elsewhere || (await this.#client(registry).headBlob(repository, blob.digest)) !== undefined;
    }

    bytes({ registry, repository }: SourceRepository, { digest }: Blob): Promise<Buffer> {
        return this.#client(registry).getBlob(repository, digest);
    }

    stream(
        { registry, repository }: SourceRepository,
        blob: Blob,
        offset: number,
        take: (piece: Buffer) => Promise<void>,
        signal: AbortSignal,
    ): Promise<void> {
        return this.#client(registry).streamBlob(repository, blob, take, { offset, signal });
    }

    /** One list for all that a repository's images are asked about; undefined where the registry does not list, and each is asked for. */
    #tagsOf(registry: string, repository: string): Promise<ReadonlySet<string> | undefined> {
        const key = `${registry}/${repository}`;
        const known =
            this.#digestTags.get(key) ??
            this.#client(registry)
                .tags(repository)
                .then(
                    (tags) => new Set(tags.filter((tag) => tag.startsWith("sha256-"))),
                    (error: unknown) => {
                        if (error instanceof RegistryError) return undefined;
                        throw error;
                    },
                );
        this.#digestTags.set(key, known);
        return known;
    }

    #client(registry: string): RegistryClient {
        const client = this.clients.get(registry);
        if (!client) throw new Error(`no connection to ${registry}`);
        return client;
    }
}

/** A registry as the target. */
export class RegistryTarget implements Target {
    constructor(readonly client: RegistryClient) {}

    get where(): string {
        return this.client.registry;
    }

    get registry(): string {
        return this.client.registry;
    }

    async has(path: string, { digest, size }: Blob, signal: AbortSignal): Promise<boolean> {
        const there = await this.client.headBlob(path, digest, { signal });
        return there !== undefined && (there.size === undefined || there.size === size);
    }

    mount(path: string, { digest }: Blob, from: string, signal: AbortSignal): Promise<boolean> {
        return this.client.mountBlob(path, digest, from, { signal });
    }

    async open(path: string, blob: Blob, signal: AbortSignal) {
        const upload = this.client.uploadBlob(path, blob, { signal });
        const check = new BlobCheck(blob);
        return {
            check,
            write: (piece: Buffer) => {
                check.update(piece);
                return upload.write(piece);
            },
            finish: () => upload.finish(),
            abort: () => upload.abort(),
        };
    }

    async put(
        path: string,
        { digest, mediaType, bytes }: ManifestBytes,
        isNew: boolean,
        signal: AbortSignal,
    ): Promise<void> {
        if (!isNew && (await this.client.headManifest(path, digest, { signal }))?.digest === digest) return;
        await this.client.putManifest(path, digest, mediaType, bytes, { signal });
    }

    async attach({ path }: TargetImage, subject: Digest, attached: Attached[], signal: AbortSignal): Promise<void> {
        for (const { tag, mediaType, bytes, digest } of attached)
            if (tag !== undefined && (await this.client.headManifest(path, tag, { signal }))?.digest !== digest)
                await this.client.putManifest(path, tag, mediaType, bytes, { signal });
        const referrers = attached.filter(({ descriptor }) => descriptor !== undefined);
        if (referrers.length === 0 || (await this.#unlisted(path, subject, referrers)).length === 0) return;
        // A registry without the referrers API: whoever attaches extends the list that stands under a tag. Every writer
        // reads, extends and writes it back, so writers on this machine take turns (attachments.ts).
        await withLocks([`${this.client.registry}/${path}@${subject}`], async () => {
            const missing = await this.#unlisted(path, subject, referrers);
            const listed = await this.client.referrers(path, subject, { signal });
            const manifests = [...listed, ...missing.map(({ descriptor }) => descriptor)];
            const list = { schemaVersion: 2, mediaType: mediaTypes.ociIndex, manifests };
            const bytes = Buffer.from(JSON.stringify(list), "utf8");
            await this.client.putManifest(path, digestTag(subject), mediaTypes.ociIndex, bytes, { signal });
        });
        const lost = await this.#unlisted(path, subject, referrers);
        if (lost.length > 0)
            throw new Error(
                `${this.client.registry}/${path}@${subject}: the registry does not list ${lost.map((one) => one.digest).join(", ")}, which it took\n` +
                    "next: run again; somebody else may have attached something at the same time",
            );
    }

    async name({ path, tag }: TargetImage, root: ManifestBytes, isNew: boolean, signal: AbortSignal): Promise<void> {
        if (tag === undefined) return;
        if (!isNew && (await this.client.headManifest(path, tag, { signal }))?.digest === root.digest) return;
        await this.client.putManifest(path, tag, root.mediaType, root.bytes, { signal });
    }

    async finish(): Promise<undefined> {
        return undefined;
    }

    async #unlisted(path: string, subject: Digest, attached: Attached[]): Promise<Attached[]> {
        const listed = new Set<string>((await this.client.referrers(path, subject)).map(({ digest }) => digest));
        return attached.filter(({ digest }) => !listed.has(digest));
    }
}
