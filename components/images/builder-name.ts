import { createHash } from "node:crypto";

/** Longest name; buildx derives file names and container names from it. */
const LIMIT = 60;

/**
 * The name of one image and platform's builder in buildx's store. It depends on nothing that changes when a node does:
 * docker-build builds an image again when the name of its builder is another one.
 */
export function builderName(project: string, stack: string, image: string, platformSlug: string): string {
    const full = [project, stack, image, platformSlug].join("-").toLowerCase();
    const name = full.replace(/[^a-z0-9_-]+/g, "-").replace(/^[^a-z]+/, "b-");
    if (name === full && name.length <= LIMIT) return name;
    const hash = createHash("sha256").update(full).digest("hex").slice(0, 8);
    return `${name.slice(0, LIMIT - hash.length - 1)}-${hash}`;
}
