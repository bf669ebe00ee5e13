import { z } from "zod";
import { cacheFrom, cacheTo } from "./cache-settings";
import { type Duration, durationExpected, parseDuration } from "./duration";
import { imageExports } from "./export-settings";
import { sbom, scan, sign, test } from "./gate-settings";
import { crossChecks } from "./image-checks";
import { place, platform, platformIdentity, repository, unshown } from "./leaves";
import { FormatError } from "./problems";
import { parseReference } from "./reference";
import { always, choice, type Fault, faultIn, flag, late, secretText, text } from "./schema";
import { fields, list, table } from "./schema-tables";
import { checkSettings, type Late, parseSettings } from "./settings";
import { tagSettings } from "./tag-settings";
import { quote } from "./text";

const target = text("a stage's name", (value) => {
    if (!/^(?:[a-z][a-z0-9_.-]*|\d+)$/i.test(value)) {
        throw new FormatError(`${quote(value)} is not a stage`, "a name or a number from the Dockerfile");
    }
    return value;
});

const buildTimeout = text<Duration>(durationExpected, (value) => {
    // None at all is what the engine makes of less.
    if (parseDuration(value) < 1_000)
        throw new FormatError(`${quote(value)} is no time to build in`, "at least a second");
    return value as Duration;
});

const revision = text("a Git commit", (value) => {
    if (!/^(?:[0-9a-f]{40}|[0-9a-f]{64})$/.test(value)) {
        throw new FormatError(`${quote(value)} is not a Git commit`, "its full hash, 40 or 64 hexadecimal digits");
    }
    return value;
});

const gitTags = fields({
    folder: place("a folder's path").optional().describe("A folder in the work tree; the context when unset"),
    version: flag()
        .optional()
        .describe(
            "The highest Git tag at the commit that is a version (`v1.4.2`) stands for `version`; true unless that is set",
        ),
    branch: flag().default(false).describe("A tag with the branch's name: `feature-login` of `feature/login`"),
    commit: flag().default(true).describe("A tag with the commit: `sha-0123456789ab`"),
    date: flag().default(false).describe("A tag with the day of the commit, in UTC: `2026-11-22`"),
    dirty: choice(["refuse", "mark"])
        .default("refuse")
        .describe(
            "What changes that are not committed do; marked, tags end in `-dirty`, and there is neither version nor date",
        ),
});

const host = text("a host", (value) => {
    const [, name, ip = ""] = /^([A-Za-z0-9_.-]+)[:=](.+)$/.exec(value) ?? [];
    if (name === undefined || !(isAddress(ip) || ip === "host-gateway")) {
        throw new FormatError(`${quote(value)} is not a host`, 'name:address, such as "db.example.com:10.0.0.5"');
    }
    return value;
});

function isAddress(text: string): boolean {
    const bare = text.replace(/^\[(.*)\]$/, "$1");
    const isIpv4 = /^(?:(?:25[0-5]|2[0-4]\d|1?\d?\d)(?:\.(?!$)|$)){4}$/.test(bare);
    return isIpv4 || (/^[0-9a-f:.]+$/i.test(bare) && bare.includes(":") && URL.canParse(`http://[${bare}]`));
}

/** Names that become environment variables or files. */
function nameFault(pattern: RegExp, expected: string): (name: string) => Fault | undefined {
    return (name) => (pattern.test(name) ? undefined : { found: `${quote(name)} is not a name`, expected });
}

/**
 * The schema of a MultiPlatformImage's plain arguments: the fleet and Pulumi's own options are not among them.
 *
 * @param now decides which ignore entries are over.
 */
