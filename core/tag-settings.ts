import { tag } from "./leaves";
import { late, text } from "./schema";
import { list } from "./schema-tables";
import { parseVersion, versionExpected } from "./tags";

/** The settings of everything that is tagged when it has passed. */
export const tagSettings = () => ({
    version: text(versionExpected, parseVersion)
        .optional()
        .describe("Gives the tags `1.4.2`, `1.4`, `1` and `latest`, each only where nothing higher is released"),
    tags: late(list(tag, { of: "tags", identity: (value) => value }))
        .default([])
        .describe("Further tags"),
    immutableTags: late(list(tag, { of: "tags", identity: (value) => value }))
        .default([])
        .describe("Tags that may be set once and never moved"),
});
