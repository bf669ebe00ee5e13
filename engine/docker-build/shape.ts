/** The inputs of `docker-build:index:Image` as plugin 0.0.22 declares them: names, kinds, defaults, what is secret. */
import { type CheckFailure, type Properties, UNKNOWN, type Value } from "../provider";
import { isObject, isSecret, secret } from "../values";

/**
 * `string`, `boolean` or `number`, followed by `=` and a default (else the kind's zero value), `?` for "stays absent", `!` for required or
 * ` secret`; a list; a map (`*`); or an object, which stays absent when it isn't given.
 */
type Shape = string | [Shape] | { [name: string]: Shape };

const RAW = { raw: "string", disabled: "boolean" };
const COMPRESSION = { compression: "string=gzip", compressionLevel: "number", forceCompression: "boolean" };
const NAMES = { names: ["string"] as [Shape], annotations: { "*": "string" } };
const FILES = { ...COMPRESSION, ...NAMES, ociMediaTypes: "boolean", dest: "string", tar: "boolean=true" };
const REGISTRY = {
    ...COMPRESSION,
    ...NAMES,
    ociMediaTypes: "boolean",
    push: "boolean?",
    pushByDigest: "boolean?",
    insecure: "boolean?",
    danglingNamePrefix: "string",
    nameCanonical: "boolean?",
    unpack: "boolean?",
    store: "boolean=true",
};
const TARGET = { mode: "string=min", ignoreError: "boolean" };
const CACHE = { ref: "string!", ociMediaTypes: "boolean=true", imageManifest: "boolean" };

/** Left out: azblob and typed s3 caches (the plugin loses their region: `raw` serves), provider configuration, `exec`. */
export const IMAGE: { [name: string]: Shape } = {
    addHosts: ["string"],
    buildArgs: { "*": "string" },
    buildOnPreview: "boolean?",
    builder: { name: "string" },
    cacheFrom: [
        {
            local: { src: "string!", digest: "string" },
            registry: { ref: "string!" },
            gha: { scope: "string=buildkit" },
            ...RAW,
        },
    ],
    cacheTo: [
        {
            inline: {},
            local: { dest: "string!", ...COMPRESSION, ...TARGET },
            registry: { ...CACHE, ...COMPRESSION, ...TARGET },
            gha: { scope: "string=buildkit", ...TARGET },
            ...RAW,
        },
    ],
    context: { location: "string!", named: { "*": { location: "string!" } } },
    dockerfile: { location: "string", inline: "string" },
    exec: "boolean",
    exports: [
        {
            tar: { dest: "string!" },
            local: { dest: "string!" },
            registry: { ...REGISTRY, push: "boolean=true" },
            image: REGISTRY,
            oci: { ...FILES, ociMediaTypes: "boolean=true" },
            docker: FILES,
            cacheonly: {},
            ...RAW,
        },
    ],
    ignoreSecretsInDiffCalculation: ["string"],
    labels: { "*": "string" },
    load: "boolean",
    network: "string=default",
    noCache: "boolean",
    platforms: ["string"],
    pull: "boolean",
    push: "boolean",
    registries: [{ address: "string!", username: "string", password: "string secret" }],
    secrets: { "*": "string" },
    ssh: [{ id: "string!", paths: ["string"] }],
    tags: ["string"],
    target: "string",
};

/** One entry of exports, cacheFrom or cacheTo: a kind with its fields, or `raw`, as the CLI would take it. */
export type Entry = { raw: string; disabled: boolean } & { [kind: string]: unknown };

/** The inputs in the clear; lists, maps and texts that are absent, or unknown in a preview, are empty. */
export interface Image {
    addHosts: string[];
    buildArgs: Record<string, string>;
    buildOnPreview?: boolean;
    builder?: { name: string };
    cacheFrom: Entry[];
    cacheTo: Entry[];
    context?: { location: string; named: Record<string, { location: string }> };
    dockerfile?: { location: string; inline: string };
    exec: boolean;
    exports: Entry[];
    ignoreSecretsInDiffCalculation: string[];
    labels: Record<string, string>;
    load: boolean;
    network: string;
    noCache: boolean;
    platforms: string[];
    pull: boolean;
    push: boolean;
    registries: { address: string; username: string; password: string }[];
    secrets: Record<string, string>;
    ssh: { id: string; paths: string[] }[];
    tags: string[];
    target: string;
}

function scalar(shape: string) {
    const [, kind = "", mark = ""] = /^(string|boolean|number)(.*)$/.exec(shape) ?? [];
    const zero = { string: "", boolean: false, number: 0 }[kind] ?? null;
    const given = mark.startsWith("=") ? mark.slice(1) : undefined;
    return { kind, mark, zero, initial: given === undefined ? zero : kind === "boolean" ? given === "true" : given };
}

/**
 * `value` with every default filled in; unknown values and secrets stay marked. What the shape doesn't allow is added to `failures`;
 * undefined: absent.
 */
export function normalize(
    shape: Shape,
    value: Value | undefined,
    path: string,
    failures: CheckFailure[],
): Value | undefined {
    if (value === UNKNOWN) return value;
    if (isSecret(value)) return secret(normalize(shape, value.value, path, failures) ?? null);
    const fail = (property: string, reason: string) => void failures.push({ property, reason });
    if (typeof shape === "string") {
        const { kind, mark, initial } = scalar(shape);
        if ((value ?? "") === "") {
            if (mark === "!" && value !== "") fail(path, "is required");
            return mark === "?" ? undefined : initial;
        }
        if (value === undefined || typeof value !== kind) return fail(path, `must be a ${kind}`);
        return mark === " secret" ? secret(value) : value;
    }
    if (value === undefined || value === null) return undefined;
    const isList = Array.isArray(shape);
    if (isList !== Array.isArray(value) || typeof value !== "object")
        return fail(path, `must be ${isList ? "a list" : "an object"}`);
    if (isList)
        return (value as Value[]).map(
            (item, index) => normalize(shape[0], item, `${path}[${index}]`, failures) ?? null,
        );
    const given: Properties = isObject(value) ? value : {};
    const at = (name: string) => (path ? `${path}.${name}` : name);
    const fields = new Set([...Object.keys(shape), ...Object.keys(given)].filter((name) => name !== "*"));
    const result: Properties = {};
    for (const name of fields) {
        const field = shape["*"] ?? shape[name];
        if (!field) fail(at(name), "is not known to this engine's docker-build");
        const normalized = field && normalize(field, given[name], at(name), failures);
        if (normalized !== undefined) result[name] = normalized;
    }
    return result;
}

/** The inputs without marks, as the plugin decodes them. */
export const decode = (inputs: Value) => plain(IMAGE, inputs) as Image;

function plain(shape: Shape, marked: Value | undefined): unknown {
    if (isSecret(marked)) return plain(shape, marked.value);
    const value = marked ?? undefined;
    if (typeof shape === "string") {
        const { mark, zero } = scalar(shape);
        return value === UNKNOWN ? zero : (value ?? (mark === "?" ? undefined : zero));
    }
    if (Array.isArray(shape)) return Array.isArray(value) ? value.map((item) => plain(shape[0], item)) : [];
    const given: Properties = isObject(value) ? value : {};
    if (shape["*"])
        return Object.fromEntries(Object.entries(given).map(([name, item]) => [name, plain(shape["*"] ?? "", item)]));
    if (value === undefined) return undefined;
    return Object.fromEntries(
        Object.entries(shape)
            .map(([name, field]) => [name, plain(field, given[name])])
            .filter(([, field]) => field !== undefined),
    );
}
