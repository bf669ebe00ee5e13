import * as pulumi from "@pulumi/pulumi";
import { type OnpremSettings, parseOnpremSettings } from "../core/onprem-settings";
import {
    type DockerHost,
    ExternalFleet,
    type ExternalFleetArgs,
    type ExternalNode,
    type Fleet,
    ImageMirror,
    type ImageMirrorArgs,
    ManagedFleet,
    type ManagedFleetArgs,
    MultiPlatformImage,
    RegistryConnection,
    RegistryServer,
    type RegistryServerArgs,
    SigningKey,
} from "../index";
import { withFiles } from "./files";
import { imageArgs, outputsOfImage } from "./released";

const SUBJECT = "buildfleet:settings";

/** Builders in a machine room, a private registry, images brought in, and one image that is released. */
export async function onprem(settings: unknown): Promise<Record<string, unknown>> {
    const { mirror, builders, emulation, image, scan, sign, ...rest } = parseOnpremSettings(
        SUBJECT,
        withFiles(SUBJECT, settings),
    );
    const registry = createRegistry(rest);
    const mirrored = mirror && new ImageMirror("mirror", { ...(mirror as ImageMirrorArgs), to: { registry } });
    const released = new MultiPlatformImage("image", {
        fleet: createFleet(builders, registry, mirrored),
        repository: registry.repository(image.repository),
        ...imageArgs(image),
        buildArgs: { VERSION: image.version, ...image.buildArgs, ...mirroredArgs(image.mirrored, mirrored) },
        emulation,
        scan,
        sign: sign ?? { key: new SigningKey("signing-key") },
    });
    return {
        ...outputsOfImage(released),
        ...(mirrored ? { mirrored: mirrored.refs } : {}),
        ...(registry instanceof RegistryServer ? { registry: { address: registry.address, ca: registry.ca } } : {}),
    };
}

/** A registry that is there, or one that is set up: what is in it waits until it answers. */
function createRegistry({ registry, registryServer }: Pick<OnpremSettings, "registry" | "registryServer">) {
    if (registryServer) return new RegistryServer("registry", registryServer as RegistryServerArgs);
    if (registry) return new RegistryConnection("registry", registry);
    throw new Error("no registry in the settings");
}

type Registry = ReturnType<typeof createRegistry>;

// The settings are checked, by the very schemas of the components' arguments.
function createFleet(
    { external, managed }: OnpremSettings["builders"],
    registry: Registry,
    mirror: ImageMirror | undefined,
): Fleet {
    const withRoom = (own: ManagedFleetArgs["registries"]) =>
        pulumi
            .all([mirror?.nodeSettings ?? {}, registry.nodeSettings, own ?? {}])
            .apply((settings) => Object.assign({}, ...settings));
    if (managed) {
        const { registries, ...rest } = managed as ManagedFleetArgs;
        return new ManagedFleet("builders", { ...rest, registries: withRoom(registries) });
    }
    const { nodes, ...rest } = external as Omit<ExternalFleetArgs, "nodes"> & { nodes: ExternalNode[] };
    // Only what this stack starts can be told; a daemon that somebody else set up knows its registries by itself.
    const told = nodes.map((node) => {
        const docker = node.docker as pulumi.Unwrap<DockerHost> | undefined;
        return docker ? { ...node, docker: { ...docker, registries: withRoom(docker.registries) } } : node;
    });
    return new ExternalFleet("builders", { ...rest, nodes: told });
}

/** Build arguments that name what was mirrored: the build waits for it. */
function mirroredArgs(names: Record<string, string>, mirror: ImageMirror | undefined) {
    const refOf = (name: string) => pulumi.output(mirror?.refs).apply((refs) => refs?.[name] ?? "");
    return Object.fromEntries(Object.entries(names).map(([argument, name]) => [argument, refOf(name)]));
}
