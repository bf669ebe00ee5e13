import { sha256 } from "../../core/digest";
import { parseReference, type Reference } from "../../core/reference";
import type { RegistryConnection } from "../../core/registry-connection";
import { withLocks } from "../lock";
import { LayoutError, type LayoutPlace, readLayout, writeLayout } from "../oci-layout";
import type { RegistryClient } from "../registry";
import { withRegistry } from "../registry-access";
import { LayoutSource, LayoutTarget, namesIn } from "./layout-places";
import type { Source, Target } from "./places";
import type { ImageRequest } from "./plan";
import { RegistrySource, RegistryTarget } from "./registry-places";

/** One end of a mirror: a registry (`host[:port]`), or a layout. */
interface MirrorPlace extends LayoutPlace {
    registry?: string;
}

export interface MirrorOptions {
    /** Who does it, for messages: `ImageMirror "base"`. */
    subject: string;
    /** Where images come from: a layout, or else the registries that the references name. */
    from: LayoutPlace & {
        /** The digest of its `index.json`, as the collecting side has told it. */
        contents?: string;
    };
    to: MirrorPlace;
    /** How registries are reached, by `host[:port]`; Docker's own configuration and HTTPS where there is none. */
    connections: Readonly<Record<string, RegistryConnection>>;
    /** How the target's registry is reached. */
    connection: RegistryConnection;
    /** Empty: everything that the layout names. */
    images: readonly ImageRequest[];
    /** For what comes out of a layout unasked: where it goes. */
    place: (reference: Reference) => Pick<ImageRequest, "path" | "tag">;
    platforms: readonly string[];
    /** Whether what is attached (signatures, attestations) goes with the images. */
    referrers: boolean;
    /** A layout's names that are to go from it. */
    forget?: readonly string[];
}

/** The source, and what is in it, for the time of `use`; of a registry that is not known. */
export async function withSource<T>(
    options: MirrorOptions,
    use: (source: Source, found: ImageRequest[]) => Promise<T>,
): Promise<T> {
    const { from, images, connections, connection, to } = options;
    if (from.folder === undefined && from.archive === undefined) {
        const hosts = [...new Set(images.map(({ source }) => source.registry))];
        const reached = { ...(to.registry === undefined ? {} : { [to.registry]: connection }), ...connections };
        return withClients(hosts, reached, (clients) => use(new RegistrySource(clients), []));
    }
    const layout = await readLayout(from);
    try {
        const contents = sha256(layout.index);
        if (from.contents !== undefined && from.contents !== contents)
            throw new LayoutError(
                layout.where,
                `holds ${contents}, not ${from.contents}`,
                "collect it again, or name what it holds",
            );
        const found = namesIn(layout).map((name) => {
            const source = parseReference(name);
            return { key: name, source, platforms: options.platforms, ...options.place(source) };
        });
        return await use(new LayoutSource(layout), found);
    } finally {
        await layout.close();
    }
}

export async function withTarget<T>(options: MirrorOptions, use: (target: Target) => Promise<T>): Promise<T> {
    const { to, connection, forget = [] } = options;
    if (to.registry !== undefined)
        return withClients([to.registry], { [to.registry]: connection }, (clients) =>
            use(new RegistryTarget(clients.get(to.registry ?? "") as RegistryClient)),
        );
    return withLocks([`layout ${to.archive ?? to.folder}`], async () => {
        const layout = await writeLayout(to);
        try {
            return await use(new LayoutTarget(layout, to.archive === undefined, forget));
        } finally {
            await layout.close();
        }
    });
}

/** A client for each registry, for the time of `use`. */
async function withClients<T>(
    hosts: readonly string[],
    connections: Readonly<Record<string, RegistryConnection>>,
    use: (clients: ReadonlyMap<string, RegistryClient>) => Promise<T>,
): Promise<T> {
    const clients = new Map<string, RegistryClient>();
    const open = ([host, ...rest]: readonly string[]): Promise<T> =>
        host === undefined
            ? use(clients)
            : // Credentials and authorities belong to the registry; which repository is asked for makes no difference.
              withRegistry(`${host}/any`, connections[host] ?? {}, async ({ client }) => {
                  clients.set(host, client);
                  return open(rest);
              });
    return open(hosts);
}
