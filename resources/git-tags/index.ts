import type * as pulumi from "@pulumi/pulumi";
import type { GitTagRules } from "../../core/git-tags";
import { OperationsResource } from "../dynamic";

export interface GitTagsResourceArgs {
    /** In the work tree, relative to the stack's program. */
    folder: pulumi.Input<string>;
    /** What counts as changed, relative to the stack's program; default the folder. */
    paths?: pulumi.Input<pulumi.Input<string>[]>;
    /** Which tags there are. */
    rules: GitTagRules;
    /** Tags that the image has anyway; default none. */
    taken?: pulumi.Input<pulumi.Input<string>[]>;
}

/**
 * What Git says of a work tree, as tags. It is read when the engine checks the inputs: a preview knows the tags, and shows a
 * new commit as a change of them; a run reads them once. Changes nothing anywhere.
 */
export class GitTags extends OperationsResource {
    /** Full hash. */
    declare readonly commit: pulumi.Output<string>;
    /** Empty where HEAD is at no branch. */
    declare readonly branch: pulumi.Output<string>;
    /** What is built has changes that are not committed. */
    declare readonly dirty: pulumi.Output<boolean>;
    /** Of branch, commit and date. */
    declare readonly tags: pulumi.Output<string[]>;
    /** From a Git tag at the commit; empty where there is none. */
    declare readonly version: pulumi.Output<string>;

    constructor(name: string, args: GitTagsResourceArgs, options?: pulumi.CustomResourceOptions) {
        super(
            "GitTags",
            name,
            { paths: [], taken: [], ...args },
            ["commit", "branch", "dirty", "tags", "version"],
            [],
            options,
        );
    }
}
