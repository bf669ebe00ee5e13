import fc from "fast-check";
import { describe, expect, it } from "vitest";
import {
    cacheLifecycle,
    childTag,
    type LifecyclePolicy,
    matchesTag,
    releaseLifecycle,
} from "../../core/aws/ecr-lifecycle";
import { sha256 } from "../../core/digest";
import { versionTags } from "../../core/tags";
import { EcrModel, matches, type StoredImage } from "../support/ecr-lifecycle-model";

const NEWEST = 3;
const OURS = releaseLifecycle([{ tags: "*.*.*", newest: NEWEST }], ["latest", "stable"]);

/** What is often written: it reads well, and takes what it must not. */
const untaggedAfterADay = selection({ tagStatus: "untagged", countType: "sinceImagePushed", countNumber: 1 });
const newestOfAny = selection({ tagStatus: "any", countType: "imageCountMoreThan", countNumber: 30 });

function selection(selected: object): LifecyclePolicy {
    const countUnit = "sinceImagePushed" in selected ? { countUnit: "days" } : {};
    return {
        rules: [
            {
                rulePriority: 1,
                description: "",
                selection: { ...selected, ...countUnit } as never,
                action: { type: "expire" },
            },
        ],
    };
}

/** The rules of the user guide's example pages, on the images they have there. */
describe("the model of ECR's rules", () => {
    const images = (rows: [name: string, tags: string[], daysAgo: number][]) => {
        const model = new EcrModel();
        const [, , oldest = 0] = rows[0] ?? [];
        for (const [name, tags, daysAgo] of rows) {
            model.day = oldest - daysAgo;
            model.push(name);
            for (const tag of tags) model.tag(name, tag);
        }
        model.day = oldest;
        return model;
    };
    const newestOf = (rulePriority: number, tagPrefixList: string[], countNumber: number) => ({
        rulePriority,
        description: "",
        selection: {
            tagStatus: "tagged" as const,
            tagPrefixList,
            countType: "imageCountMoreThan" as const,
            countNumber,
        },
        action: { type: "expire" as const },
    });
    const betaAndProd = () =>
        images([
            ["A", ["beta-1", "prod-1"], 10],
            ["B", ["beta-2", "prod-2"], 9],
            ["C", ["beta-3"], 8],
        ]);

    it("lets no rule expire what an earlier one has matched, and counts it still", () => {
        const prodFirst = { rules: [newestOf(1, ["prod"], 1), newestOf(2, ["beta"], 1)] };
        expect(betaAndProd().expire(prodFirst)).toEqual(["A"]);
        const betaFirst = { rules: [newestOf(1, ["beta"], 1), newestOf(2, ["prod"], 1)] };
        expect(betaAndProd().expire(betaFirst).sort()).toEqual(["A", "B"]);
    });

    it("selects only images that have all of a rule's tags", () => {
        const model = images([
            ["A", ["alpha-1"], 12],
            ["B", ["beta-1"], 11],
            ["C", ["alpha-2", "beta-2"], 10],
            ["D", ["alpha-3"], 4],
            ["E", ["beta-3"], 3],
            ["F", ["alpha-4", "beta-4"], 2],
        ]);
        const both = { tagStatus: "tagged", tagPatternList: ["alpha*", "beta*"], countType: "sinceImagePushed" };
        expect(model.expire(selection({ ...both, countNumber: 5 }))).toEqual(["C"]);
    });

    it("keeps what an index refers to, and lets a signature follow its image", () => {
        const model = new EcrModel({ referrersAreOrdinary: false });
        model.push("child");
        model.push("index", { children: ["child"] });
        model.push("signature", { subject: "index" });
        model.push("signature of it", { subject: "signature" });
        model.tag("index", "1.0.0");
        model.day = 100;
        expect(model.expire(untaggedAfterADay)).toEqual([]);
        const everything = selection({ tagStatus: "any", countType: "sinceImagePushed", countNumber: 1 });
        expect(model.expire(everything)).toEqual(["index", "signature"]);
        expect(model.expire(everything)).toEqual(["child", "signature of it"]);
    });

    it("expires a signature whose image lives on, where rules take it as any other image", () => {
        const model = new EcrModel();
        model.push("index");
        model.push("signature", { subject: "index" });
        model.tag("index", "1.0.0");
        model.day = 2;
        expect(model.expire(untaggedAfterADay)).toEqual(["signature"]);
    });
});

