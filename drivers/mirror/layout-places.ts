import { type Digest, digestTag, isDigest, sha256 } from "../../core/digest";
import { mediaTypes } from "../../core/image-index";
import { formatReference, type Reference } from "../../core/reference";
import type { Blob } from "../blob-check";
import { type BlobSink, LayoutError, type LayoutReader, type LayoutWriter } from "../oci-layout";
import { contentsOf, type Entry, type ManifestBytes } from "./manifest";
import type { Attached, Source, SourceRepository, Target, TargetImage } from "./places";

/** A layout's name for an image (OCI image specification 1.1, annotations.md); skopeo and others find it by this. */
const NAME = "org.opencontainers.image.ref.name";
/** The same for containerd and Docker. */
const CONTAINERD_NAME = "io.containerd.image.name";
/** The digest at the source, where another one was asked for than is in the layout. */
const SOURCE_DIGEST = "buildfleet.source.digest";

/** `docker.io/library/debian:12`; by the digest where there is no tag. */
export function layoutName({ registry, repository, tag, digest }: Reference): string {
    const name = { registry, repository };
    if (tag === undefined && digest !== undefined) return formatReference({ ...name, digest });
    return formatReference({ ...name, tag: tag ?? "latest" });
}

function entriesOf(where: string, index: Buffer): Entry[] {
    try {
        return contentsOf({ bytes: index, digest: sha256(index), mediaType: mediaTypes.ociIndex }).manifests;
    } catch (error) {
        throw new LayoutError(where, `its index.json can't be read (${(error as Error).message})`, "collect it again");
    }
}

/** The images that a layout names, by name. */
export const namesIn = (layout: LayoutReader): string[] =>
    entriesOf(layout.where, layout.index)
        .map(({ annotations }) => annotations?.[NAME] ?? "")
        .filter((name) => name !== "" && !/:sha256-[0-9a-f]{64}\.(sig|att|sbom)$/.test(name));

/** A layout as the source of images. */
export class LayoutSource implements Source {
    readonly #entries: Entry[];
    #referrers: Promise<Map<string, Attached[]>> | undefined;

    constructor(readonly layout: LayoutReader) {
        this.#entries = entriesOf(layout.where, layout.index);
    }

    where(): string {
        return this.layout.where;
    }

    async resolve(reference: Reference): Promise<ManifestBytes> {
        const name = layoutName(reference);
        const named = this.#entries.filter(({ annotations }) => annotations?.[NAME] === name);
        const found = this.#find(reference);
        if (found) return this.#read(found.digest, found.mediaType);
        const other = named[0] ? `, but of another digest, ${named[0].digest}` : "";
        const there = namesIn(this.layout).sort();
        const names = named[0] || there.length === 0 ? "" : `; it has ${there.slice(0, 20).join(", ")}`;
        throw new Error(`${this.layout.where} has ${other ? name + other : `no ${name}`}${names}`);
    }

    async lookUp(reference: Reference): Promise<Digest | undefined> {
        return this.#find(reference)?.digest;
    }

    manifest(_repository: SourceRepository, digest: Digest): Promise<ManifestBytes> {
        return this.#read(digest);
    }

