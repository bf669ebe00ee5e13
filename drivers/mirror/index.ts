import type { Digest } from "../../core/digest";
import { type Copied, copyImages } from "./copy";
import { type MirrorOptions, withSource, withTarget } from "./open";
import { planImages } from "./plan";

export type { Amount, Copied } from "./copy";
export { layoutName } from "./layout-places";
export { lookForMoved } from "./moved";
export type { MirrorOptions } from "./open";

/** What is at the target. */
export interface Mirrored extends Copied {
    /** `resolved`: what the source's reference pointed at; another digest, where only some platforms were taken. */
    images: Record<string, { path: string; tag?: string; digest: Digest; resolved: Digest; leftBehind: number }>;
    /** Digest of the layout's `index.json`; undefined for a registry. */
    contents: Digest | undefined;
}

/**
 * Copies images with all that belongs to them. What is there is not copied again, so a run that was killed is gone on with by
 * the next one. All content is compared with its digest as it is read.
 *
 * @throws MissingError before anything is copied, where something can't be had; LayoutError, RegistryError.
 */
export async function mirrorImages(options: MirrorOptions): Promise<Mirrored> {
    return withSource(options, (source, found) =>
        withTarget(options, async (target) => {
            const requests = options.images.length > 0 ? options.images : found;
            const images = await planImages(source, requests, options.referrers);
            const copied = await copyImages(options.subject, source, target, images);
            const contents = await target.finish();
            const told = images.map(({ key, path, tag, root, sourceDigest, leftBehind }) => [
                key,
                {
                    path,
                    ...(tag === undefined ? {} : { tag }),
                    digest: root.digest,
                    resolved: sourceDigest,
                    leftBehind,
                },
            ]);
            return { ...copied, images: Object.fromEntries(told), contents };
        }),
    );
}