type Step =
    | { do: "stage" | "all of it"; platforms: number; reuse: number }
    | { do: "sign" | "promote" | "move"; which: number }
    | { do: "release again"; which: number }
    | { do: "wait"; days: number };

const pushed = { platforms: fc.integer({ min: 1, max: 3 }), reuse: fc.nat(9) };
const which = fc.nat(9);
const kind = <Name extends Step["do"]>(name: Name) => fc.constant(name);
const step: fc.Arbitrary<Step> = fc.oneof(
    { weight: 6, arbitrary: fc.record({ do: kind("all of it"), ...pushed }) },
    { weight: 3, arbitrary: fc.record({ do: kind("stage"), ...pushed }) },
    { weight: 3, arbitrary: fc.record({ do: kind("sign"), which }) },
    { weight: 3, arbitrary: fc.record({ do: kind("promote"), which }) },
    { weight: 1, arbitrary: fc.record({ do: kind("move"), which }) },
    { weight: 1, arbitrary: fc.record({ do: kind("release again"), which }) },
    { weight: 4, arbitrary: fc.record({ do: kind("wait"), days: fc.integer({ min: 1, max: 400 }) }) },
);

/** A repository with a history of its own: what was pushed, signed and released, and what each of it must still have. */
class History {
    readonly model: EcrModel;
    readonly staged: string[] = [];
    readonly released = new Set<string>();
    readonly attached = new Map<string, string[]>();
    #made = 0;
    #version = 0;

    constructor(referrersAreOrdinary: boolean) {
        this.model = new EcrModel({ referrersAreOrdinary });
    }

    #digest = () => sha256(`${this.#made++}`);
    indexes = () => [...this.model.images.values()].filter(({ children }) => children.length > 0);
    releases = () => this.indexes().filter(({ tags }) => [...tags].some((tag) => matches("*.*.*", tag)));

    take(step: Step, policy: LifecyclePolicy): void {
        const digest = "which" in step ? this.staged.at(-1 - step.which) : undefined;
        if (step.do === "wait") this.#wait(step.days, policy);
        else if (step.do === "stage" || step.do === "all of it") {
            const index = this.#stage(step.platforms, step.reuse);
            if (step.do === "stage") return;
            this.#sign(index);
            this.#promote(index);
        } else if (step.do === "release again") this.#promote(this.indexes().at(step.which)?.digest);
        else if (step.do === "sign") this.#sign(digest);
        else if (step.do === "promote") this.#promote(digest);
        else if (digest && this.attached.has(digest)) this.#release(digest, ["stable"]);
    }

    /** Platforms' images, new ones or those of an earlier index that are still there, and an index: no tag anywhere. */
    #stage(platforms: number, reuse: number): string {
        const others = this.indexes().at(reuse)?.children ?? [];
        const children = Array.from({ length: platforms }, (_, i) => (i < reuse % 2 && others[i]) || this.#digest());
        for (const child of children) this.model.push(child);
        const index = this.#digest();
        this.model.push(index, { children });
        this.staged.push(index);
        return index;
    }