    async attached({ registry, repository }: SourceRepository, digest: Digest): Promise<Attached[]> {
        this.#referrers ??= this.#readReferrers();
        const tagged = this.#entries.flatMap((entry) => {
            const [name, tag = ""] = (entry.annotations?.[NAME] ?? "").split(/:(?=[^/:]+$)/);
            const isOurs = name === `${registry}/${repository}` && tag.startsWith(`${digestTag(digest)}.`);
            return isOurs ? [{ digest: entry.digest, mediaType: entry.mediaType, tag }] : [];
        });
        const read = tagged.map(async ({ tag, ...one }) => ({ ...(await this.#read(one.digest, one.mediaType)), tag }));
        return [...((await this.#referrers).get(digest) ?? []), ...(await Promise.all(read))];
    }

    has(_repository: SourceRepository, blob: Blob): Promise<boolean> {
        return this.layout.has(blob);
    }

    async bytes(_repository: SourceRepository, { digest }: Blob): Promise<Buffer> {
        return (await this.#read(digest, "")).bytes;
    }

    stream(
        _repository: SourceRepository,
        blob: Blob,
        _offset: number,
        take: (piece: Buffer) => Promise<void>,
        signal: AbortSignal,
    ): Promise<void> {
        return this.layout.stream(blob, (piece) => {
            signal.throwIfAborted();
            return take(piece);
        });
    }

    #find(reference: Reference): Entry | undefined {
        const name = layoutName(reference);
        const { digest } = reference;
        return this.#entries.find(
            ({ digest: own, annotations }) =>
                annotations?.[NAME] === name && (!digest || own === digest || annotations[SOURCE_DIGEST] === digest),
        );
    }

    /** What is in the layout by no name, by what it says it is about. */
    async #readReferrers(): Promise<Map<string, Attached[]>> {
        const found = new Map<string, Attached[]>();
        for (const entry of this.#entries.filter(({ annotations }) => annotations?.[NAME] === undefined)) {
            const manifest = await this.#read(entry.digest, entry.mediaType);
            const { subject } = contentsOf(manifest);
            if (subject) found.set(subject, [...(found.get(subject) ?? []), { ...manifest, descriptor: entry }]);
        }
        return found;
    }

    async #read(digest: Digest, mediaType?: string): Promise<ManifestBytes> {
        const bytes = await this.layout.bytes(digest);
        if (!bytes) throw new LayoutError(this.layout.where, `has no ${digest}`, "collect the images again");
        return { digest, bytes, mediaType: mediaType ?? JSON.parse(bytes.toString("utf8")).mediaType };
    }
}

/** A layout as the target. One folder can be the target of several mirrors: what they have named is kept. */
export class LayoutTarget implements Target {
    readonly registry = undefined;
    readonly #named = new Map<string, Entry>();
    readonly #attached = new Map<string, Entry>();
    readonly #puts = new Map<Digest, Promise<void>>();

    /**
     * @param keeps whether what the layout has already stays in it
     * @param forget names that are to go
     */
    constructor(
        readonly layout: LayoutWriter,
        keeps: boolean,
        forget: readonly string[],
    ) {
        for (const entry of keeps && layout.index ? entriesOf(layout.where, layout.index) : []) {
            const name = entry.annotations?.[NAME];
            if (name === undefined) this.#attached.set(entry.digest, entry);
            else if (!forget.includes(name)) this.#named.set(name, entry);
        }
    }

    get where(): string {
        return this.layout.where;
    }

    has(_path: string, blob: Blob): Promise<boolean> {
        return this.layout.has(blob);
    }

    async mount(): Promise<boolean> {
        return true;
    }

    open(_path: string, blob: Blob): Promise<BlobSink> {
        return this.layout.open(blob);
    }

    /** Images share manifests, and two at a time must not write one file. */
    put(_path: string, manifest: ManifestBytes): Promise<void> {
        const put = this.#puts.get(manifest.digest) ?? this.#write(manifest);
        this.#puts.set(manifest.digest, put);
        return put;
    }

    async #write({ digest, bytes }: ManifestBytes): Promise<void> {
        const blob = { digest, size: bytes.length };
        if (await this.layout.has(blob)) return;
        const sink = await this.layout.open(blob);
        await sink.write(bytes.subarray(sink.check.received));
        await sink.finish();
    }

    async attach({ source }: TargetImage, _subject: Digest, attached: Attached[]): Promise<void> {
        for (const { digest, mediaType, bytes, tag, descriptor } of attached) {
            const entry = { mediaType, digest, size: bytes.length };
            const { registry, repository } = source;
            const name = tag && formatReference({ registry, repository, tag });
            if (name) this.#named.set(name, { ...entry, annotations: { [NAME]: name } });
            else this.#attached.set(digest, { ...entry, ...withoutNames(descriptor) });
        }
    }

    async name({ source, sourceDigest }: TargetImage, { digest, mediaType, bytes }: ManifestBytes): Promise<void> {
        const name = layoutName(source);
        const annotations = {
            [NAME]: name,
            [CONTAINERD_NAME]: name,
            ...(sourceDigest === digest ? {} : { [SOURCE_DIGEST]: sourceDigest }),
        };
        this.#named.set(name, { mediaType, digest, size: bytes.length, annotations });
    }

    async finish(): Promise<Digest> {
        const byName = [...this.#named].sort(([left], [right]) => (left < right ? -1 : 1)).map(([, entry]) => entry);
        const others = [...this.#attached.values()].sort((left, right) => (left.digest < right.digest ? -1 : 1));
        const manifests = [...byName, ...others.filter(({ digest }) => isDigest(digest))];
        const index = { schemaVersion: 2, mediaType: mediaTypes.ociIndex, manifests };
        const bytes = Buffer.from(JSON.stringify(index), "utf8");
        await this.layout.finish(bytes);
        return sha256(bytes);
    }
}

/** A referrer has no name of its own in a layout, even if its annotations came from one. */
function withoutNames(descriptor: Record<string, unknown> = {}): Partial<Entry> {
    const { annotations, artifactType } = descriptor as { annotations?: Record<string, string>; artifactType?: string };
    const kept = Object.entries(annotations ?? {}).filter(([key]) => key !== NAME && key !== CONTAINERD_NAME);
    return {
        ...(artifactType === undefined ? {} : { artifactType }),
        ...(kept.length === 0 ? {} : { annotations: Object.fromEntries(kept) }),
    };
}
