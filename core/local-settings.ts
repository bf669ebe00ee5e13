import type { z } from "zod";
import { cpus, memory } from "./docker-host-settings";
import { scan } from "./gate-settings";
import { platform, platformIdentity, tag, unshown } from "./leaves";
import { Platform } from "./platform";
import { FormatError } from "./problems";
import { isRepositoryName } from "./reference";
import { always, choice, faultIn, report, text, whole } from "./schema";
import { fields, isTable, list, table, textsIn } from "./schema-tables";
import { parseSettings } from "./settings";
import { parseVersion, versionExpected } from "./tags";
import { quote } from "./text";

/** A repository's name below a registry. */
export const repositoryName = text('a repository\'s name, such as "hello"', (value) => {
    if (!isRepositoryName(value)) {
        const lower = value.toLowerCase();
        const hint = isRepositoryName(lower) ? `did you mean ${quote(lower)}?` : undefined;
        const expected = "lower-case letters and digits, parted by / . _ -";
        throw new FormatError(`${quote(value)} is not a repository's name`, expected, hint);
    }
    return value;
});

const port = whole({ min: 1, max: 65_535 });

/** What the stacks of this package build, and what it is called. */
export const releasedImage = {
    context: text("a folder").default("examples/hello").describe("The folder the image is built from"),
    dockerfile: text("a path").optional().describe("The Dockerfile's path, when it is not `Dockerfile` in the context"),
    target: text("a stage's name").optional().describe("The stage that is built; the last one when unset"),
    platforms: list(platform, { of: "platforms", min: 1, identity: platformIdentity })
        .default(["linux/amd64", "linux/arm64"])
        .describe("What the image is built for"),
    version: text(versionExpected, parseVersion)
        .default("1.0.0")
        .describe("The version, which gives the tags `1.0.0`, `1.0`, `1`"),
    tags: list(tag, { of: "tags", identity: (value) => value })
        .default([])
        .describe("Tags besides the version's"),
    buildArgs: table(unshown, "build arguments").default({}).describe("Build arguments by name; never secrets"),
};

/**
 * The settings of the `local` stack: a registry, a fleet and one image on this machine. All have defaults.
 *
 * @param now decides which ignore entries are over.
 */
export function localSettings({ now = new Date() }: { now?: Date } = {}) {
    const registry = fields({
        port: port.default(5000).describe("The registry's port on the loopback interface"),
        storage: text("a folder")
            .optional()
            .describe("Where the registry keeps its bytes; a folder of the state folder when unset"),
    });
    const image = fields({
        ...releasedImage,
        repository: repositoryName.default("hello").describe("The image's repository in the local registry"),
    });
    return fields({
        registry: registry.prefault({}).describe("The private registry"),
        nodes: table(whole({ min: 1, max: 16 }), "numbers of nodes by platform", (name) =>
            faultIn(() => Platform.parse(name)),
        )
            .default({})
            .describe("How many BuildKit nodes each platform has; one where unset"),
        emulation: choice(["refuse", "allow"])
            .default("allow")
            .describe(
                "Whether a platform of another architecture than this machine's may be built under emulation; outputs name it",
            ),
        image: image.prefault({}).describe("The image that is released"),
        scan: scan(now).prefault({}).describe("What the scan of each platform refuses; `false` switches it off"),
        maxParallelism: whole({ min: 1, max: 256 }).default(4).describe("Build steps at a time on each node"),
        memory: memory.optional().describe("The most memory that a node and its build steps take; no limit when unset"),
        cpus: cpus.optional().describe("The most CPU time that they take, in CPUs; no limit when unset"),
        stateFolder: text("a folder").default(".buildfleet").describe("Where everything that `up` makes is kept"),
    }).superRefine(checkNodes, always);
}

/** The settings after parsing, defaults filled in. */
export type LocalSettings = z.output<ReturnType<typeof localSettings>>;

/** @throws SettingsError with every problem at once. */
export function parseLocalSettings(subject: string, value: unknown, options?: { now?: Date }): LocalSettings {
    return parseSettings(subject, localSettings(options) as z.ZodType<LocalSettings>, value);
}

/** Nodes of a platform that nothing is built for are more likely a mistake than a wish; the same platform twice is one. */
function checkNodes(value: unknown, ctx: z.core.$RefinementCtx<unknown>): void {
    if (!isTable(value) || !isTable(value.nodes)) {
        return;
    }
    const built = textsIn(isTable(value.image) ? value.image.platforms : []).map(({ text }) => platformIdentity(text));
    const seen = new Map<string, string>();
    for (const name of Object.keys(value.nodes)) {
        const identity = platformIdentity(name);
        const earlier = identity === undefined ? undefined : seen.get(identity);
        if (earlier !== undefined) {
            report(ctx, { found: `the same platform as "${earlier}"`, expected: "each platform once" }, [
                "nodes",
                name,
            ]);
        } else if (
            identity !== undefined &&
            built.length > 0 &&
            !built.includes(undefined) &&
            !built.includes(identity)
        ) {
            const expected = `platforms of the image: ${built.join(", ")}`;
            report(ctx, { found: "no image is built for this platform", expected }, ["nodes", name]);
        }
        if (identity !== undefined) {
            seen.set(identity, name);
        }
    }
}
