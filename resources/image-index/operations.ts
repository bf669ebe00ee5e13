import { sha256 } from "../../core/digest";
import { composeIndex, indexMediaType, mediaTypes } from "../../core/image-index";
import { Platform } from "../../core/platform";
import type { RegistryConnection } from "../../core/registry-connection";
import { findBuild } from "../../drivers/buildkit";
import { readBuilder, readCertificate } from "../../drivers/buildx";
import { type RegistryAccess, withRegistry } from "../../drivers/registry-access";
import { changedInputs, defineOperations, isUnknown } from "../operations";

interface Child {
    platform: string;
    digest: string;
    /** The builder it was built with; empty for an image that was built elsewhere. */
    builder: string;
    node: string;
    emulated: boolean;
}

export interface Inputs {
    repository: string;
    connection: RegistryConnection;
    children: Child[];
    annotations: Record<string, string>;
    format: "oci" | "docker";
}

/** What is known of one platform's image. */
export interface PlatformImage {
    digest: string;
    /** Compressed bytes: configuration and layers. */
    size: number;
    node: string;
    emulated: boolean;
    /** How long the build took on the node, from the node's own history; -1 where its history has none of it. */
    durationMs: number;
}

interface State extends Inputs {
    digest: string;
    platforms: Record<string, PlatformImage>;
}

interface Manifest {
    config: { digest: string; size: number };
    layers: { size: number }[];
}

/** Reads one child back from the registry: it must be an image, and of the platform that was asked for. */
async function inspect(access: RegistryAccess, child: Child) {
    const { bytes, mediaType, size } = await access.client.getManifest(access.path, child.digest);
    const where = `${access.registry}/${access.path}@${child.digest}`;
    if (mediaType !== mediaTypes.ociManifest && mediaType !== mediaTypes.dockerManifest)
        throw new Error(`${where} is no image but ${mediaType}; build one platform with one builder`);
    const manifest: Manifest = JSON.parse(bytes.toString());
    const config = JSON.parse((await access.client.getBlob(access.path, manifest.config.digest)).toString());
    const actual = [config.os, config.architecture, config.variant].filter(Boolean).join("/");
    if (!Platform.parse(actual).equals(Platform.parse(child.platform)))
        throw new Error(`${where} is an image for ${actual}, not for ${child.platform}`);
    return {
        descriptor: { platform: child.platform, digest: child.digest, size, mediaType },
        imageSize: manifest.config.size + manifest.layers.reduce((sum, layer) => sum + layer.size, 0),
    };
}

/** How long the build took, asked of the node that did it. */
async function duration(child: Child): Promise<number> {
    const entry = child.builder ? readBuilder(child.builder) : undefined;
    if (!entry) return -1;
    const certificate = readCertificate(child.builder);
    const tls = certificate ? { ...certificate, serverName: entry.driverOptions.servername } : undefined;
    return (await findBuild({ endpoint: entry.endpoint, tls }, child.digest))?.durationMs ?? -1;
}

async function join(inputs: Inputs): Promise<State> {
    return withRegistry(inputs.repository, inputs.connection, async (access) => {
        const [inspected, durations] = await Promise.all([
            Promise.all(inputs.children.map((child) => inspect(access, child))),
            Promise.all(inputs.children.map(duration)),
        ]);
        const bytes = composeIndex({
            children: inspected.map(({ descriptor }) => descriptor),
            annotations: inputs.annotations,
            format: inputs.format,
        });
        const digest = sha256(bytes);
        await access.client.putManifest(access.path, digest, indexMediaType(inputs.format), bytes);
        const platforms = inputs.children.map((child, i): [string, PlatformImage] => [
            child.platform,
            {
                digest: child.digest,
                size: inspected[i]?.imageSize ?? 0,
                node: child.node,
                emulated: child.emulated,
                durationMs: durations[i] ?? -1,
            },
        ]);
        return { ...inputs, digest, platforms: Object.fromEntries(platforms) };
    });
}

/** Which node built it is told of a digest, not a part of it: a builder that moved changes no index. */
const content = ({ children }: Inputs) => children.flatMap(({ platform, digest }) => [platform, digest]);

export const operations = defineOperations<Inputs, State>({
    async create(inputs) {
        const state = await join(inputs);
        return { id: `${inputs.repository}@${state.digest}`, outs: state };
    },
    async changes(state, inputs) {
        const changed = changedInputs(state, inputs, ["children", "connection"]);
        if (!Array.isArray(inputs.children) || isUnknown(content(inputs))) return [...changed, "children"];
        return String(content(state)) === String(content(inputs)) ? changed : [...changed, "children"];
    },
    async update(state, inputs) {
        const next = await join(inputs);
        // An image that was not built again was built where it was, whatever node its builder points at by now.
        const platforms = Object.entries(next.platforms).map(([platform, image]): [string, PlatformImage] => {
            const before = state.platforms[platform];
            return [platform, before?.digest === image.digest ? before : image];
        });
        return { ...next, platforms: Object.fromEntries(platforms) };
    },
    async read(state) {
        return withRegistry(state.repository, state.connection, async ({ client, path }) =>
            (await client.headManifest(path, state.digest)) ? state : undefined,
        );
    },
});
