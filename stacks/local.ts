import { existsSync, readFileSync } from "node:fs";
import { join } from "node:path";
import * as pulumi from "@pulumi/pulumi";
import { type LocalSettings, parseLocalSettings } from "../core/local-settings";
import { LocalFleet, LocalRegistry, MultiPlatformImage, SigningKey } from "../index";
import { imageArgs, outputsOfImage } from "./released";

/** A registry, a fleet and one image, all on this machine. */
export async function local(settings: unknown): Promise<Record<string, unknown>> {
    const parsed = parseLocalSettings("buildfleet:settings", settings);
    const { registry, nodes, emulation, image, scan, maxParallelism, memory, cpus, stateFolder } = parsed;
    const localRegistry = new LocalRegistry("registry", {
        port: registry.port,
        storage: registry.storage ?? join(stateFolder, "registry"),
        folder: join(stateFolder, "registry-process"),
    });
    const fleet = new LocalFleet("builders", {
        platforms: image.platforms,
        nodes,
        registries: localRegistry.nodeSettings,
        maxParallelism,
        ...(memory === undefined ? {} : { memory }),
        ...(cpus === undefined ? {} : { cpus }),
        folder: join(stateFolder, "fleet"),
    });
    const key = new SigningKey("signing-key");
    // The daemons are being made while the image is still declared: their parents are known to the engine then.
    await declared(localRegistry, fleet);
    const released = new MultiPlatformImage("image", {
        fleet,
        repository: localRegistry.repository(image.repository),
        ...imageArgs(image),
        buildArgs: { ...baseArgs(stateFolder, registry.port), VERSION: image.version, ...image.buildArgs },
        emulation,
        scan: scanOf(scan, image.context),
        sign: { key },
    });
    return outputsOfImage(released);
}

/** Components are registered at once, in previews too; their children's registrations are on their way one turn later. */
async function declared(...components: pulumi.ComponentResource[]): Promise<void> {
    await new Promise((done) => pulumi.all(components.map(({ urn }) => urn)).apply(done));
    await new Promise(setImmediate);
}

/**
 * Base images that were made on this machine and stand in the local registry, named by the set-up in `base.json`; none
 * where a public registry answers, and the Dockerfile's own defaults are used.
 */
function baseArgs(stateFolder: string, port: number): Record<string, string> {
    const path = join(stateFolder, "base.json");
    if (!existsSync(path)) return {};
    const { source, base, buildBase } = JSON.parse(readFileSync(path, "utf8"));
    if (source === "public") return {};
    return { BASE: `127.0.0.1:${port}/${base}`, BUILD_BASE: `127.0.0.1:${port}/${buildBase}` };
}

/** The example's own advisories stand in where the public database can't be reached. */
function scanOf(scan: LocalSettings["scan"], context: string): LocalSettings["scan"] {
    const advisories = join(context, "advisories");
    if (scan === false || scan.advisories !== undefined || !existsSync(advisories)) return scan;
    return { ...scan, advisories, advisoriesUse: "offline" };
}
