import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { place } from "../../core/placement";

const nodesOf = (amount: number) => Array.from({ length: amount }, (_, index) => ({ name: `node-${index}` }));
const firstOf = (key: string, nodes: { name: string }[]) => place(key, nodes)[0]?.name ?? "none";

const keys = Array.from({ length: 1_000 }, (_, index) => `registry.example.com/team/image-${index} linux/arm64`);
const nodeNames = fc.uniqueArray(fc.string(), { minLength: 1, maxLength: 12 });

describe("place", () => {
    it("spreads 1,000 images over 10 nodes: the busiest has at most 1.25 times the mean", () => {
        const load = new Map<string, number>();
        for (const key of keys) {
            const name = firstOf(key, nodesOf(10));
            load.set(name, (load.get(name) ?? 0) + 1);
        }
        expect(load.size).toBe(10);
        expect(Math.max(...load.values())).toBeLessThanOrEqual(125);
    });

    it("moves only a lost node's images, each to its own second choice, and spreads those", () => {
        const nodes = nodesOf(10);
        const lost = "node-3";
        const rest = nodes.filter(({ name }) => name !== lost);
        const heirs = new Set<string>();
        for (const key of keys) {
            const [first, second] = place(key, nodes);
            const after = firstOf(key, rest);
            expect(after).toBe(first?.name === lost ? second?.name : first?.name);
            if (first?.name === lost) {
                heirs.add(after);
            }
        }
        expect(heirs.size).toBe(9);
    });

    it("ranks all nodes, whatever order they are given in", () => {
        fc.assert(
            fc.property(fc.string(), nodeNames, fc.infiniteStream(fc.nat()), (key, names, noise) => {
                const nodes = names.map((name) => ({ name }));
                const shuffled = nodes
                    .map((node) => ({ node, at: noise.next().value ?? 0 }))
                    .sort((left, right) => left.at - right.at)
                    .map(({ node }) => node);
                const ranked = place(key, nodes);
                expect(place(key, shuffled)).toEqual(ranked);
                expect(new Set(ranked)).toEqual(new Set(nodes));
            }),
        );
    });

    it("keeps the order of the others when a node goes", () => {
        fc.assert(
            fc.property(fc.string(), nodeNames, fc.nat(), (key, names, which) => {
                const nodes = names.map((name) => ({ name }));
                const gone = names[which % names.length];
                const without = nodes.filter(({ name }) => name !== gone);
                expect(place(key, without)).toEqual(place(key, nodes).filter(({ name }) => name !== gone));
            }),
        );
    });

    it("does not change between versions: a new order would empty every cache", () => {
        expect(place("app linux/arm64", nodesOf(4)).map(({ name }) => name)).toMatchInlineSnapshot(`
          [
            "node-3",
            "node-0",
            "node-1",
            "node-2",
          ]
        `);
    });

    it("has nothing to rank without nodes", () => {
        expect(place("app", [])).toEqual([]);
    });
});
