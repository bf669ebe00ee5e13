import { setMaxListeners } from "node:events";
import pLimit from "p-limit";
import type { Digest } from "../../core/digest";
import { formatSize } from "../../core/size";
import type { Blob } from "../blob-check";
import { progress, whileWorking } from "../progress";
import { RegistryError } from "../registry";
import type { Source, SourceRepository, Target } from "./places";
import type { PlannedImage } from "./plan";

/** How many blobs are under way at a time; each holds two chunks in memory at most (registry/blob-upload.ts). */
const AT_A_TIME = 6;

/** Blobs and their bytes. */
export interface Amount {
    blobs: number;
    bytes: number;
}

/** What a run did; each blob counts once, in however many images it is. */
export interface Copied {
    /** Sent. */
    copied: Amount;
    /** Taken over from another repository of the target's registry, and there or sent nowhere else. */
    mounted: Amount;
    /** There already. */
    skipped: Amount;
}

/** A blob, where it can be had and where it is needed. */
interface Need {
    blob: Blob;
    from: SourceRepository;
    paths: Set<string>;
}

/** Copies what the plan says, each blob once; an image gets its name when all of it is there. */
export async function copyImages(
    subject: string,
    source: Source,
    target: Target,
    images: readonly PlannedImage[],
): Promise<Copied> {
    const run = new CopyRun(source, target);
    const needs = needsOf(images);
    const total = [...needs.values()].reduce((sum, { blob }) => sum + blob.size, 0);
    const state = () => {
        const { copied, mounted, skipped } = run.done;
        const blobs = copied.blobs + mounted.blobs + skipped.blobs;
        return `${subject}: ${blobs} of ${needs.size} layers, ${megabytes(run.passed)} copied of ${megabytes(total)} at most`;
    };
    await whileWorking(state, () => run.all(images, needs));
    const { copied, skipped, mounted } = run.done;
    progress(
        `${subject}: ${images.length} images, ${copied.blobs} layers (${megabytes(copied.bytes)}) copied, ${skipped.blobs + mounted.blobs} were there`,
        true,
    );
    return run.done;
}

const megabytes = (bytes: number) => formatSize(Math.ceil(bytes / 1e6) * 1e6);

function needsOf(images: readonly PlannedImage[]): Map<Digest, Need> {
    const needs = new Map<Digest, Need>();
    for (const { manifests, path, source } of images)
        for (const blob of manifests.flatMap(({ blobs }) => blobs)) {
            const need = needs.get(blob.digest) ?? { blob, from: source, paths: new Set() };
            need.paths.add(path);
            needs.set(blob.digest, need);
        }
    return needs;
}

class CopyRun {
    readonly done: Copied = { copied: none(), mounted: none(), skipped: none() };
    /** Bytes that have come so far. */
    passed = 0;
    /** Paths that lacked something: what is to come after it is not there, either. */
    readonly #written = new Set<string>();
    readonly #stop = new AbortController();

    constructor(
        readonly source: Source,
        readonly target: Target,
    ) {
        // Every request of the run listens to it.
        setMaxListeners(0, this.#stop.signal);
    }

    async all(images: readonly PlannedImage[], needs: ReadonlyMap<Digest, Need>): Promise<void> {
        const limit = pLimit(AT_A_TIME);
        const blobs = new Map([...needs].map(([digest, need]) => [digest, limit(() => this.#blob(need))]));
        const writing = pLimit(AT_A_TIME);
        const work = images.map(async (image) => {
            await Promise.all(image.manifests.flatMap((one) => one.blobs.map(({ digest }) => blobs.get(digest))));
            await writing(() => this.#write(image));
        });
        const all = [...work, ...blobs.values()];
        try {
            await Promise.all(all);
        } catch (error) {
            // The first failure is the one to tell; nothing goes on behind its back.
            this.#stop.abort(error);
            await Promise.allSettled(all);
            throw error;
        }
    }

    async #blob({ blob, from, paths: all }: Need): Promise<void> {
        const signal = this.#stop.signal;
        signal.throwIfAborted();
        // A layout keeps each blob once, whatever refers to it.
        const paths = this.target.registry === undefined ? [...all].slice(0, 1) : [...all];
        const [first = "", ...others] = paths;
        const known = await this.target.has(first, blob, signal);
        // What one repository lacks the others most likely lack, too; mounting what is there changes nothing.
        const there = known ? await Promise.all(others.map((path) => this.target.has(path, blob, signal))) : [];
        const has = paths.filter((_, i) => (i === 0 ? known : there[i - 1]));
        const lacks = paths.filter((path) => !has.includes(path));
        let outcome: keyof Copied = lacks.length === 0 ? "skipped" : "mounted";
        for (const path of lacks) {
            const near = has[0] ?? (from.registry === this.target.registry ? from.repository : undefined);
            const mounted = near !== undefined && (await this.target.mount(path, blob, near, signal));
            // Not every registry mounts.
            if (!mounted && (path === first || !(await this.target.has(path, blob, signal)))) {
                await this.#send(path, blob, from);
                outcome = "copied";
            }
            has.unshift(path);
            this.#written.add(path);
        }
        this.done[outcome].blobs++;
        this.done[outcome].bytes += blob.size;
    }

    /** Sends a blob; what was begun in an earlier run and turns out wrong, or was forgotten by the registry, is begun anew. */
    async #send(path: string, blob: Blob, from: SourceRepository): Promise<void> {
        const again = await this.#sendOnce(path, blob, from);
        if (again) await this.#sendOnce(path, blob, from, true);
    }

    async #sendOnce(path: string, blob: Blob, from: SourceRepository, last = false): Promise<boolean> {
        const sink = await this.target.open(path, blob, this.#stop.signal);
        const resumed = sink.check.received > 0;
        try {
            const take = async (piece: Buffer) => {
                this.passed += piece.length;
                await sink.write(piece);
            };
            if (sink.check.received < blob.size)
                await this.source.stream(from, blob, sink.check.received, take, this.#stop.signal);
            const problem = sink.check.problem();
            if (problem === undefined) {
                await sink.finish();
                return false;
            }
            if (!resumed || last)
                throw new Error(
                    `${this.source.where(from)}: ${problem}; nothing of it was stored at ${this.target.where}\n` +
                        "next: look at the source's storage, and at what is between; push or collect the image there again",
                );
        } catch (error) {
            await sink.abort();
            const lost = error instanceof RegistryError && error.registryCode === "BLOB_UPLOAD_UNKNOWN";
            if (!lost || last) throw error;
            return true;
        }
        await sink.abort();
        return true;
    }

    /** Manifests, when their layers are there; the name last. */
    async #write(image: PlannedImage): Promise<void> {
        const signal = this.#stop.signal;
        const { path, manifests, root, attached } = image;
        const isNew = this.#written.has(path);
        for (const manifest of manifests) await this.target.put(path, manifest, isNew, signal);
        for (const one of attached) await this.target.attach(image, one.subject, one.manifests, signal);
        await this.target.name(image, root, isNew, signal);
    }
}

const none = (): Amount => ({ blobs: 0, bytes: 0 });
