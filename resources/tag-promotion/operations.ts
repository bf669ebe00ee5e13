import type { RegistryConnection } from "../../core/registry-connection";
import { withRegistry } from "../../drivers/registry-access";
import { defineOperations } from "../operations";

export interface Inputs {
    repository: string;
    connection: RegistryConnection;
    /** Of the index; verified before this runs. */
    digest: string;
    tags: string[];
    immutableTags: string[];
}

interface State extends Inputs {
    /** `repository@digest` */
    ref: string;
}

async function promote(inputs: Inputs): Promise<State> {
    const { repository, connection, digest, tags, immutableTags } = inputs;
    await withRegistry(repository, connection, async ({ client, path }) => {
        const current = await Promise.all(tags.map(async (tag) => ({ tag, at: await client.headManifest(path, tag) })));
        const taken = current.filter(({ tag, at }) => immutableTags.includes(tag) && at && at.digest !== digest);
        if (taken.length > 0)
            throw new Error(
                [
                    `${repository}: ${taken.length === 1 ? "an immutable tag points" : "immutable tags point"} at another image`,
                    ...taken.map(({ tag, at }) => `  ${tag} is ${at?.digest}, and would become ${digest}`),
                    "next: release under another version; no tag was moved",
                ].join("\n"),
            );
        const moving = current.filter(({ at }) => at?.digest !== digest);
        if (moving.length === 0) return;
        const { bytes, mediaType } = await client.getManifest(path, digest);
        for (const { tag } of moving) await client.putManifest(path, tag, mediaType, bytes);
    });
    return { ...inputs, ref: `${repository}@${digest}` };
}

export const operations = defineOperations<Inputs, State>({
    ignored: ["connection"],
    async create(inputs) {
        const state = await promote(inputs);
        return { id: inputs.repository, outs: state };
    },
    async read(state) {
        // A tag that somebody moved or removed is not ours any more: the next update puts it back, or refuses.
        return withRegistry(state.repository, state.connection, async ({ client, path }) => {
            const at = await Promise.all(state.tags.map((tag) => client.headManifest(path, tag)));
            return { ...state, tags: state.tags.filter((_, i) => at[i]?.digest === state.digest) };
        });
    },
});
