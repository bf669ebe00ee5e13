import type { z } from "zod";
import { report } from "../schema";
import { isTable } from "../schema-tables";
import { checkGc, checkGroup, knownType, type Report } from "./group-checks";
import { checkNetwork } from "./network-checks";
import { nodeNames } from "./nodes";

/** Name, buildfleet:fleet and node; drain, which a drain sets; machine, launch and owner, of spot instances. */
const OWN_TAGS = 7;
const MOST_TAGS = 50 - OWN_TAGS;

/**
 * What can only be seen in several settings of a fleet together. Runs also when some are wrong or not known yet, so each check takes
 * what it finds: a value it can't use is another check's problem.
 */
export function fleetChecks(value: unknown, ctx: z.core.$RefinementCtx<unknown>): void {
    if (!isTable(value)) {
        return;
    }
    const tell: Report = (path, fault) => report(ctx, fault, path);
    const groups = isTable(value.nodes) ? Object.entries(value.nodes) : [];
    if (isTable(value.nodes) && groups.length === 0) {
        tell(["nodes"], { found: "empty", expected: "at least one group; leave it out for one node per architecture" });
    }
    for (const [name, group] of groups) {
        checkGroup(name, group, tell);
    }
    checkNames(groups, tell);
    checkGc(value.gc, groups, tell);
    checkNetwork(value, tell);
    checkArtifacts(value.buildkit, groups, tell);
    const tags = isTable(value.tags) ? Object.keys(value.tags).length : 0;
    if (tags > MOST_TAGS) {
        const expected = `at most ${MOST_TAGS}: EC2 takes 50, ${OWN_TAGS} are the fleet's own`;
        tell(["tags"], { found: `${tags} tags`, expected });
    }
}

function checkNames(groups: [string, unknown][], tell: Report): void {
    const owners = new Map<string, string>();
    for (const [group, settings] of groups) {
        const count = isTable(settings) && Number.isInteger(settings.count) ? Number(settings.count) : 1;
        for (const node of nodeNames(group, Math.min(Math.max(count, 0), 16))) {
            const owner = owners.get(node);
            if (owner !== undefined) {
                const found = `its node "${node}" has the name of one of "${owner}"`;
                tell(["nodes", group], { found, expected: "another name" });
            }
            owners.set(node, group);
        }
    }
}

/** A mirror must have what the nodes need. */
function checkArtifacts(buildkit: unknown, groups: [string, unknown][], tell: Report): void {
    if (!isTable(buildkit) || !isTable(buildkit.artifacts)) {
        return;
    }
    const needed = new Set(groups.map(([name, group]) => knownType(name, group)?.architecture));
    for (const architecture of needed) {
        if (architecture !== undefined && buildkit.artifacts[architecture] === undefined) {
            const expected = `{url, sha256}: there are ${architecture} nodes`;
            tell(["buildkit", "artifacts", architecture], { found: "missing", expected });
        }
    }
}
