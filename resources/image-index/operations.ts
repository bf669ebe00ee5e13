import { isDeepStrictEqual } from "node:util";
import { sha256 } from "../../core/digest";
import { composeIndex, indexMediaType } from "../../core/image-index";
import { platformLabel } from "../../core/index-platform";
import { parseReference } from "../../core/reference";
import type { RegistryConnection } from "../../core/registry-connection";
import { findBuild } from "../../drivers/buildkit";
import { readBuilder, readCertificate } from "../../drivers/buildx";
import { dockerBuildkit } from "../../drivers/docker-builder";
import { type RegistryAccess, withRegistry } from "../../drivers/registry-access";
import { changedInputs, defineOperations, isUnknown } from "../operations";
import { bring } from "./bring";
import { type Child, type Found, findBuilt, findElsewhere } from "./children";

export interface Inputs {
    repository: string;
    connection: RegistryConnection;
    children: Child[];
    /** How the registry of each child with an `image` is reached, in the order of the children; null: as the index's own. */
    connections?: (RegistryConnection | null)[];
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

/** One entry of the index, as it was written. */
export interface IndexEntry {
    /** `linux/arm/v7`, `windows(10.0.20348)/amd64`. */
    platform: string;
    digest: string;
    /** `registry/path@digest` it was taken from. */
    source: string;
    mediaType: string;
    /** Compressed bytes: configuration and layers. */
    size: number;
}

interface State extends Inputs {
    digest: string;
    platforms: Record<string, PlatformImage>;
    /** In the order of the index. */
    entries?: IndexEntry[];
    /** The digest that each child's `image` pointed at; null for a child without one. */
    resolved?: (string | null)[];
}

/** How long the build took, asked of the node that did it. */
async function duration(child: Child): Promise<number> {
    const container = child.builder ? dockerBuildkit(child.builder) : undefined;
    if (container) return (await findBuild(container, child.digest))?.durationMs ?? -1;
    const entry = child.builder ? readBuilder(child.builder) : undefined;
    if (!entry) return -1;
    const certificate = readCertificate(child.builder);
    const tls = certificate ? { ...certificate, serverName: entry.driverOptions.servername } : undefined;
    return (await findBuild({ endpoint: entry.endpoint, tls }, child.digest))?.durationMs ?? -1;
}

/** How a child's registry is reached: as was said, or as the index's own where it is the same. */
function connectionOf({ repository, connection, connections }: Inputs, image: string, position: number) {
    const isOwn = parseReference(image).registry === parseReference(repository).registry;
    return connections?.[position] ?? (isOwn ? connection : {});
}

/** Gives access to each child's registry: one client for all that are reached the same way. */
async function withSources<T>(
    inputs: Inputs,
    target: RegistryAccess,
    use: (sources: RegistryAccess[]) => Promise<T>,
): Promise<T> {
    const opened: { registry: string; connection: RegistryConnection; access: RegistryAccess }[] = [
        { registry: target.registry, connection: inputs.connection, access: target },
    ];
    const open = async (position: number, sources: RegistryAccess[]): Promise<T> => {
        const child = inputs.children[position];
        if (!child) return use(sources);
        if (!child.image) return open(position + 1, [...sources, target]);
        const { registry } = parseReference(child.image);
        const connection = connectionOf(inputs, child.image, position);
        const known = opened.find((one) => one.registry === registry && isDeepStrictEqual(one.connection, connection));
        if (known) return open(position + 1, [...sources, known.access]);
        return withRegistry(child.image, connection, (access) => {
            opened.push({ registry, connection, access });
            return open(position + 1, [...sources, access]);
        });
    };
    return open(0, []);
}

/** Everything is looked at before anything is written: an image that does not fit leaves no half of a join behind. */
async function join(inputs: Inputs): Promise<State> {
    return withRegistry(inputs.repository, inputs.connection, (target) =>
        withSources(inputs, target, async (sources) => {
            const { children } = inputs;
            const find = (child: Child, access: RegistryAccess) =>
                child.image ? findElsewhere(access, child, child.image) : findBuilt(target, child);
            const [found, durations] = await Promise.all([
                Promise.all(children.map((child, i) => find(child, sources[i] ?? target))),
                Promise.all(children.map(duration)),
            ]);
            const bytes = composeIndex({
                children: found.map(({ platform, digest, mediaType, bytes: { length } }, i) => ({
                    platform,
                    digest,
                    size: length,
                    mediaType,
                    annotations: children[i]?.annotations ?? {},
                })),
                annotations: inputs.annotations,
                format: inputs.format,
            });
            await Promise.all(
                found.map((image, i) => {
                    const source = sources[i] ?? target;
                    return source === target && image.path === target.path ? undefined : bring(source, image, target);
                }),
            );
            const digest = sha256(bytes);
            await target.client.putManifest(target.path, digest, indexMediaType(inputs.format), bytes);
            return { ...inputs, digest, ...described(children, found, durations) };
        }),
    );
}

function described(children: Child[], found: Found[], durations: number[]) {
    const rows = children.flatMap((child, i) => {
        const image = found[i];
        return image ? [{ child, image, durationMs: durations[i] ?? -1 }] : [];
    });
    const platforms = rows.map(({ child, image, durationMs }): [string, PlatformImage] => [
        child.image ? platformLabel(image.platform) : child.platform,
        { digest: image.digest, size: image.imageSize, node: child.node, emulated: child.emulated, durationMs },
    ]);
    const entries = rows.map(({ image: { platform, digest, source, mediaType, imageSize } }) => ({
        ...{ platform: platformLabel(platform), digest, source },
        ...{ mediaType, size: imageSize },
    }));
    const resolved = rows.map(({ child, image }) => (child.image ? image.pointed : null));
    return { platforms: Object.fromEntries(platforms), entries, resolved };
}

/** Which node built it is told of a digest, not a part of it: a builder that moved changes no index. */
const content = ({ children }: Inputs) =>
    JSON.parse(JSON.stringify(children.map(({ builder: _b, node: _n, emulated: _e, ...rest }) => rest)));

/** Whether a tag that an image was taken from points at another one by now. One that is gone is not: the index has its own copy. */
async function sourceMoved(state: State, inputs: Inputs): Promise<boolean> {
    const moved = inputs.children.map(async ({ image }, i) => {
        const { tag = "latest", digest, repository } = parseReference(image ?? inputs.repository);
        if (!image || digest) return false;
        const connection = connectionOf(inputs, image, i);
        const at = await withRegistry(image, connection, ({ client }) => client.headManifest(repository, tag));
        return at !== undefined && at.digest !== state.resolved?.[i];
    });
    return (await Promise.all(moved)).includes(true);
}

export const operations = defineOperations<Inputs, State>({
    async create(inputs) {
        const state = await join(inputs);
        return { id: `${inputs.repository}@${state.digest}`, outs: state };
    },
    async changes(state, inputs) {
        const changed = changedInputs(state, inputs, ["children", "connection", "connections"]);
        if (!Array.isArray(inputs.children) || isUnknown(content(inputs))) return [...changed, "children"];
        if (!isDeepStrictEqual(content(state), content(inputs))) return [...changed, "children"];
        if (changed.length > 0 || isUnknown(inputs)) return changed;
        return (await sourceMoved(state, inputs)) ? ["children"] : [];
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