    #sign(index: string | undefined): void {
        if (!index || !this.model.has(index)) return;
        for (const digest of [index, ...(this.model.images.get(index)?.children ?? [])]) {
            if (this.attached.has(digest)) continue;
            const signature = this.#digest();
            this.model.push(signature, { subject: digest });
            this.attached.set(digest, [signature]);
        }
    }

    #promote(index: string | undefined): void {
        if (!index || !this.attached.has(index)) return;
        const n = this.#version++;
        this.#release(index, versionTags(`${1 + (n % 2)}.${n % 3}.${n}`, { isHighest: n % 4 !== 1 }));
    }

    #release(index: string, tags: string[]): void {
        const image = this.model.images.get(index);
        if (!image) return;
        for (const child of image.children) this.model.tag(child, childTag(child));
        for (const tag of tags) this.model.tag(index, tag);
        this.released.add(index);
    }

    #wait(days: number, policy: LifecyclePolicy): void {
        this.model.day += days;
        this.evaluate(policy);
    }

    evaluate(policy: LifecyclePolicy): void {
        const before = { latest: this.model.tagged("latest"), stable: this.model.tagged("stable") };
        const newest = newestFirst(this.releases()).slice(0, NEWEST);
        this.model.expire(policy);
        this.checkWhole();
        for (const index of this.staged.filter((digest) => !this.released.has(digest)))
            if (!this.model.has(index)) throw new Error(`an index that waits for its release is gone`);
        for (const [tag, image] of Object.entries(before))
            if (image && !this.model.has(image.digest)) throw new Error(`what ${tag} pointed at is gone`);
        for (const { digest } of newest)
            if (!this.model.has(digest)) throw new Error(`one of the newest ${NEWEST} releases is gone`);
    }

    /** Every index that is there has its platforms' images, and all of them the signatures they ever got. */
    checkWhole(): void {
        for (const { digest, children } of this.indexes()) {
            for (const child of children)
                if (!this.model.has(child)) throw new Error("an index lost a platform's image");
            for (const signature of [digest, ...children].flatMap((each) => this.attached.get(each) ?? []))
                if (!this.model.has(signature)) throw new Error("an index lost a signature");
        }
    }
}

const newestFirst = (images: StoredImage[]) => images.toSorted((a, b) => b.pushedAt - a.pushedAt);

function replay(steps: Step[], policy: LifecyclePolicy, referrersAreOrdinary: boolean): History {
    const history = new History(referrersAreOrdinary);
    for (const each of steps) history.take(each, policy);
    return history;
}

const histories = fc.array(step, { maxLength: 40, size: "max" });

/** What a policy breaks in the smallest history that shows it; nothing where 10,000 did not. */
function broken(policy: LifecyclePolicy, referrersAreOrdinary = true): string | undefined {
    const property = fc.property(histories, (steps) => void replay(steps, policy, referrersAreOrdinary));
    const { errorInstance } = fc.check(property, { numRuns: 10_000, seed: 20_261_122 });
    return errorInstance instanceof Error ? errorInstance.message : undefined;
}

