import { digestTag } from "../../core/digest";
import { mediaTypes } from "../../core/image-index";
import { badContent, contentType, type Descriptor, descriptorIndex, parseJson } from "./content";
import { RegistryError } from "./errors";
import { type CallOptions, getManifest, MANIFEST_LIMIT, pull, repositoryPath, requireDigest } from "./manifests";
import { readPages } from "./pages";
import type { RegistrySession } from "./session";
import type { WireReply } from "./transport";

export interface ReferrersOptions extends CallOptions {
    /** Only referrers of this type. */
    artifactType?: string | undefined;
    /** Whether the tag is looked at where the registry has no referrers API; false for who knows that there is none. Default true. */
    fallback?: boolean | undefined;
}

/**
 * What refers to a digest: the referrers API, and where the registry has none (404) the tag `sha256-<hex>`
 * (OCI distribution specification 1.1, "Listing Referrers" and "Unavailable Referrers API").
 * An empty list means that the registry said so; whatever else goes wrong is thrown.
 */
export async function referrers(
    session: RegistrySession,
    repository: string,
    digest: string,
    { signal, artifactType, fallback = true }: ReferrersOptions,
): Promise<Descriptor[]> {
    const subject = requireDigest(digest);
    const query = artifactType === undefined ? "" : `?artifactType=${encodeURIComponent(artifactType)}`;
    const request = {
        method: "GET" as const,
        target: `${repositoryPath(repository)}/referrers/${subject}${query}`,
        headers: { accept: mediaTypes.ociIndex },
        limit: MANIFEST_LIMIT,
        expect: [200],
        scopes: pull(repository),
        signal,
    };
    const wanted = ({ artifactType: type }: Descriptor) => artifactType === undefined || type === artifactType;
    const found: Descriptor[] = [];
    let pages = 0;
    try {
        await readPages(session, request, (reply) => {
            found.push(...readIndex(reply));
            pages++;
        });
        // The registry may filter, and need not.
        return found.filter(wanted);
    } catch (error) {
        // A later page that is missing is a broken listing, not a registry without the API.
        if (!(error instanceof RegistryError) || error.status !== 404 || pages > 0) throw error;
    }
    return fallback ? (await byTag(session, repository, subject, signal)).filter(wanted) : [];
}

function readIndex(reply: WireReply): Descriptor[] {
    const type = contentType(reply);
    if (type !== mediaTypes.ociIndex) {
        throw badContent(reply, "GET", `a listing of referrers should be ${mediaTypes.ociIndex}, and is ${type}`);
    }
    return parseJson(reply, "GET", descriptorIndex, "an index of referrers").manifests;
}

async function byTag(
    session: RegistrySession,
    repository: string,
    subject: ReturnType<typeof requireDigest>,
    signal: AbortSignal | undefined,
): Promise<Descriptor[]> {
    const tag = digestTag(subject);
    const manifest = await getManifest(session, repository, tag, { signal }).catch((error: unknown) => {
        if (error instanceof RegistryError && error.saysAbsent) return undefined;
        throw error;
    });
    if (!manifest) return [];
    if (manifest.mediaType === mediaTypes.ociIndex) {
        const parsed = descriptorIndex.safeParse(JSON.parse(manifest.bytes.toString("utf8")));
        if (parsed.success) return parsed.data.manifests;
    }
    throw new RegistryError({
        code: "BAD_CONTENT",
        url: `${session.origin}/v2/${repository}/manifests/${tag}`,
        reason: `the tag ${tag} should be an index of referrers, and is not (${manifest.mediaType})`,
        next: "remove that tag, or give it another name: it is reserved for signatures and attestations",
    });
}
