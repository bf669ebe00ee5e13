/**
 * An in-process stand-in for the plugin `docker-build` 0.0.22 (pulumi/pulumi-docker-build): the resource `Image`, built by the buildx CLI
 * from the same inputs, with the same outputs. What it doesn't do, it refuses by name. A preview builds nothing.
 */

import { readdir, stat } from "node:fs/promises";
import { resolve } from "node:path";
import { isDeepStrictEqual } from "node:util";
import {
    type CheckFailure,
    type Properties,
    type Provider,
    type ProviderFactory,
    type ProviderHost,
    UNKNOWN,
    type Value,
} from "../provider";
import { equal, hasUnknown, isObject, isSecret, keepOld, secret } from "../values";
import { BuildError, build } from "./buildx";
import { hashContext } from "./context";
import { allExports, entryText, exportProblem, parseExport } from "./flags";
import { fullTag, tagProblem } from "./reference";
import { probe } from "./registry";
import { decode, IMAGE, type Image, normalize } from "./shape";
import { problems, withDefaults } from "./validation";

const VERSION = "0.0.22";
const TYPE = "docker-build:index:Image";
const OUTPUTS = ["contextHash", "digest", "ref"];
const NO_EXPORTS =
    "No exports were specified so the build will only remain in the local build cache. " +
    "Use `push` to upload the image to a registry, or silence this warning with a `cacheonly` export.";

export const createDockerBuild: ProviderFactory = async (host, version) => {
    if (version && version !== VERSION)
        throw new Error(`docker-build ${version} was asked for; this engine stands in for ${VERSION} only`);
    return new DockerBuild(host);
};

class DockerBuild implements Provider {
    readonly supportsPreview = true;
    readonly acceptSecrets = true;
    private readonly cancelled = new AbortController();

    constructor(private readonly host: ProviderHost) {}

    async configure(inputs: Properties): Promise<void> {
        const unknown = Object.keys(inputs).filter(
            (name) => name !== "version" && !name.startsWith("__") && inputs[name] !== "",
        );
        if (unknown.length > 0)
            throw new Error(`docker-build: provider configuration ${unknown.join(", ")} is not done by this engine`);
    }

    async check(urn: string, _olds: Properties, news: Properties) {
        nameOf(urn);
        const failures: CheckFailure[] = [];
        const inputs = normalize(IMAGE, news, "", failures) as Properties;
        if (failures.length > 0) return { inputs: news, failures };
        const preview = hasUnknown(news);
        const image = withDefaults(decode(inputs), preview);
        if (inputs.secrets) inputs.secrets = secret(inputs.secrets);
        inputs.context = fill(inputs.context, { location: image.context.location });
        inputs.dockerfile = fill(inputs.dockerfile, image.dockerfile);
        // The plugin finds them all and reports the last one.
        return { inputs, failures: (await problems(image, this.host.programDirectory, preview)).slice(-1) };
    }

    async diff(
        urn: string,
        _id: string,
        _oldInputs: Properties,
        oldOutputs: Properties,
        news: Properties,
        ignoreChanges: string[],
    ) {
        nameOf(urn);
        const olds = decode(oldOutputs);
        const image = withDefaults(decode(keepOld(news, oldOutputs, ignoreChanges)), true);
        const changed = new Set(changedInputs(olds, image));
        for (const [index, { local, tar }] of image.exports.entries()) {
            const { dest } = (local ?? tar ?? {}) as { dest?: string };
            if (dest !== undefined && !(await this.isExported(dest))) changed.add(`exports[${index}]`);
        }
        const repull = image.pull && allExports(image).length > 0;
        if (repull || (await this.contextHash(image)) !== oldOutputs.contextHash) changed.add("contextHash");
        const diffs = [...changed];
        const detailed = Object.fromEntries(diffs.map((path) => [path, "UPDATE"]));
        return {
            changes: diffs.length > 0 ? ("some" as const) : ("none" as const),
            replaces: [],
            deleteBeforeReplace: false,
            diffs,
            stables: [],
            detailed,
        };
    }