describe("the lifecycle of a release repository", () => {
    it.each([
        [10_000, true],
        [3_000, false],
    ])(
        "takes nothing of an index that is there, in %i histories (signatures as other images: %s)",
        (numRuns, referrersAreOrdinary) => {
            let released = 0;
            let expired = 0;
            fc.assert(
                fc.property(histories, (steps) => {
                    const history = replay(steps, OURS, referrersAreOrdinary);
                    released += history.released.size;
                    expired += [...history.released].filter((digest) => !history.model.has(digest)).length;
                }),
                { numRuns },
            );
            // The histories are about something: many releases came in each, and many went.
            expect(released).toBeGreaterThan(2 * numRuns);
            expect(expired).toBeGreaterThan(numRuns / 10);
        },
        300_000,
    );

    it.each([
        ["untagged for a day", untaggedAfterADay, true, /lost a signature|waits for its release/],
        ["untagged for a day", untaggedAfterADay, false, /waits for its release/],
        ["the newest 30 of any", newestOfAny, true, /lost a signature|waits for its release|pointed at|newest/],
        ["the newest 30 of any", newestOfAny, false, /waits for its release|pointed at|newest/],
    ])("is not as it is often written: %s (signatures as other images: %s)", (_name, policy, ordinary, said) => {
        expect(broken(policy, ordinary)).toMatch(said);
    });

    it.each([
        [
            "what is protected",
            ({ selection: { tagPatternList } }: LifecyclePolicy["rules"][0]) => tagPatternList?.[0] !== "latest",
        ],
    ])("needs its rule for %s", (_name, keep) => {
        expect(broken({ rules: OURS.rules.filter(keep) })).toContain("what latest pointed at is gone");
    });

    it("would count platforms as releases, were its pattern to match them", () => {
        const policy = releaseLifecycle([{ tags: "*", newest: NEWEST }], ["latest", "stable"]);
        expect(broken(policy)).toMatch(/newest 3 releases is gone/);
    });

    it("leaves nothing of what it expires: platforms' images and signatures follow within two days", () => {
        fc.assert(
            fc.property(histories, (steps) => {
                const history = replay(steps, OURS, true);
                for (let day = 0; day < 3; day++) history.take({ do: "wait", days: 1 }, OURS);
                const { model } = history;
                const kept = new Set(history.indexes().flatMap(({ children }) => children));
                const images = [...model.images.values()];
                const orphans = images.filter(({ digest, tags }) => tags.has(childTag(digest)) && !kept.has(digest));
                expect(orphans).toEqual([]);
                expect(images.filter(({ subject }) => subject !== undefined && !model.has(subject))).toEqual([]);
                const protectedOnes = new Set(["latest", "stable"].map((tag) => model.tagged(tag)?.digest));
                const others = history.releases().filter(({ digest }) => !protectedOnes.has(digest));
                expect(others.length).toBeLessThanOrEqual(NEWEST);
            }),
            { numRuns: 2_000 },
        );
    }, 300_000);

    it("bounds a repository that releases every day for two years", () => {
        const policy = releaseLifecycle([{ tags: "*.*.*", newest: 20 }], ["latest"]);
        const history = new History(true);
        let most = 0;
        for (let day = 0; day < 730; day++) {
            history.take({ do: "stage", platforms: 2, reuse: 0 }, policy);
            history.take({ do: "sign", which: 0 }, policy);
            history.take({ do: "promote", which: 0 }, policy);
            history.model.day += 1;
            history.model.expire(policy);
            most = Math.max(most, history.model.images.size);
        }
        history.checkWhole();
        // An index, two images and a signature of each are six, for twenty-odd releases of 730.
        expect(history.releases().length).toBeLessThanOrEqual(21);
        expect(most).toBeLessThanOrEqual(6 * 24);
    });

    it("is in the form that ECR takes, in the order in which it gives it back", () => {
        expect(OURS.rules.map(({ rulePriority }) => rulePriority)).toEqual([1, 2, 3, 4]);
        expect(OURS.rules[2]).toEqual({
            rulePriority: 3,
            description: "Platform images that no index refers to any more",
            selection: {
                tagStatus: "tagged",
                tagPatternList: ["child-sha256-*"],
                countType: "sinceImagePushed",
                countUnit: "days",
                countNumber: 1,
            },
            action: { type: "expire" },
        });
        expect(OURS.rules.some(({ selection: { tagStatus } }) => tagStatus !== "tagged")).toBe(false);
    });
});

describe("the lifecycle of a cache repository", () => {
    it("takes what was written anew within a day, and what nothing writes any more after its days", () => {
        const model = new EcrModel();
        model.push("old cache");
        model.tag("old cache", "cache-linux-arm64");
        model.day = 5;
        model.push("new cache");
        model.tag("new cache", "cache-linux-arm64");
        expect(model.expire(cacheLifecycle(30))).toEqual(["old cache"]);
        model.day = 34;
        expect(model.expire(cacheLifecycle(30))).toEqual([]);
        model.day = 35;
        expect(model.expire(cacheLifecycle(30))).toEqual(["new cache"]);
    });
});

describe("a pattern of tags", () => {
    it.each([
        ["*.*.*", "1.4.2", true],
        ["*.*.*", "2.0.0-rc.1", true],
        ["*.*.*", "1.4", false],
        ["*.*.*", "latest", false],
        ["latest", "latest", true],
        ["latest", "not-latest", false],
        ["v*", "v1", true],
        ["a.c", "abc", false],
    ])("%s and %s: %s", (pattern, tag, expected) => {
        expect(matchesTag(pattern, tag)).toBe(expected);
    });
});
