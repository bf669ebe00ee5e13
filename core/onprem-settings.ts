import { z } from "zod";
import { type ExternalFleetSettings, externalFleetSettings } from "./external-fleet-settings";
import { scan, sign } from "./gate-settings";
import { type ImageMirrorSettings, imageMirrorSettings } from "./image-mirror-settings";
import type { ImageSettings } from "./image-settings";
import { type LocalSettings, releasedImage, repositoryName } from "./local-settings";
import { type ManagedFleetSettings, managedFleetSettings } from "./managed-fleet-settings";
import { type RegistryServerArguments, registryServerSettings } from "./registry-server/settings";
import { type RegistrySettings, registrySettings } from "./registry-settings";
import { always, choice, report, text } from "./schema";
import { exactlyOne, fields, isTable, table } from "./schema-tables";
import { parseSettings } from "./settings";
import { sshSettings } from "./ssh-settings";
import { oneOf, quote } from "./text";

/** Stands for the registry as the mirror's target, whatever it is called. */
const TARGET = "registry.invalid";

/**
 * The settings of the `onprem` stack: a private registry, builders in the machine room, images brought in, and one image that is
 * released.
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
        registry: registrySettings().optional().describe("The private registry, where somebody runs one"),
        registryServer: registryServerSettings(z.union([hostName, sshSettings()]))
            .optional()
            .describe("In place of `registry`: one that this stack sets up; `ssh` may be the name of a managed host"),
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
    })
        .superRefine(checkRegistry, always)
        .superRefine(checkMirrored, always);
}

const hostName = text("the name of a host in builders.managed.hosts");

/** The settings after parsing, defaults filled in. */
export interface OnpremSettings {
    /** This or `registryServer`. */
    registry?: RegistrySettings;
    registryServer?: RegistryServerArguments;
    mirror?: ImageMirrorSettings;
    builders: { external?: ExternalFleetSettings; managed?: ManagedFleetSettings };
    emulation: "refuse" | "allow";
    image: LocalSettings["image"] & { mirrored: Record<string, string> };
    scan: LocalSettings["scan"];
    sign?: ImageSettings["sign"];
}

/** @throws SettingsError with every problem at once. */
export function parseOnpremSettings(subject: string, value: unknown, options?: { now?: Date }): OnpremSettings {
    const settings = parseSettings(subject, onpremSettings(options) as z.ZodType, withTarget(value)) as OnpremSettings;
    const { registryServer, builders } = settings;
    if (!registryServer || typeof registryServer.ssh !== "string") return settings;
    const ssh = builders.managed?.hosts[registryServer.ssh]?.ssh;
    return ssh ? { ...settings, registryServer: { ...registryServer, ssh } } : settings;
}

/** A mirror without a target has the registry as one, whatever that is called. */
function withTarget(value: unknown): unknown {
    if (!isTable(value) || !isTable(value.mirror) || value.mirror.to !== undefined) return value;
    return { ...value, mirror: { ...value.mirror, to: { registry: TARGET } } };
}

/** The room has one registry, and a host that is called by its name is one of the room's. */
function checkRegistry(value: unknown, ctx: z.core.$RefinementCtx<unknown>): void {
    if (!isTable(value)) return;
    const { registry, registryServer, builders } = value;
    if (registry === undefined && registryServer === undefined)
        report(ctx, { found: "missing", expected: "registry, or registryServer for a room that has none" }, [
            "registry",
        ]);
    if (registry !== undefined && registryServer !== undefined)
        report(ctx, { found: "set together with registry", expected: "one of them" }, ["registryServer"]);
    if (!isTable(registryServer) || typeof registryServer.ssh !== "string") return;
    const managed = isTable(builders) && isTable(builders.managed) ? builders.managed.hosts : undefined;
    const names = isTable(managed) ? Object.keys(managed) : [];
    if (names.includes(registryServer.ssh)) return;
    const found = `${quote(registryServer.ssh)} is not a managed host`;
    const expected =
        names.length > 0 ? `${oneOf(names)}, or {host, …}` : "{host, …}: there are no builders.managed.hosts";
    report(ctx, { found, expected }, ["registryServer", "ssh"]);
}

function checkMirrored(value: unknown, ctx: z.core.$RefinementCtx<unknown>): void {
    if (!isTable(value)) return;
    const { mirror, image } = value;
    if (isTable(mirror) && isTable(mirror.to) && mirror.to.registry !== TARGET)
        report(ctx, { found: "set", expected: "nothing: images are mirrored to the registry" }, ["mirror", "to"]);
    const names = isTable(mirror) && isTable(mirror.images) ? Object.keys(mirror.images) : [];
    for (const [argument, name] of Object.entries(isTable(image) && isTable(image.mirrored) ? image.mirrored : {})) {
        if (typeof name !== "string" || names.includes(name)) continue;
        const found = `no image ${quote(name)} is mirrored`;
        const expected = names.length > 0 ? oneOf(names) : "an image in mirror.images";
        report(ctx, { found, expected }, ["image", "mirrored", argument]);
    }
}