    async create(urn: string, news: Properties, timeout: number, preview: boolean) {
        const { digest, ...made } = await this.build(urn, news, timeout, preview);
        const outputs: Properties = { ...news, ...made, digest };
        if (preview) for (const name of OUTPUTS) outputs[name] = UNKNOWN;
        return { id: digest || nameOf(urn), outputs };
    }

    async update(
        urn: string,
        _id: string,
        _oldInputs: Properties,
        oldOutputs: Properties,
        news: Properties,
        timeout: number,
        preview: boolean,
        ignoreChanges: string[],
    ) {
        const inputs = keepOld(news, oldOutputs, ignoreChanges);
        const outputs: Properties = { ...inputs, ...(await this.build(urn, inputs, timeout, preview)) };
        // In a preview, outputs are unknown where an input changed; a new context alone leaves the digest empty.
        const isUnknown = ([name, value]: [string, Value]) =>
            hasUnknown(value) || (oldOutputs[name] !== undefined && !equal(value, oldOutputs[name]));
        if (preview && Object.entries(inputs).some(isUnknown)) for (const name of OUTPUTS) outputs[name] = UNKNOWN;
        return { outputs };
    }

    /** Looks for the tags in their registry, over HTTPS. */
    async read(urn: string, id: string, inputs: Properties, outputs: Properties) {
        nameOf(urn);
        const image = decode(outputs);
        const pushes = allExports(image).some((entry) => parseExport(entryText(entry) || "type=none").push === "true");
        if (!pushes) return { id, inputs, outputs };
        const tags: string[] = [];
        for (const text of image.tags) {
            const tag = fullTag(text);
            if (!tag) {
                tags.push(text);
                break;
            }
            const found = await probe(tag, String(outputs.digest), this.host.signal);
            if (found === "present") tags.push(text);
            else if (found !== "missing") {
                this.host.log(urn, "warning", `unable to verify image tags, leaving state unchanged: ${found}`, false);
                return { id, inputs, outputs };
            }
        }
        const gone = decode(inputs).tags.length > 0 && tags.length === 0;
        return { id: gone ? "" : id, inputs, outputs: gone ? outputs : { ...outputs, tags } };
    }

    /** The plugin deletes the digest under every registry that `tags` names; without tags it deletes nothing. */
    async delete(urn: string, _id: string, _inputs: Properties, outputs: Properties): Promise<void> {
        const tags = decode(outputs).tags.filter(fullTag);
        if (!outputs.digest || tags.length === 0) return;
        throw new Error(
            `${nameOf(urn)}: this engine deletes no image from a registry (${tags.join(", ")}); set retainOnDelete: true`,
        );
    }

    cancel(): void {
        this.cancelled.abort(new Error("the build was cancelled"));
    }

    close(): void {
        this.cancel();
    }

    private async build(urn: string, news: Properties, timeout: number, preview: boolean) {
        nameOf(urn);
        const image = withDefaults(decode(news), preview);
        const failures = await problems(image, this.host.programDirectory, preview);
        if (failures.length > 0) throw new Error(`preparing: ${failures.map(({ reason }) => reason).join("\n")}`);
        const warn = (message: string) => this.host.log(urn, "warning", message, false);
        if (allExports(image).length === 0) warn(NO_EXPORTS);
        const contextHash = await this.contextHash(image);
        const ref = image.tags.find((tag) => !tagProblem(tag)) ?? "";
        if (preview) {
            if (image.buildOnPreview !== false) warn("Skipping preview build: this engine's previews build nothing.");
            return { contextHash, digest: "", ref };
        }
        const digest = await this.run(urn, image, timeout);
        const tag = image.tags.map(fullTag).find((parts) => parts);
        return { contextHash, digest, ref: digest && tag ? `${tag.host}/${tag.repository}:${tag.tag}@${digest}` : ref };
    }

