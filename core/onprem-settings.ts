import type { z } from "zod";
import { type ExternalFleetSettings, externalFleetSettings } from "./external-fleet-settings";
import { scan, sign } from "./gate-settings";
import { type ImageMirrorSettings, imageMirrorSettings } from "./image-mirror-settings";
import type { ImageSettings } from "./image-settings";
import { type LocalSettings, releasedImage, repositoryName } from "./local-settings";
import { type ManagedFleetSettings, managedFleetSettings } from "./managed-fleet-settings";
import { type RegistrySettings, registrySettings } from "./registry-settings";
import { always, choice, report, text } from "./schema";
import { exactlyOne, fields, isTable, table } from "./schema-tables";
import { parseSettings } from "./settings";
import { oneOf, quote } from "./text";

/**
 * The settings of the `onprem` stack: a private registry that somebody runs, builders in the machine room, images brought in, and one
 * image that is released.
 *
 * @param now decides which ignore entries are over.
 */
export function onpremSettings({ now = new Date() }: { now?: Date } = {}) {
    const image = fields({
        ...releasedImage,
        repository: repositoryName.default("hello").describe("The image's repository in the registry"),
        mirrored: table(text("a name in mirror.images"), "names of mirrored images")
            .default({})
            .describe("Build arguments whose value is a mirrored image: `BASE: debian`"),
    });
    return fields({
        registry: registrySettings().describe("The private registry"),
        mirror: imageMirrorSettings()
            .optional()
            .describe("What is brought into the registry before the image is built; `to` is the registry"),
        builders: exactlyOne({ external: externalFleetSettings(), managed: managedFleetSettings() }).describe(
            "`external`: hosts on which somebody else has set up BuildKit; `managed`: hosts that this stack sets up over SSH",
        ),
        emulation: choice(["refuse", "allow"])
            .default("refuse")
            .describe("Whether a node of another architecture may emulate a platform; outputs name it"),
        image: image.prefault({}).describe("The image that is released"),
        scan: scan(now).prefault({}).describe("What the scan of each platform refuses; `false` switches it off"),
        sign: sign.optional().describe("Who signs; a key that the stack makes, when unset"),
    }).superRefine(checkMirrored, always);
}

/** The settings after parsing, defaults filled in. */
export interface OnpremSettings {
    registry: RegistrySettings;
    mirror?: ImageMirrorSettings;
    builders: { external?: ExternalFleetSettings; managed?: ManagedFleetSettings };
    emulation: "refuse" | "allow";
    image: LocalSettings["image"] & { mirrored: Record<string, string> };
    scan: LocalSettings["scan"];
    sign?: ImageSettings["sign"];
}

/** @throws SettingsError with every problem at once. */
export function parseOnpremSettings(subject: string, value: unknown, options?: { now?: Date }): OnpremSettings {
    return parseSettings(subject, onpremSettings(options) as z.ZodType, withTarget(value)) as OnpremSettings;
}

/** A mirror without a target has the registry as one, whatever that is called. */
function withTarget(value: unknown): unknown {
    if (!isTable(value) || !isTable(value.mirror) || value.mirror.to !== undefined) return value;
    return { ...value, mirror: { ...value.mirror, to: { registry: "registry.invalid" } } };
}

function checkMirrored(value: unknown, ctx: z.core.$RefinementCtx<unknown>): void {
    if (!isTable(value)) return;
    const { mirror, image } = value;
    if (isTable(mirror) && isTable(mirror.to) && mirror.to.registry !== "registry.invalid")
        report(ctx, { found: "set", expected: "nothing: images are mirrored to the registry" }, ["mirror", "to"]);
    const names = isTable(mirror) && isTable(mirror.images) ? Object.keys(mirror.images) : [];
    for (const [argument, name] of Object.entries(isTable(image) && isTable(image.mirrored) ? image.mirrored : {})) {
        if (typeof name !== "string" || names.includes(name)) continue;
        const found = `no image ${quote(name)} is mirrored`;
        const expected = names.length > 0 ? oneOf(names) : "an image in mirror.images";
        report(ctx, { found, expected }, ["image", "mirrored", argument]);
    }
}
