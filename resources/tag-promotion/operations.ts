import { childTag } from "../../core/aws/ecr-lifecycle";
import type { RegistryConnection } from "../../core/registry-connection";
import { tagsToMove } from "../../core/tags";
import { type RegistryAccess, withRegistry } from "../../drivers/registry-access";
import { changedInputs, defineOperations } from "../operations";

export interface Inputs {
    repository: string;
    connection: RegistryConnection;
    /** Of the index; verified before this runs. */
    digest: string;
    tags: string[];
    /** SemVer; empty: only `tags`. */
    version: string;
    immutableTags: string[];
    /** Digests that each get a tag of their own. */
    children?: string[];
}

interface State extends Inputs {
    /** `repository@digest` */
    ref: string;
    /** The tags that were pointed at the digest. */
    promoted: string[];
    /** Those of them that a refresh found elsewhere, or gone. */
    lost: string[];
}

async function wantedTags({ tags, version }: Inputs, { client, path }: RegistryAccess): Promise<string[]> {
    // Whether 1.4.2 may move 1 and latest depends on what is released: a fix for an old line moves only its own.
    return [...new Set([...tags, ...(version ? tagsToMove(version, await client.tags(path)) : [])])];
}

async function promote(inputs: Inputs, access: RegistryAccess): Promise<string[]> {
    const { repository, digest, immutableTags } = inputs;
    const { client, path } = access;
    const wanted = await wantedTags(inputs, access);
    const current = await Promise.all(wanted.map(async (tag) => ({ tag, at: await client.headManifest(path, tag) })));
    const taken = current.filter(({ tag, at }) => immutableTags.includes(tag) && at && at.digest !== digest);
    if (taken.length > 0)
        throw new Error(
            [
                `${repository}: ${taken.length === 1 ? "an immutable tag points" : "immutable tags point"} at another image`,
                ...taken.map(({ tag, at }) => `  ${tag} is ${at?.digest}, and would become ${digest}`),
                "next: release under another version; no tag was moved",
            ].join("\n"),
        );
    await Promise.all((inputs.children ?? []).map((child) => point(childTag(child), child, access)));
    const moving = current.filter(({ at }) => at?.digest !== digest);
    if (moving.length > 0) {
        const { bytes, mediaType } = await client.getManifest(path, digest);
        for (const { tag } of moving) await client.putManifest(path, tag, mediaType, bytes);
    }
    return wanted;
}

async function point(tag: string, digest: string, { client, path }: RegistryAccess): Promise<void> {
    if ((await client.headManifest(path, tag))?.digest === digest) return;
    const { bytes, mediaType } = await client.getManifest(path, digest);
    await client.putManifest(path, tag, mediaType, bytes);
}

export const operations = defineOperations<Inputs, State>({
    async create(inputs) {
        const { repository, connection, digest } = inputs;
        const promoted = await withRegistry(repository, connection, (access) => promote(inputs, access));
        return { id: repository, outs: { ...inputs, ref: `${repository}@${digest}`, promoted, lost: [] } };
    },
    async changes(state, inputs) {
        const changed = changedInputs(state, inputs, ["connection"]);
        return state.lost.length > 0 ? [...changed, "promoted"] : changed;
    },
    async read(state) {
        return withRegistry(state.repository, state.connection, async ({ client, path }) => {
            const at = await Promise.all(state.promoted.map((tag) => client.headManifest(path, tag)));
            return { ...state, lost: state.promoted.filter((_, i) => at[i]?.digest !== state.digest) };
        });
    },
});
