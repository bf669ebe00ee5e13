import type * as pulumi from "@pulumi/pulumi";

/**
 * Tags from Git, read once in a run, previews included. The date is the commit's, so nothing changes until there is another
 * commit. Branches whose names give the same tag, or one that means something else (`latest`, `1.4`), are refused.
 */
export interface GitTagsArgs {
    /** A folder in the work tree, relative to the stack's program; default the context. */
    folder?: pulumi.Input<string>;
    /**
     * The highest Git tag at the commit that is a version (`v1.4.2` or `1.4.2`) stands for `version`. Default true, unless
     * `version` is set. A clone without Git tags has none.
     */
    version?: boolean;
    /** A tag with the branch's name, `feature-login` of `feature/login`; none where HEAD is at no branch. Default false. */
    branch?: boolean;
    /** A tag with the commit, `sha-0123456789ab`; default true. */
    commit?: boolean;
    /** A tag with the day of the commit, in UTC, `2026-11-22`; default false. */
    date?: boolean;
    /**
     * What changes that are not committed do, in the context, the Dockerfile and named contexts. `refuse` (default): nothing
     * is built. `mark`: tags end in `-dirty`, and there is neither version nor date.
     */
    dirty?: "refuse" | "mark";
}
