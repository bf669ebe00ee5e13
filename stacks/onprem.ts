import * as pulumi from "@pulumi/pulumi";
import { type OnpremSettings, parseOnpremSettings } from "../core/onprem-settings";
import {
    ExternalFleet,
    type ExternalFleetArgs,
    type Fleet,
    ImageMirror,
    type ImageMirrorArgs,
    ManagedFleet,
    type ManagedFleetArgs,
    MultiPlatformImage,
    RegistryConnection,
    SigningKey,
} from "../index";
import { withFiles } from "./files";
import { imageArgs, outputsOfImage } from "./released";

const SUBJECT = "buildfleet:settings";

/** Builders in a machine room, a private registry, images brought in, and one image that is released. */
export async function onprem(settings: unknown): Promise<Record<string, unknown>> {
    const { registry, mirror, builders, emulation, image, scan, sign } = parseOnpremSettings(
        SUBJECT,
        withFiles(SUBJECT, settings),
    );
    const connection = new RegistryConnection("registry", registry);
    const mirrored =
        mirror && new ImageMirror("mirror", { ...(mirror as ImageMirrorArgs), to: { registry: connection } });
    const released = new MultiPlatformImage("image", {
        fleet: createFleet(builders, connection, mirrored),
        repository: connection.repository(image.repository),
        ...imageArgs(image),
        buildArgs: { VERSION: image.version, ...image.buildArgs, ...mirroredArgs(image.mirrored, mirrored) },
        emulation,
        scan,
        sign: sign ?? { key: new SigningKey("signing-key") },
    });
    return { ...outputsOfImage(released), ...(mirrored ? { mirrored: mirrored.refs } : {}) };
}

// The settings are checked, by the very schemas of the components' arguments.
function createFleet(
    { external, managed }: OnpremSettings["builders"],
    registry: RegistryConnection,
    mirror: ImageMirror | undefined,
): Fleet {
    if (!managed) return new ExternalFleet("builders", external as ExternalFleetArgs);
    const { registries, ...rest } = managed as ManagedFleetArgs;
    const all = pulumi
        .all([mirror?.nodeSettings ?? {}, registry.nodeSettings, registries ?? {}])
        .apply((settings) => Object.assign({}, ...settings));
    return new ManagedFleet("builders", { ...rest, registries: all });
}

/** Build arguments that name what was mirrored: the build waits for it. */
function mirroredArgs(names: Record<string, string>, mirror: ImageMirror | undefined) {
    const refOf = (name: string) => pulumi.output(mirror?.refs).apply((refs) => refs?.[name] ?? "");
    return Object.fromEntries(Object.entries(names).map(([argument, name]) => [argument, refOf(name)]));
}
