import pLimit from "p-limit";
import { parseDigest } from "../../core/digest";
import { BlobCheck } from "../../drivers/blob-check";
import type { RegistryAccess } from "../../drivers/registry-access";
import type { Found } from "./children";

type Part = Found["parts"][number];

/** Layers that clients get elsewhere, which registries need not have (OCI image specification, "Non-distributable layers"). */
const isElsewhere = ({ mediaType, urls = [] }: Part) =>
    urls.length > 0 && /\.(?:foreign|nondistributable)\./.test(mediaType);

/** Blobs under way at a time: an upload holds 16 MiB at most. */
const transfers = pLimit(8);

/**
 * Brings an image into the index's repository, unchanged and so under the same digest; what is there is not sent again. The
 * manifest goes last: where it is, all that it names is, too.
 */
export async function bring(from: RegistryAccess, image: Found, to: RegistryAccess): Promise<void> {
    const { client, path } = to;
    if (await client.headManifest(path, image.digest)) return;
    const parts = new Map(image.parts.filter((part) => !isElsewhere(part)).map((part) => [part.digest, part]));
    await Promise.all([...parts.values()].map((part) => transfers(bringPart, from, image, part, to)));
    await client.putManifest(path, image.digest, image.mediaType, image.bytes);
}

async function bringPart(from: RegistryAccess, image: Found, part: Part, { client, path, registry }: RegistryAccess) {
    // Within a registry the mount alone says that it is there.
    if (from.registry === registry && (await client.mountBlob(path, part.digest, image.path))) return;
    if (await client.headBlob(path, part.digest)) return;
    const blob = { digest: parseDigest(part.digest), size: part.size };
    const check = new BlobCheck(blob);
    const upload = client.uploadBlob(path, blob);
    try {
        await from.client.streamBlob(image.path, blob, async (piece) => {
            check.update(piece);
            await upload.write(piece);
        });
        const problem = check.problem();
        if (problem !== undefined)
            throw new Error(
                `${image.source}: ${problem}\nnext: push that image again; what its registry has of it is damaged`,
            );
        await upload.finish();
    } catch (error) {
        await upload.abort();
        throw error;
    }
}
