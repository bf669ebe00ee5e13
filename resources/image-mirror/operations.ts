import { existsSync } from "node:fs";
import { resolve } from "node:path";
import { sha256 } from "../../core/digest";
import { targetName } from "../../core/image-mirror-settings";
import { formatReference, parseReference } from "../../core/reference";
import type { RegistryConnection } from "../../core/registry-connection";
import {
    type Amount,
    layoutName,
    lookForMoved,
    type Mirrored,
    type MirrorOptions,
    mirrorImages,
} from "../../drivers/mirror";
import { digestsByName, LayoutError, readLayout } from "../../drivers/oci-layout";
import { progress } from "../../drivers/progress";
import { withRegistry } from "../../drivers/registry-access";
import { changedInputs, defineOperations, isUnknown } from "../operations";

interface Image {
    source: string;
    /** Path and tag at the target; empty: those of the source. */
    name: string;
    /** Empty: the mirror's. */
    platforms: string[];
}

export interface Inputs {
    /** For messages: `ImageMirror "base"`. */
    subject: string;
    images: Record<string, Image>;
    platforms: string[];
    from: { folder?: string; archive?: string; contents?: string };
    /** `registry`: host and perhaps a path. */
    to: { registry?: string; folder?: string; archive?: string };
    /** Of the target's registry. */
    connection: RegistryConnection;
    /** Of the source's, by host. */
    connections: Record<string, RegistryConnection>;
    referrers: boolean;
}

interface State extends Inputs {
    /** Of each image at the target, by the user's name for it; by its name in the layout, where all of it was loaded. */
    digests: Record<string, string>;
    /** The digest that each image's source pointed at, by the same names. States of earlier versions lack it. */
    resolved?: Record<string, string>;
    /** `registry/path@sha256:…`; none where the target is a layout. */
    refs: Record<string, string>;
    /** `path:tag` at the target's registry, by the same names. */
    tagged: Record<string, string>;
    /** Layers and configurations, and their bytes, of the last run. */
    copied: Amount;
    mounted: Amount;
    skipped: Amount;
    /** Digest of the layout's `index.json` as this mirror has left it; empty for a registry. */
    contents: string;
    /** What a refresh did not find at the target. */
    lost: string[];
}

/** Host and path of `registry.example.com:5000/mirror`. */
function placeOf(registry = ""): { host: string | undefined; below: string[] } {
    const [host, ...below] = registry.split("/");
    return { host: host || undefined, below };
}

/** What the driver is asked for. */
function optionsOf(inputs: Inputs): MirrorOptions {
    const { host, below } = placeOf(inputs.to.registry);
    const at = (source: string, name: string) => {
        const { path, ...tag } = targetName(source, name);
        return { path: [...below, path].join("/"), ...tag };
    };
    const images = Object.entries(inputs.images).map(([key, { source, name, platforms }]) => ({
        key,
        source: parseReference(source),
        platforms: platforms.length > 0 ? platforms : inputs.platforms,
        ...at(source, name),
    }));
    const { folder, archive, contents } = inputs.from;
    return {
        subject: inputs.subject,
        from: { ...absolute({ folder, archive }), ...(contents === undefined ? {} : { contents }) },
        to: host === undefined ? absolute(inputs.to) : { registry: host },
        connection: inputs.connection,
        connections: inputs.connections,
        images,
        place: (reference) => at(formatReference(reference), ""),
        platforms: inputs.platforms,
        referrers: inputs.referrers,
    };
}

async function mirror(inputs: Inputs, forget: readonly string[] = []): Promise<State> {
    const result = await mirrorImages({ ...optionsOf(inputs), forget });
    return { ...inputs, ...told(result, placeOf(inputs.to.registry).host) };
}

/** Relative to the stack's program, where dynamic providers run. */
function absolute({ folder, archive }: { folder?: string | undefined; archive?: string | undefined }) {
    return {
        ...(folder === undefined ? {} : { folder: resolve(folder) }),
        ...(archive === undefined ? {} : { archive: resolve(archive) }),
    };
}

