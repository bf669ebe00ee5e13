import { isDigest } from "./digest";
import { type IndexPlatform, platformFaults, platformIdentityOf, platformObject } from "./index-platform";
import { type Problem, SettingsError } from "./problems";

/** The media types of the two kinds of image: OCI's (image specification 1.1) and Docker's (image manifest version 2, schema 2). */
export const mediaTypes = {
    ociIndex: "application/vnd.oci.image.index.v1+json",
    ociManifest: "application/vnd.oci.image.manifest.v1+json",
    dockerList: "application/vnd.docker.distribution.manifest.list.v2+json",
    dockerManifest: "application/vnd.docker.distribution.manifest.v2+json",
} as const;

/** How an index is written: OCI's image index, or Docker's manifest list for clients that know only that. */
export type IndexFormat = "oci" | "docker";

/** One platform's image, already in the repository. */
export interface IndexChild {
    platform: string | IndexPlatform;
    /** Of the child's manifest. */
    digest: string;
    /** Of the child's manifest, in bytes. */
    size: number;
    /** An image manifest's, OCI's or Docker's. */
    mediaType: string;
    annotations?: Readonly<Record<string, string>>;
}

export interface IndexParts {
    /** In the order in which they are to stand in the index; clients take the first that fits. */
    children: readonly IndexChild[];
    /** Of the index itself; OCI only. */
    annotations?: Readonly<Record<string, string>>;
    /** Default `oci`. */
    format?: IndexFormat;
}

/** The media type under which an index of this format is PUT. */
export function indexMediaType(format: IndexFormat = "oci"): string {
    return format === "oci" ? mediaTypes.ociIndex : mediaTypes.dockerList;
}

/**
 * Writes an image index. The same parts give the same bytes, and so the same digest, always: keys stand in the order of the
 * specification, annotations in the order of their names, and there is no white space.
 *
 * @throws SettingsError for no children, a platform or digest that comes twice, an unknown platform, a child that is no
 * image manifest, and annotations in a format that has none.
 */
export function composeIndex({ children, annotations, format = "oci" }: IndexParts): Buffer {
    const problems = [...childrenProblems(children, format)];
    if (format === "docker" && hasAny(annotations)) {
        problems.push({ path: "annotations", found: "set for a Docker manifest list", expected: 'format "oci"' });
    }
    if (problems.length > 0) {
        throw new SettingsError("image index", problems);
    }
    const index = {
        schemaVersion: 2,
        mediaType: indexMediaType(format),
        manifests: children.map((child) => ({
            mediaType: child.mediaType,
            digest: child.digest,
            size: child.size,
            ...(hasAny(child.annotations) ? { annotations: inOrder(child.annotations) } : {}),
            platform: platformObject(child.platform),
        })),
        ...(hasAny(annotations) ? { annotations: inOrder(annotations) } : {}),
    };
    return Buffer.from(JSON.stringify(index), "utf8");
}

function childrenProblems(children: readonly IndexChild[], format: IndexFormat): Problem[] {
    if (children.length === 0) {
        return [{ path: "children", found: "empty", expected: "at least one platform's image" }];
    }
    const platforms = new Map<string, number>();
    const digests = new Map<string, number>();
    return children.flatMap((child, position) => {
        const path = `children[${position}]`;
        return [
            ...platformProblems(child, position, platforms, format),
            ...digestProblems(child, position, digests),
            ...(Number.isSafeInteger(child.size) && child.size > 0
                ? []
                : [{ path: `${path}.size`, found: `${child.size} is not a size`, expected: "the manifest's bytes" }]),
            ...mediaTypeProblems(child, path, format),
        ];
    });
}

function platformProblems(
    { platform }: IndexChild,
    position: number,
    seen: Map<string, number>,
    format: IndexFormat,
): Problem[] {
    const path = `children[${position}].platform`;
    const faults = platformFaults(platform, path, format === "docker");
    if (faults.length > 0) {
        return faults;
    }
    const key = platformIdentityOf(platform);
    const earlier = seen.get(key);
    seen.set(key, earlier ?? position);
    const name = typeof platform === "string" ? platform : platform.name;
    const found = `"${name}" is the same as children[${earlier}]`;
    return earlier === undefined ? [] : [{ path, found, expected: "each platform once" }];
}

function digestProblems({ digest }: IndexChild, position: number, seen: Map<string, number>): Problem[] {
    const path = `children[${position}].digest`;
    if (!isDigest(digest)) {
        return [{ path, found: `${JSON.stringify(digest)} is not a digest`, expected: "the manifest's sha256 digest" }];
    }
    const earlier = seen.get(digest);
    seen.set(digest, earlier ?? position);
    // An image's configuration names its one platform, so the same image can't be two of them.
    const found = `the same image as children[${earlier}]`;
    return earlier === undefined ? [] : [{ path, found, expected: "an image of its own for each platform" }];
}

function mediaTypeProblems(child: IndexChild, path: string, format: IndexFormat): Problem[] {
    const allowed: string[] =
        format === "oci" ? [mediaTypes.ociManifest, mediaTypes.dockerManifest] : [mediaTypes.dockerManifest];
    const problems: Problem[] = [];
    if (!allowed.includes(child.mediaType)) {
        const found = `"${child.mediaType}" is not an image manifest of this format`;
        problems.push({ path: `${path}.mediaType`, found, expected: allowed.join(" or ") });
    }
    if (format === "docker" && hasAny(child.annotations)) {
        const found = "set for a Docker manifest list";
        problems.push({ path: `${path}.annotations`, found, expected: 'format "oci"' });
    }
    return problems;
}

function hasAny<T extends object>(record: T | undefined): record is T {
    return record !== undefined && Object.keys(record).length > 0;
}

/** Sorted by code units, which no locale changes. */
function inOrder(record: Readonly<Record<string, string>>): Record<string, string> {
    return Object.fromEntries(Object.entries(record).sort(([left], [right]) => (left < right ? -1 : 1)));
}
