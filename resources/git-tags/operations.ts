import { type GitTagRules, gitTags } from "../../core/git-tags";
import { readGit } from "../../drivers/git";
import { defineOperations, isUnknown } from "../operations";

export interface Inputs {
    folder: string;
    paths: string[];
    rules: GitTagRules;
    taken: string[];
    /** Read from Git when the inputs are checked, so that a preview knows them, too, and a run reads them once. */
    commit?: string;
    branch?: string;
    dirty?: boolean;
    tags?: string[];
    version?: string;
}

export const operations = defineOperations<Inputs, Inputs>({
    async complete(inputs) {
        const { folder, paths, rules, taken } = inputs;
        if (isUnknown([folder, paths, rules, taken])) return { added: {}, failures: [] };
        const facts = await readGit(folder, paths.length > 0 ? paths : [folder]);
        const { tags, version, problems } = gitTags(facts, rules, taken);
        const failures = problems.map(({ path, found, expected, hint }) => ({
            property: path,
            reason: `${found}; ${hint ?? `expected ${expected}`}`,
        }));
        const { commit, branch, changes } = facts;
        return { added: { commit, branch, dirty: changes.length > 0, tags, version }, failures };
    },
    async create(inputs) {
        return { id: inputs.commit ?? "", outs: inputs };
    },
});
