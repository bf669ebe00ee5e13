import pLimit from "p-limit";
import type { Reference } from "../../core/reference";
import { RegistryError } from "../registry";
import { contentsOf, entriesFor, isIndex, type ManifestBytes, withEntries } from "./manifest";
import { type MirrorOptions, withSource } from "./open";
import type { Source } from "./places";
import type { ImageRequest } from "./plan";

/** How many references of one registry are looked up at a time. */
const AT_A_TIME = 8;
/** How long one may take: whoever looks for nothing new is not to wait for a registry that is away. */
const PATIENCE_MS = 15_000;

/** What the last run found and made, by the user's name for the image. */
export interface Before {
    /** What each reference pointed at; nothing of images that an earlier version of this library mirrored. */
    resolved: Readonly<Record<string, string>>;
    /** What is at the target. */
    digests: Readonly<Record<string, string>>;
}

/** What a look at the source has found. */
interface Looked {
    /** Images whose reference points at another one than it did. */
    moved: string[];
    /** Sentences on what can't be followed: the source does not answer, or has it no more. */
    unknown: string[];
}

/**
 * Looks whether tags at the source point elsewhere than when they were mirrored. What is named by its digest, and a layout of
 * which `contents` was said, can't have moved and is not looked at. A source that can't be asked is told of, and no error.
 */
export async function lookForMoved(options: MirrorOptions, before: Before, patienceMs = PATIENCE_MS): Promise<Looked> {
    const { from, images } = options;
    const tagged = images.filter(isTagged);
    const isPinned = from.contents !== undefined || (images.length > 0 && tagged.length === 0);
    if (isPinned) return { moved: [], unknown: [] };
    const place = from.archive ?? from.folder;
    if (place !== undefined) return lookAt({ ...options, images: tagged }, before, place, patienceMs);
    const hosts = [...new Set(tagged.map(({ source }) => source.registry))];
    const looked = await Promise.all(
        hosts.map((host) => {
            const ofHost = tagged.filter(({ source }) => source.registry === host);
            return lookAt({ ...options, images: ofHost }, before, host, patienceMs);
        }),
    );
    return { moved: looked.flatMap(({ moved }) => moved), unknown: looked.flatMap(({ unknown }) => unknown) };
}

const isTagged = ({ source }: { source: Reference }) => source.digest === undefined;

/** What was found of one image, or why nothing was. */
type Seen = { outcome: "same" | "moved" | "gone" } | { outcome: "unknown"; reason: string };

/** One registry, or one layout. */
async function lookAt(options: MirrorOptions, before: Before, where: string, patienceMs: number): Promise<Looked> {
    const { images } = options;
    const silent = (keys: string[], reason: string) =>
        `${where} can't be asked whether it has a newer ${keys.join(", ") || "image"}: ${reason}`;
    try {
        return await withSource(options, async (source, found) => {
            const requests = images.length > 0 ? images : found;
            const keys = requests.map(({ key }) => key);
            const seen = await new Look(source, before, patienceMs).all(requests);
            const keysOf = (is: (one: Seen) => boolean) => keys.filter((_, i) => is(seen[i] as Seen));
            const unlisted = images.length > 0 ? [] : Object.keys(before.digests).filter((key) => !keys.includes(key));
            const gone = [...keysOf(({ outcome }) => outcome === "gone"), ...unlisted];
            const reasons = new Set(seen.flatMap((one) => (one.outcome === "unknown" ? [one.reason] : [])));
            const unknown = [...reasons].map((reason) =>
                silent(
                    keysOf((one) => one.outcome === "unknown" && one.reason === reason),
                    reason,
                ),
            );
            if (gone.length > 0) unknown.push(`${where} has no ${gone.join(", ")} any more; what was mirrored stays`);
            return { moved: keysOf(({ outcome }) => outcome === "moved"), unknown };
        });
    } catch (error) {
        const keys = images.map(({ key }) => key);
        return { moved: [], unknown: [silent(keys, (error as Error).message)] };
    }
}

class Look {
    readonly #stop = new AbortController();

    constructor(
        readonly source: Source,
        readonly before: Before,
        readonly patienceMs: number,
    ) {}

    /** What was found of each, in their order. */
    async all(images: readonly ImageRequest[]): Promise<Seen[]> {
        const limit = pLimit(AT_A_TIME);
        return Promise.all(images.map((image) => limit(() => this.#one(image))));
    }

    async #one(image: ImageRequest): Promise<Seen> {
        const impatience = AbortSignal.timeout(this.patienceMs);
        try {
            this.#stop.signal.throwIfAborted();
            return { outcome: await this.#outcomeOf(image, AbortSignal.any([this.#stop.signal, impatience])) };
        } catch (error) {
            const late = error === impatience.reason;
            const reason = late ? new Error(`no answer within ${this.patienceMs / 1000} s`) : (error as Error);
            // Whoever is away is away for all of its images; a refusal may be for one repository.
            const isAnswer = reason instanceof RegistryError && reason.status !== undefined && reason.status !== 429;
            if (!isAnswer) this.#stop.abort(reason);
            return { outcome: "unknown", reason: reason.message };
        }
    }

    async #outcomeOf({ key, source: reference, platforms }: ImageRequest, signal: AbortSignal) {
        const digest = await this.source.lookUp(reference, signal);
        if (digest === undefined) return "gone";
        const { [key]: resolved } = this.before.resolved;
        const { [key]: mirrored } = this.before.digests;
        if (digest === (resolved ?? mirrored)) return "same";
        if (resolved !== undefined || mirrored === undefined || platforms.length === 0) return "moved";
        // What it pointed at was not kept: what would be mirrored by now tells.
        const found = await this.source.resolve(reference);
        return isIndex(found) && selectedOf(found, platforms) === mirrored ? "same" : "moved";
    }
}

/** The digest of an index with these platforms alone; undefined where it lacks one, which the update will tell of. */
function selectedOf(index: ManifestBytes, platforms: readonly string[]): string | undefined {
    try {
        return withEntries(index, entriesFor(contentsOf(index).manifests, platforms)).digest;
    } catch {
        return undefined;
    }
}
