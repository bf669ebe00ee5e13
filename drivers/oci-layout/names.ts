import { z } from "zod";
import { LayoutError, type LayoutReader } from "./store";

/** A layout's name for an image (OCI image specification 1.1, annotations.md). */
const NAME = "org.opencontainers.image.ref.name";

const contents = z.object({
    manifests: z.array(z.object({ digest: z.string(), annotations: z.record(z.string(), z.string()).optional() })),
});

function parsed(bytes: Buffer): unknown {
    try {
        return JSON.parse(bytes.toString("utf8"));
    } catch {
        return undefined;
    }
}

/**
 * The digest of each image that a layout names.
 *
 * @throws LayoutError where its `index.json` can't be read.
 */
export function digestsByName({ where, index }: LayoutReader): Map<string, string> {
    const { data } = contents.safeParse(parsed(index));
    if (!data) throw new LayoutError(where, "its index.json can't be read", "collect the images again");
    return new Map(
        data.manifests.flatMap(({ digest, annotations }) => {
            const name = annotations?.[NAME];
            return name === undefined ? [] : [[name, digest] as const];
        }),
    );
}
