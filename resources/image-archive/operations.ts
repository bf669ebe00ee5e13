import { mkdir, readdir, rm, stat } from "node:fs/promises";
import { resolve } from "node:path";
import { parseDigest } from "../../core/digest";
import { exportFormats } from "../../core/export-settings";
import { Platform } from "../../core/platform";
import { FormatError } from "../../core/problems";
import { parseReference } from "../../core/reference";
import type { RegistryConnection } from "../../core/registry-connection";
import { type RegistryAccess, withRegistry } from "../../drivers/registry-access";
import { changedInputs, defineOperations, type Failure, isUnknown } from "../operations";
import type { ArchiveFormat } from "./index";
import { dockerItems, layoutItems, oneImage, readManifest } from "./layout";
import { folderDigest, pathsIn, stampOf } from "./listing";
import { exportRoot } from "./root-filesystem";
import { digestOfFile, partial, place, unlessAbsent, writeFolder, writeTar } from "./write";

export interface Inputs {
    repository: string;
    connection: RegistryConnection;
    /** Digest of an image or an index. */
    image: string;
    format: ArchiveFormat;
    path: string;
    /** Empty: the only one, or all where the format can have all. */
    platform: string;
    /** Empty: none. */
    name: string;
    /** Empty: none. */
    builder: string;
}

interface State extends Inputs {
    digest: string;
    size: number;
    /** Tells without reading it whether anything of it was changed. */
    stamp: string;
}

const onDisk = ({ path }: Pick<Inputs, "path">) => resolve(path);

/** The digest of what is at a place. Of folders everything is read: a file that was damaged later is to be found, too. */
const digestAt = async (path: string) => ((await stat(path)).isDirectory() ? folderDigest(path) : digestOfFile(path));

/** Writes it beside its place. */
async function write(inputs: Inputs, access: RegistryAccess, path: string): Promise<void> {
    const { format, image, platform, name, builder } = inputs;
    if (format === "oci" || format === "oci-folder") {
        const root = platform === "" ? await readManifest(access, image) : await oneImage(access, image, platform);
        const items = await layoutItems(access, root, name);
        return format === "oci" ? writeTar(path, items) : writeFolder(path, items);
    }
    const one = await oneImage(access, image, platform);
    if (format === "docker") return writeTar(path, await dockerItems(access, one, name));
    if (format === "local") await mkdir(path, { recursive: true });
    await exportRoot({ image: `${inputs.repository}@${one.digest}`, platform, builder, type: format, path }, access);
}

/**
 * Writes it, and puts it in its place.
 *
 * @param before what this resource has written there, and may replace
 */
async function make(inputs: Inputs, before?: State): Promise<State> {
    const path = onDisk(inputs);
    const written = partial(path);
    await rm(written, { recursive: true, force: true });
    try {
        await withRegistry(inputs.repository, inputs.connection, (access) => write(inputs, access, written));
        const digest = await digestAt(written);
        if (before) await refuseStrangers(inputs, before, written);
        else if ((await isTaken(path)) && (await digestAt(path)) !== digest) throw taken(inputs, "something else");
        await place(written, path);
        return { ...inputs, digest, ...(await stampOf(path)) };
    } finally {
        await rm(written, { recursive: true, force: true });
    }
}

const taken = ({ path }: Inputs, what: string, cause?: unknown) =>
    new Error(`${path} is there already, and holds ${what}\nnext: remove it, or set another path`, { cause });

/**
 * A folder is replaced as a whole, and the state may come from another machine: what neither the earlier image nor this one has
 * put there is somebody's.
 *
 * @param written the new one, beside its place
 */
async function refuseStrangers(inputs: Inputs, before: State, written: string): Promise<void> {
    const path = onDisk(inputs);
    const there = await stat(path).catch(unlessAbsent);
    const isFolder = inputs.format === "local" || inputs.format === "oci-folder";
    if (!there || !(isFolder || there.isDirectory())) return;
    if (!there.isDirectory()) throw taken(inputs, "a file");
    if (isFolder && (await folderDigest(path)) === before.digest) return;
    const ours = new Set(isFolder ? await pathsIn(written) : []);
    const unknown = (await pathsIn(path)).filter((name) => !ours.has(name));
    if (unknown.length === 0) return;
    const earlier = new Set(isFolder ? await pathsBefore(inputs, before, unknown) : []);
    const strangers = unknown.filter((name) => !earlier.has(name));
    if (strangers.length > 0) throw taken(inputs, `something else: ${shortened(strangers)}`);
}

