/**
 * An in-process stand-in for the plugin `docker-build` 0.0.22 (pulumi/pulumi-docker-build): the resource `Image`, built by the buildx CLI
 * from the same inputs, with the same outputs. What it doesn't do, it refuses by name. A preview builds nothing.
 */
import { readdir, stat } from "node:fs/promises";
import { resolve } from "node:path";
import {
    type CheckFailure,
    type DiffResult,
    type Properties,
    type Provider,
    type ProviderFactory,
    type ProviderHost,
    UNKNOWN,
    type Value,
} from "../provider";
import { equal, hasUnknown, isObject, isSecret, keepOld, secret } from "../values";
import { build } from "./buildx";
import { hashContext } from "./context";
import { allCredentials, type Credentials } from "./credentials";
import { changedInputs } from "./diff";
import { allExports, entryText, exportProblem, parseExport } from "./flags";
import { fullTag, tagProblem } from "./reference";
import { decode, IMAGE, normalize } from "./shape";
import { problems, withDefaults } from "./validation";

const VERSION = "0.0.22";
const TYPE = "docker-build:index:Image";
const OUTPUTS = { contextHash: UNKNOWN, digest: UNKNOWN, ref: UNKNOWN };

type Completed = ReturnType<typeof withDefaults>;

/** Node's timers take no more (24.8 days), and fire at once instead. */
const LONGEST_TIMER_MS = 2 ** 31 - 1;

export const createDockerBuild: ProviderFactory = async (host, version) => {
    if (version && version !== VERSION) {
        throw new Error(`docker-build ${version} was asked for; this engine stands in for ${VERSION} only`);
    }
    return new DockerBuild(host);
};

class DockerBuild implements Provider {
    readonly supportsPreview = true;
    readonly acceptSecrets = true;
    private readonly cancelled = new AbortController();
    private credentials: Credentials = {};

    constructor(private readonly host: ProviderHost) {}

    async configure(inputs: Properties): Promise<void> {
        const given = Object.keys(inputs).filter((name) => !/^(version$|__)/.test(name) && inputs[name] !== "");
        if (given.length > 0) throw new Error(`docker-build: this engine does no provider configuration (${given})`);
        this.credentials = await allCredentials();
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
    ): Promise<DiffResult> {
        nameOf(urn);
        const image = withDefaults(decode(keepOld(news, oldOutputs, ignoreChanges)), true);
        const diffs = changedInputs(decode(oldOutputs), image);
        for (const [index, { local, tar }] of image.exports.entries()) {
            const { dest } = (local ?? tar ?? {}) as { dest?: string };
            if (dest !== undefined && !(await this.isExported(dest))) diffs.push(`exports[${index}]`);
        }
        const pulls = image.pull && allExports(image).length > 0;
        if (pulls || (await this.contextHash(image)) !== oldOutputs.contextHash) diffs.push("contextHash");
        const detailed = Object.fromEntries(diffs.map((path) => [path, "UPDATE"]));
        const changes = diffs.length > 0 ? "some" : "none";
        return { changes, replaces: [], deleteBeforeReplace: false, diffs, stables: [], detailed };
    }

    async create(urn: string, news: Properties, timeout: number, preview: boolean) {
        const made = await this.make(urn, news, timeout, preview);
        return { id: made.digest || nameOf(urn), outputs: { ...news, ...made, ...(preview && OUTPUTS) } };
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
        const made = await this.make(urn, inputs, timeout, preview);
        // In a preview, outputs are unknown where an input changed; a new context alone leaves the digest empty.
        const isUnclear = ([name, value]: [string, Value]) =>
            hasUnknown(value) || (oldOutputs[name] !== undefined && !equal(value, oldOutputs[name]));
        const unclear = preview && Object.entries(inputs).some(isUnclear);
        return { outputs: { ...inputs, ...made, ...(unclear && OUTPUTS) } };
    }

    /** Asks no registry: what the plugin does where it can't tell, as with every registry over plain HTTP. */
    async read(urn: string, id: string, inputs: Properties, outputs: Properties) {
        nameOf(urn);
        const image = decode(outputs);
        const texts = allExports(image).map(entryText).filter(Boolean);
        if (!texts.some((text) => parseExport(text).push === "true")) return { id, inputs, outputs };
        if (image.tags.length === 0) return { id, inputs, outputs: { ...outputs, tags: [] } };
        const message = "unable to verify image tags, leaving state unchanged: this engine asks no registry for them";
        this.host.log(urn, "warning", message, false);
        return { id, inputs, outputs };
    }

    /** The plugin deletes the digest under every name in `tags`, so without tags it deletes nothing. */
    async delete(urn: string, _id: string, _inputs: Properties, outputs: Properties): Promise<void> {
        const name = nameOf(urn);
        const { tags } = decode(outputs);
        if (!outputs.digest || tags.length === 0) return;
        throw new Error(`${name}: this engine deletes no image from a registry (${tags}); set retainOnDelete: true`);
    }

    cancel(): void {
        this.cancelled.abort(new Error("the build was cancelled"));
    }

    close(): void {
        this.cancel();
    }

    /** The outputs: built, or in a preview what is known without building. */
    private async make(urn: string, news: Properties, timeout: number, preview: boolean) {
        nameOf(urn);
        const image = withDefaults(decode(news), preview);
        const failures = await problems(image, this.host.programDirectory, preview);
        if (failures.length > 0) throw new Error(`preparing: ${failures.map(({ reason }) => reason).join("\n")}`);
        const warn = (message: string) => this.host.log(urn, "warning", message, false);
        if (allExports(image).length === 0) warn("No exports were specified: the build only stays in the build cache.");
        const contextHash = await this.contextHash(image);
        const ref = image.tags.find((tag) => !tagProblem(tag)) ?? "";
        if (preview && image.buildOnPreview !== false) warn("A preview builds nothing, whatever buildOnPreview says.");
        if (preview) return { contextHash, digest: "", ref };
        const digest = await this.build(urn, image, timeout);
        const tag = image.tags.map(fullTag).find(Boolean);
        return { contextHash, digest, ref: digest && tag ? `${tag}@${digest}` : ref };
    }

    private async build(urn: string, image: Completed, timeout: number): Promise<string> {
        const texts = allExports(image).map(entryText).filter(Boolean);
        const problem = texts.map((text) => exportProblem(parseExport(text))).find(Boolean);
        if (problem) throw new Error(problem);
        // Not AbortSignal.timeout: Node collects it as garbage where only AbortSignal.any refers to it, and it never fires.
        const late = new AbortController();
        const overdue = () => late.abort(new Error(`context deadline exceeded: the build took over ${timeout} s`));
        const timer = timeout > 0 ? setTimeout(overdue, Math.min(timeout * 1000, LONGEST_TIMER_MS)) : undefined;
        try {
            return await build(image, {
                directory: this.host.programDirectory,
                credentials: this.credentials,
                signal: AbortSignal.any([this.host.signal, this.cancelled.signal, late.signal]),
                log: (text, ephemeral) => this.host.log(urn, "info", text, ephemeral),
            });
        } finally {
            clearTimeout(timer);
        }
    }

    private contextHash({ context, dockerfile }: Completed): Promise<string> {
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
    const given: Properties = isObject(marked) ? marked : {};
    const missing = Object.entries(defaults).filter(([name]) => (given[name] ?? "") === "");
    return { ...given, ...Object.fromEntries(missing) };
}
