import { createHash } from "node:crypto";

/** Longest name; buildx derives file names and container names from it. */
const LIMIT = 60;

/**
 * The name of one image and platform's builder in buildx's store (`^[a-zA-Z][a-zA-Z0-9._-]*$`, buildx: store/util.go). It
 * depends on nothing that changes when a node does: docker-build builds an image again when the name of its builder is
 * another one. The hash keeps `a-b` in `c` and `b-c` in `a` apart.
 */
export function builderName(project: string, stack: string, image: string, platformSlug: string): string {
    const parts = [project, stack, image, platformSlug];
    const hash = createHash("sha256").update(JSON.stringify(parts)).digest("hex").slice(0, 8);
    const readable = parts
        .join("-")
        .toLowerCase()
        .replace(/[^a-z0-9_-]+/g, "-")
        .replace(/^[^a-z]+/, "b-");
    return `${readable.slice(0, LIMIT - hash.length - 1)}-${hash}`;
}