const shortened = (names: string[]) => `${names.slice(0, 3).join(", ")}${names.length > 3 ? " …" : ""}`;

/** What the earlier image's folder had: it is written once more, as only its digest is kept. */
async function pathsBefore(inputs: Inputs, before: State, unknown: string[]): Promise<string[]> {
    const folder = `${partial(onDisk(inputs))}-before`;
    const { image, platform, name } = before;
    await rm(folder, { recursive: true, force: true });
    try {
        await withRegistry(before.repository, inputs.connection, (access) =>
            write({ ...inputs, repository: before.repository, image, platform, name }, access, folder),
        );
        return await pathsIn(folder);
    } catch (error) {
        const what = `${shortened(unknown)}; whether the earlier image had that can't be told: ${(error as Error).message}`;
        throw taken(inputs, what, error);
    } finally {
        await rm(folder, { recursive: true, force: true });
    }
}

/** Whether anything is there: an empty folder is nothing. */
async function isTaken(path: string): Promise<boolean> {
    const there = await stat(path).catch(unlessAbsent);
    return there !== undefined && !(there.isDirectory() && (await readdir(path)).length === 0);
}

/** Whether it is there, as it was written. It is only read where sizes or times of change are others. */
async function isWhole(state: State): Promise<boolean> {
    const path = onDisk(state);
    const found = await stampOf(path).catch(unlessAbsent);
    if (!found) return false;
    return found.stamp === state.stamp || (found.size === state.size && (await digestAt(path)) === state.digest);
}

function faultIn(read: () => unknown): string | undefined {
    try {
        read();
        return undefined;
    } catch (error) {
        if (error instanceof FormatError) return error.message;
        throw error;
    }
}

/** Docker knows images by their tags. */
function checkName(name: string, format: ArchiveFormat): void {
    const { tag, digest } = parseReference(name);
    if (digest !== undefined || (format === "docker" && tag === undefined))
        throw new FormatError(`${JSON.stringify(name)} is no name with a tag`, 'a name such as "team/app:1.4.2"');
}

function problems({ format, path, platform, name, builder, image }: Inputs): Failure[] {
    if (!isUnknown(format) && !exportFormats.includes(format))
        return [
            {
                property: "format",
                reason: `${JSON.stringify(format)} is none; expected one of ${exportFormats.join(", ")}`,
            },
        ];
    const isRoot = format === "tar" || format === "local";
    const given = (value: string) => value !== "" && !isUnknown(value);
    const found: [string, string | undefined][] = [
        ["path", path.trim() === "" ? "empty; expected a file's or folder's path" : undefined],
        ["digest", isUnknown(image) ? undefined : faultIn(() => parseDigest(image))],
        ["platform", given(platform) ? faultIn(() => Platform.parse(platform)) : undefined],
        ["platform", isRoot && platform === "" ? `missing; format "${format}" is of one platform` : undefined],
        ["name", given(name) && !isRoot ? faultIn(() => checkName(name, format)) : undefined],
        ["name", given(name) && isRoot ? `set for format "${format}", which has none` : undefined],
        ["builder", isRoot && builder === "" ? `missing; format "${format}" is made by a builder` : undefined],
    ];
    return found.flatMap(([property, reason]) => (reason === undefined ? [] : [{ property, reason }]));
}

export const operations = defineOperations<Inputs, State>({
    replaceOn: ["path", "format"],
    async check(inputs) {
        return problems(inputs);
    },
    async create(inputs) {
        return { id: inputs.path, outs: await make(inputs) };
    },
    async changes(state, inputs) {
        // By whom the layers are put together is no part of the result.
        const changed = changedInputs(state, inputs, ["connection", "builder"]);
        return changed.length > 0 || (await isWhole(state)) ? changed : ["image"];
    },
    async update(state, inputs) {
        return make(inputs, state);
    },
    async read(state) {
        return (await isWhole(state)) ? state : undefined;
    },
    async delete(state) {
        // What somebody has put there since is not ours to remove.
        if (await isWhole(state)) await rm(onDisk(state), { recursive: true });
    },
});