function told({ images, contents, ...amounts }: Mirrored, host: string | undefined) {
    const all = Object.entries(images);
    const refs = host === undefined ? [] : all.map(([key, { path, digest }]) => [key, `${host}/${path}@${digest}`]);
    const tagged = all.flatMap(([key, { path, tag }]) => (host && tag ? [[key, `${path}:${tag}`]] : []));
    return {
        ...amounts,
        digests: Object.fromEntries(all.map(([key, { digest }]) => [key, digest])),
        resolved: Object.fromEntries(all.map(([key, { resolved }]) => [key, resolved])),
        refs: Object.fromEntries(refs),
        tagged: Object.fromEntries(tagged),
        contents: contents ?? "",
        lost: [],
    };
}

const nameOf = ({ source }: Image) => layoutName(parseReference(source));

/** The layout's name of an image of the state; one that was loaded unasked goes by it already. */
const nameIn = ({ images }: Inputs, key: string) => (images[key] ? nameOf(images[key]) : key);

/** Names in a layout that are no longer asked for; not those that another mirror has given to another image since. */
async function dropped(state: State, inputs: Inputs): Promise<string[]> {
    const wanted = Object.values(inputs.images).map(nameOf);
    const left = Object.keys(state.digests).filter((key) => state.images[key] && !wanted.includes(nameIn(state, key)));
    if (left.length === 0 || state.to.registry !== undefined) return [];
    const there = (await layoutAt(state))?.digests;
    return left.filter((key) => there?.get(nameIn(state, key)) === state.digests[key]).map((key) => nameIn(state, key));
}

/** The layout that the state is of; nothing where there is none, or none that can be read. */
async function layoutAt({ to }: State): Promise<{ index: Buffer; digests: Map<string, string> } | undefined> {
    const place = absolute(to);
    if (!existsSync(place.folder ?? place.archive ?? "")) return undefined;
    try {
        const layout = await readLayout(place);
        await layout.close();
        return { index: layout.index, digests: digestsByName(layout) };
    } catch (error) {
        if (error instanceof LayoutError) return undefined;
        throw error;
    }
}

/** What is no longer in the layout. A folder may hold what other mirrors have put there, too; an archive is this one's. */
async function lostInLayout(state: State): Promise<string[]> {
    const layout = await layoutAt(state);
    const keys = Object.keys(state.digests);
    if (state.to.archive !== undefined) return layout && sha256(layout.index) === state.contents ? [] : keys;
    return keys.filter((key) => layout?.digests.get(nameIn(state, key)) !== state.digests[key]);
}

/** What is no longer at the target's registry, or has another image's name. */
async function lostOf(state: State): Promise<string[]> {
    const { host } = placeOf(state.to.registry);
    if (host === undefined) return lostInLayout(state);
    return withRegistry(`${host}/any`, state.connection, async ({ client }) => {
        const found = await Promise.all(
            Object.entries(state.refs).map(async ([key, ref]) => {
                const { repository, digest = "" } = parseReference(ref);
                const there = await client.headManifest(repository, digest);
                const tag = state.tagged[key]?.slice(repository.length + 1);
                const named = tag === undefined ? there : await client.headManifest(repository, tag);
                return there && named?.digest === digest ? [] : [key];
            }),
        );
        return found.flat();
    });
}

/** Whether a tag of the source points at another image by now. What can't be followed is told of, and stays as it is. */
async function hasMoved({ resolved = {}, digests }: State, inputs: Inputs): Promise<boolean> {
    const { moved, unknown } = await lookForMoved(optionsOf(inputs), { resolved, digests });
    for (const line of unknown) progress(`${inputs.subject}: ${line}`, true);
    return moved.length > 0;
}

export const operations = defineOperations<Inputs, State>({
    async create(inputs) {
        const state = await mirror(inputs);
        return { id: inputs.to.registry ?? inputs.to.folder ?? inputs.to.archive ?? "", outs: state };
    },
    async changes(state, inputs) {
        const changed = changedInputs(state, inputs, ["connection", "connections", "subject"]);
        if (changed.length > 0 || isUnknown(inputs)) return changed;
        // A layout is a file of this machine, and can be looked at in every preview; registries are asked by refresh.
        const isLayout = state.to.registry === undefined;
        const lost = isLayout ? await lostInLayout(state) : state.lost;
        if (lost.length > 0) return ["digests"];
        return (await hasMoved(state, inputs)) ? ["images"] : [];
    },
    async update(state, inputs) {
        return mirror(inputs, await dropped(state, inputs));
    },
    async read(state) {
        return { ...state, lost: await lostOf(state) };
    },
});
