import { createHash } from "node:crypto";

/**
 * Ranks nodes for a key by rendezvous hashing (highest random weight; Thaler and Ravishankar, 1998): each node's weight for
 * the key is a hash of both, and the highest comes first. So a key stays on its node while that node is there, keys spread
 * evenly, and losing a node moves only the keys it had, each to its own second choice. Nobody has to remember anything.
 *
 * @param key what is placed: image and platform.
 * @param nodes in any order; their names must differ.
 * @returns the same nodes, best first.
 */
export function place<Node extends { name: string }>(key: string, nodes: readonly Node[]): Node[] {
    return nodes
        .map((node) => ({ node, weight: weigh(key, node.name) }))
        .sort((left, right) => right.weight.compare(left.weight))
        .map(({ node }) => node);
}

/** The length goes before the key, so that no other pair of key and name gives the same bytes. */
function weigh(key: string, name: string): Buffer {
    return createHash("sha256").update(`${key.length}:${key}${name}`).digest();
}