    private async run(urn: string, image: Image, timeout: number): Promise<string> {
        for (const text of allExports(image).map(entryText).filter(Boolean)) {
            const problem = exportProblem(parseExport(text));
            if (problem) throw new Error(problem);
        }
        const signals = [
            this.host.signal,
            this.cancelled.signal,
            ...(timeout > 0 ? [AbortSignal.timeout(timeout * 1000)] : []),
        ];
        const log = (message: string, ephemeral: boolean) => this.host.log(urn, "info", message, ephemeral);
        try {
            return await build(image, {
                directory: this.host.programDirectory,
                signal: AbortSignal.any(signals),
                onLine: (line) => log(line, true),
            });
        } catch (error) {
            if (error instanceof BuildError) log(error.tail.join("\n"), false);
            throw error;
        } finally {
            log("", true);
        }
    }

    private contextHash({ context, dockerfile }: ReturnType<typeof withDefaults>): Promise<string> {
        const named = Object.fromEntries(Object.entries(context.named).map(([name, { location }]) => [name, location]));
        return hashContext(this.host.programDirectory, context.location, dockerfile.location, named);
    }

    /** Whether a local export is (still) there: a folder with something in it, or a file. */
    private async isExported(dest: string): Promise<boolean> {
        const path = resolve(this.host.programDirectory, dest);
        const found = await stat(path).catch(() => undefined);
        return found?.isDirectory() ? (await readdir(path)).length > 0 : found !== undefined;
    }
}

/** The resource's name; refuses every type but the one that is stood in for. */
function nameOf(urn: string): string {
    const [, , type = "", name = ""] = urn.split("::");
    if (type.split("$").at(-1) === TYPE) return name;
    throw new Error(`${type}: this engine's docker-build does ${TYPE} only`);
}

/** Adds the defaults that a marked object lacks (or has empty). */
function fill(marked: Value | undefined, defaults: { [name: string]: string }): Value {
    if (marked === UNKNOWN) return marked;
    if (isSecret(marked)) return secret(fill(marked.value, defaults));
    const given = isObject(marked) ? marked : {};
    const missing = Object.entries(defaults).filter(([name]) => (given[name] ?? "") === "");
    return { ...given, ...Object.fromEntries(missing) };
}

/** The inputs that differ, by the plugin's names for them. Passwords of registries don't count. */
function changedInputs(olds: Image, news: ReturnType<typeof withDefaults>): string[] {
    const { secrets: oldSecrets, ...old } = { ...olds, secrets: { ...olds.secrets } };
    const { secrets: newSecrets, ...image } = { ...news, secrets: { ...news.secrets } };
    const compared = [
        "addHosts",
        "buildArgs",
        "buildOnPreview",
        "builder",
        "cacheFrom",
        "cacheTo",
        "dockerfile",
        "labels",
        "load",
        "network",
    ] as const;
    const rest = ["noCache", "platforms", "pull", "push", "ssh", "tags", "target"] as const;
    const changed: string[] = [...compared, ...rest].filter((name) => !isDeepStrictEqual(old[name], image[name]));
    if (old.context?.location !== image.context.location) changed.push("context.location");
    if (!isDeepStrictEqual(old.context?.named ?? {}, image.context.named)) changed.push("context.named");
    if (!isDeepStrictEqual(old.exports.map(entryText), image.exports.map(entryText))) changed.push("exports");
    for (const name of image.ignoreSecretsInDiffCalculation) {
        if (!(name in oldSecrets) || !(name in newSecrets)) continue;
        delete oldSecrets[name];
        delete newSecrets[name];
    }
    if (!isDeepStrictEqual(oldSecrets, newSecrets)) changed.push("secrets");
    const identities = (list: Image["registries"]) => list.map(({ address, username }) => `${username}@${address}`);
    const [before, after] = [identities(old.registries), identities(image.registries)];
    const moved = before.findIndex((identity, index) => identity !== after[index]);
    if (before.length !== after.length) changed.push("registries");
    else if (moved >= 0) changed.push(`registries[${moved}]`);
    return changed;
}
