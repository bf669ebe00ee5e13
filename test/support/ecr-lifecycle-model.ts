/**
 * A model of how ECR evaluates a lifecycle policy, from its user guide ("Lifecycle policy evaluation rules"). Where the guide leaves
 * room, the model takes what hurts more: signatures are images like any other (aws/containers-roadmap#2613), an image is expired at
 * the first moment it may be, and nothing is.
 */
import { type LifecyclePolicy, type LifecycleRule, matchesTag } from "../../core/aws/ecr-lifecycle";

export interface StoredImage {
    digest: string;
    tags: Set<string>;
    /** Days; among those of one day, later ones are larger. */
    pushedAt: number;
    /** Of an index. */
    children: string[];
    /** Of a signature or an attestation. */
    subject?: string;
}

/** `tagPrefixList` is in the guide's examples, and nowhere else here. */
type Selection = LifecycleRule["selection"] & { tagPrefixList?: string[] };

/** Whether an image meets what a rule says about tags. "An image is successfully matched if all of the tags are matched." */
function meets(image: StoredImage, { tagStatus, tagPatternList = [], tagPrefixList = [] }: Selection): boolean {
    if (tagStatus === "any") return true;
    if (tagStatus === "untagged") return image.tags.size === 0;
    const patterns = [...tagPatternList, ...tagPrefixList.map((prefix) => `${prefix}*`)];
    return patterns.every((pattern) => [...image.tags].some((tag) => matches(pattern, tag)));
}

const answers = new Map<string, boolean>();

/** Asked millions of times, about a few tags. */
export function matches(pattern: string, tag: string): boolean {
    const key = `${pattern} ${tag}`;
    const known = answers.get(key);
    if (known !== undefined) return known;
    const answer = matchesTag(pattern, tag);
    answers.set(key, answer);
    return answer;
}

export class EcrModel {
    readonly images = new Map<string, StoredImage>();
    readonly #holders = new Map<string, StoredImage>();
    day = 0;
    #pushes = 0;

    constructor(
        /** Whether rules take signatures as they take other images; otherwise these only follow their subject. */
        readonly options: { referrersAreOrdinary: boolean } = { referrersAreOrdinary: true },
    ) {}

    has = (digest: string) => this.images.has(digest);

    /** Stores a manifest; one that is there already keeps its time (containers-roadmap#2746). */
    push(digest: string, more: { children?: string[]; subject?: string } = {}): void {
        if (this.images.has(digest)) return;
        const pushedAt = this.day + ++this.#pushes * 1e-6;
        this.images.set(digest, { digest, tags: new Set(), pushedAt, children: [], ...more });
    }

    /** Points a tag at an image; it leaves the one it pointed at before. */
    tag(digest: string, tag: string): void {
        const image = this.images.get(digest);
        if (!image) throw new Error(`${digest} is not there`);
        this.tagged(tag)?.tags.delete(tag);
        image.tags.add(tag);
        this.#holders.set(tag, image);
    }

    tagged(tag: string): StoredImage | undefined {
        const holder = this.#holders.get(tag);
        return holder && this.has(holder.digest) ? holder : undefined;
    }

    /** What a rule would expire if it were the only one; "images are sorted from youngest to oldest". */
    #identify({ countType, countNumber, ...selection }: Selection): StoredImage[] {
        const matching = [...this.images.values()].filter((image) =>
            meets(image, { countType, countNumber, ...selection }),
        );
        if (countType === "sinceImagePushed")
            return matching.filter(({ pushedAt }) => this.day - Math.floor(pushedAt) >= countNumber);
        return matching.sort((a, b) => b.pushedAt - a.pushedAt).slice(countNumber);
    }

    /** One evaluation; answers what was expired. */
    expire(policy: LifecyclePolicy): string[] {
        const all = [...this.images.values()];
        // "If an image is referenced by a manifest list, it cannot be expired without the manifest list being deleted first."
        const referenced = new Set(all.flatMap(({ children }) => children));
        const spoken = new Set<StoredImage>();
        const marked = new Set<StoredImage>();
        for (const { selection } of policy.rules.toSorted((a, b) => a.rulePriority - b.rulePriority)) {
            // "Rules can never mark images that are marked by higher priority rules, but can still identify them."
            for (const image of this.#identify(selection)) if (!spoken.has(image)) marked.add(image);
            // "An image that matches the tagging requirements of a rule cannot be expired by a rule with a lower priority."
            for (const image of all) if (meets(image, selection)) spoken.add(image);
        }
        const gone: string[] = [];
        for (const { digest, subject } of marked) {
            if (referenced.has(digest)) continue;
            if (subject !== undefined && !this.options.referrersAreOrdinary) continue;
            this.images.delete(digest);
            gone.push(digest);
        }
        return [...gone, ...this.#cleanUp()];
    }

    /** "Lifecycle policies automatically expire reference artifacts within 24 hours of the deletion of the subject image." */
    #cleanUp(): string[] {
        const orphans = [...this.images.values()].filter(({ subject }) => subject !== undefined && !this.has(subject));
        for (const { digest } of orphans) this.images.delete(digest);
        return orphans.map(({ digest }) => digest);
    }
}