export function imageSettings({ now = new Date() }: { now?: Date } = {}) {
    return fields({
        repository: late(repository)
            .optional()
            .describe("Where the image is released; or a `Repository`, which says how it is reached, too"),
        platforms: late(list(platform, { of: "platforms", min: 1, identity: platformIdentity })).describe(
            "What is built, in the order of the index",
        ),
        context: place("a folder's path or a Git or HTTPS address").describe(
            "What is built from; a path is relative to the stack's program",
        ),
        contexts: late(
            table(
                place("a path, an address, docker-image:// or oci-layout://", ["docker-image", "oci-layout"]),
                "contexts",
                (name) => faultIn(() => parseReference(name)),
            ),
        )
            .optional()
            .describe("Further contexts by name, for `FROM name` and `COPY --from=name`"),
        dockerfile: late(z.union([text("a path"), fields({ inline: text("a Dockerfile's content") })]))
            .optional()
            .describe("When it is not `Dockerfile` in the context"),
        target: target.optional().describe("The stage that is built; the last one when unset"),
        buildArgs: late(table(unshown, "build arguments", nameFault(/^[A-Za-z_]\w*$/, "letters, digits and _")))
            .default({})
            .describe("Build arguments by name; never secrets, the image's history shows them"),
        secrets: late(table(secretText("a secret"), "secrets", nameFault(/^[\w.-]+$/, "letters, digits and _ . -")))
            .default({})
            .describe("For `RUN --mount=type=secret,id=…`; secret"),
        ssh: late(
            list(fields({ id: text("a name"), paths: list(text("a path"), { of: "paths" }).optional() }), {
                of: "SSH agents {id, paths}",
                identity: ({ id }) => (typeof id === "string" ? id : undefined),
            }),
        )
            .default([])
            .describe("For `RUN --mount=type=ssh`"),
        labels: late(table(unshown, "labels")).default({}).describe("Of the images' configuration"),
        annotations: late(table(unshown, "annotations"))
            .default({})
            .describe("Of the index and of each platform's manifest"),
        addHosts: late(list(host, { of: "hosts" }))
            .default([])
            .describe("Names that RUN steps know: `name:address`"),
        network: choice(["default", "none", "host"])
            .default("default")
            .describe("Network of RUN steps; `default` is what the node gives"),
        noCache: flag().default(false).describe("Run every step again"),
        pull: flag().default(false).describe("Look up every base image again; rebuilds on every `up`"),
        cacheFrom: late(cacheFrom)
            .default([])
            .describe("Where steps done before are looked for; each platform has a cache of its own in it"),
        cacheTo: late(cacheTo).default([]).describe("Where steps are left for others; one kind each"),
        ...tagSettings(),
        immutable: late(list(choice(["versions", "commits"]), { of: "kinds of tags", identity: (kind) => kind }))
            .default([])
            .describe("The same for every full version's tag, and every commit's (`sha-0123456789ab`)"),
        gitTags: gitTags.optional().describe("Tags from the Git work tree that is built from"),
        emulation: choice(["refuse", "allow"])
            .default("refuse")
            .describe("Whether a node of another architecture may emulate a platform; outputs name it"),
        buildTimeout: buildTimeout
            .default("2 hours")
            .describe("After which a platform's build has failed; a node whose network is gone may say nothing at all"),
        test: test
            .optional()
            .describe(
                "What each platform's image must do on its own node; `false` switches the built-in test off, too",
            ),
        sbom: sbom.prefault({}).describe("The list of packages attested to each platform's image"),
        scan: scan(now).prefault({}).describe("What the scan of each platform refuses; `false` switches it off"),
        exports: imageExports,
        sign: sign.describe("Who signs; `false` releases unsigned, and has to be written"),
        revision: revision.optional().describe("Git commit of the source, for the provenance"),
    }).superRefine(crossChecks, always);
}

/** A MultiPlatformImage's arguments after parsing: defaults filled in, platforms in their normal spelling. */
export type ImageSettings = z.output<ReturnType<typeof imageSettings>>;

/**
 * Checks an image's arguments and fills in the defaults.
 *
 * @param subject `MultiPlatformImage "app"`.
 * @throws SettingsError
 */
export function parseImageSettings(subject: string, value: unknown, options?: { now?: Date }): ImageSettings {
    return parseSettings(subject, imageSettings(options) as z.ZodType<ImageSettings>, value);
}

/**
 * The same for arguments of which some are not known yet: {@link Unresolved} stands for those, and stays in the result.
 *
 * @throws SettingsError
 */
export function checkImageSettings(subject: string, value: unknown, options?: { now?: Date }): Late<ImageSettings> {
    return checkSettings(subject, imageSettings(options) as z.ZodType<ImageSettings>, value);
}
