import { z } from "zod";
import { isDigest } from "./digest";
import { platform, platformIdentity } from "./leaves";
import { FormatError } from "./problems";
import { isRegistry, parseReference } from "./reference";
import { always, flag, late, report, text } from "./schema";
import { exactlyOne, fields, isTable, list, table } from "./schema-tables";
import { checkSettings, type Late } from "./settings";
import { quote } from "./text";

const reference = text('an image such as "docker.io/library/debian:12"', (value) => {
    parseReference(value);
    return value;
});

const name = text('a name such as "base/debian:12"', (value) => {
    // As if below a registry: a first part with a dot would be taken for one.
    const { digest, registry } = parseReference(`registry.invalid/${value}`);
    if (digest !== undefined || registry !== "registry.invalid") {
        throw new FormatError(
            `${quote(value)} carries a digest`,
            "a path and perhaps a tag; the digest is the image's own",
        );
    }
    return value;
});

const registry = text('a registry such as "registry.example.com:5000/mirror"', (value) => {
    const [host = "", ...path] = value.split("/");
    if (value.includes("://") || !isRegistry(host)) {
        throw new FormatError(
            `${quote(value)} is not a registry`,
            'its host, and perhaps a path: "registry.example.com:5000/mirror"',
        );
    }
    if (path.length > 0) parseReference(`${host}/${path.join("/")}/any`);
    return value;
});

const contents = text("a digest", (value) => {
    if (!isDigest(value)) {
        throw new FormatError(`${quote(value)} is not a digest`, "what the collecting side's output `contents` says");
    }
    return value;
});

const platforms = late(list(platform, { of: "platforms", identity: platformIdentity }));

const image = fields(
    {
        source: late(reference).describe("What is mirrored; by tag, by digest, or both: then the digest counts"),
        name: late(name).optional().describe("Its path and tag at the target; those at the source when unset"),
        platforms: platforms.optional().describe("What is taken of it; the mirror's `platforms` when unset"),
    },
    "an image, or a table with its source",
);

/** The schema of an ImageMirror's plain arguments; connections and Pulumi's own options are not among them. */
export function imageMirrorSettings() {
    return fields({
        images: late(table(z.union([reference, image]), "images"))
            .default({})
            .describe("What is mirrored, by a name of your own; everything in the layout when unset"),
        platforms: platforms.default([]).describe("What is taken of each image; all platforms when unset"),
        from: fields({
            folder: late(text("a folder")).optional().describe("An OCI image layout"),
            archive: late(text("a file")).optional().describe("A tar of one"),
            contents: late(contents).optional().describe("What the collecting side said it holds; else it is refused"),
        })
            .optional()
            .describe("A layout to load from; the registries that the images name when unset"),
        to: exactlyOne({
            registry: late(registry).describe("A registry's host, and perhaps a path in it"),
            folder: late(text("a folder")).describe("An OCI image layout"),
            archive: late(text("a file")).describe("A tar of one"),
        }).describe("Where the images go"),
        referrers: flag().default(true).describe("Whether signatures and attestations go with the images"),
    }).superRefine(crossChecks, always);
}

/** An ImageMirror's arguments after parsing. */
export type ImageMirrorSettings = z.output<ReturnType<typeof imageMirrorSettings>>;

/**
 * Checks a mirror's arguments and fills in the defaults.
 *
 * @param subject `ImageMirror "base"`.
 * @throws SettingsError with every problem at once.
 */
export function checkImageMirrorSettings(subject: string, value: unknown): Late<ImageMirrorSettings> {
    return checkSettings(subject, imageMirrorSettings() as z.ZodType<ImageMirrorSettings>, value);
}

/** Path and tag that an image gets at the target: those it has at the source, unless it was given others. */
export function targetName(source: string, named = ""): { path: string; tag?: string } {
    const given = parseReference(named === "" ? source : `registry.invalid/${named}`);
    const tag = given.tag ?? (named === "" && given.digest === undefined ? "latest" : undefined);
    return { path: given.repository, ...(tag === undefined ? {} : { tag }) };
}

function crossChecks(value: unknown, ctx: z.core.$RefinementCtx<unknown>): void {
    if (!isTable(value)) return;
    const { from, images, to } = value;
    const fromLayout = isTable(from) && (from.folder !== undefined || from.archive !== undefined);
    if (isTable(from) && from.folder !== undefined && from.archive !== undefined) {
        report(ctx, { found: "folder and archive are both set", expected: "one of them" }, ["from"]);
    } else if (isTable(from) && !fromLayout) {
        report(ctx, { found: "neither folder nor archive is set", expected: "one of them" }, ["from"]);
    }
    if (from === undefined && (images === undefined || (isTable(images) && Object.keys(images).length === 0))) {
        report(ctx, { found: "missing", expected: "at least one image, or a layout to load from (`from`)" }, [
            "images",
        ]);
    }
    const same = (["folder", "archive"] as const).find(
        (kind) => isTable(from) && isTable(to) && typeof to[kind] === "string" && from[kind] === to[kind],
    );
    if (same) report(ctx, { found: "the same place as `from`", expected: "another one" }, ["to", same]);
    if (isTable(images)) sameNames(images, ctx);
}

/** Two images can't have one name at the target. */
function sameNames(images: Record<string, unknown>, ctx: z.core.$RefinementCtx<unknown>): void {
    const seen = new Map<string, string>();
    for (const [key, value] of Object.entries(images)) {
        const source = isTable(value) ? value.source : value;
        const given = isTable(value) ? (value.name ?? "") : "";
        const at = typeof source === "string" && typeof given === "string" ? nameAt(source, given) : undefined;
        const earlier = at === undefined ? undefined : seen.get(at);
        if (at !== undefined && earlier !== undefined) {
            const found = `${quote(at)} at the target, as images.${earlier} is`;
            report(ctx, { found, expected: "a name of its own: {source, name}" }, ["images", key]);
        } else if (at !== undefined) seen.set(at, key);
    }
}

function nameAt(source: string, given: string): string | undefined {
    try {
        const { path, tag } = targetName(source, given);
        return tag === undefined ? undefined : `${path}:${tag}`;
    } catch (error) {
        if (error instanceof FormatError) return undefined;
        throw error;
    }
}
