// What the base images consist of. A change here is a new key, and so a new image.

import { createHash } from "node:crypto";
import { aptSources, readDistribution } from "./sources.mjs";

export const ARCHITECTURES = ["amd64", "arm64"];

/** Files get at most this modification time (2024-01-01), so that the same packages make the same bytes. */
export const EPOCH = 1_704_067_200;

const RUNTIME = ["base-files", "base-passwd", "coreutils", "dash", "libc-bin"];

/** Nothing reads these in a container; Debian's own slim images leave them out too. */
const UNREAD = ["usr/share/man", "usr/share/locale", "usr/share/info", "usr/share/lintian"];

/**
 * @typedef {object} Recipe
 * @property {string} repository
 * @property {string} tag
 * @property {string[]} packages
 * @property {string[]} leftOut paths, shell patterns allowed
 */

/** @returns {{runtime: Recipe, build: Recipe}} */
export function recipes() {
    const { distribution, suite } = readDistribution();
    return {
        runtime: {
            repository: `base/${distribution}`,
            tag: `${suite}-slim`,
            packages: RUNTIME,
            leftOut: UNREAD,
        },
        build: {
            repository: `base/${distribution}-build`,
            tag: suite,
            packages: [...RUNTIME, "gcc", "libc6-dev"],
            leftOut: UNREAD,
        },
    };
}

/** Names the base images of this machine: recipe, release and sources. */
export function baseKey() {
    const sources = ARCHITECTURES.map((architecture) => aptSources(architecture));
    return createHash("sha256")
        .update(JSON.stringify([1, recipes(), sources, EPOCH]))
        .digest("hex")
        .slice(0, 16);
}
