/** Property values in wire form: comparing, walking, marking and hiding secrets, replacing by path. */
import { type Properties, SECRET, SIGNATURE, UNKNOWN, type Value } from "./provider";

/** The signature of a reference to a resource. */
const RESOURCE = "5cf8f73096256a8f31e491e813e4eb8e";
const UNSUPPORTED: Record<string, string> = {
    c44067f5952c0a294b673a41bacd8c17: "an asset",
    "0def7320c3a5731c473e5ecbe6d01bc7": "an archive",
    d0e6a833031e9bbcd3f4e8bde6ca49a4: "an output value",
};

type Marked = { [key: string]: Value };

export function isObject(value: Value | undefined): value is Marked {
    return typeof value === "object" && value !== null && !Array.isArray(value);
}

export function isSecret(value: Value | undefined): value is Marked {
    return isObject(value) && value[SIGNATURE] === SECRET;
}

export function secret(value: Value): Value {
    return isSecret(value) ? value : { [SIGNATURE]: SECRET, value };
}

/** Rebuilds a value bottom-up: `change` sees each node before its children and may answer with another value. */
function rewrite(value: Value, change: (node: Value) => Value | undefined): Value {
    const changed = change(value);
    if (changed !== undefined) return changed;
    if (Array.isArray(value)) return value.map((item) => rewrite(item, change));
    if (isObject(value)) return rewriteProperties(value, change);
    return value;
}

export function rewriteProperties(properties: Properties, change: (node: Value) => Value | undefined): Properties {
    return Object.fromEntries(Object.entries(properties).map(([key, value]) => [key, rewrite(value, change)]));
}

function some(value: Value, test: (node: Value) => boolean): boolean {
    if (test(value)) return true;
    if (Array.isArray(value)) return value.some((item) => some(item, test));
    return isObject(value) && Object.values(value).some((item) => some(item, test));
}

export const hasUnknown = (value: Value) => some(value, (node) => node === UNKNOWN);
export const hasSecret = (value: Value) => some(value, isSecret);

/** "an asset", … when the value holds something this engine doesn't handle. */
export function unsupportedKind(value: Value): string | undefined {
    let kind: string | undefined;
    some(value, (node) => {
        if (isObject(node)) kind ??= UNSUPPORTED[String(node[SIGNATURE])];
        return kind !== undefined;
    });
    return kind;
}

/** Secrets in the clear. */
export function reveal(properties: Properties): Properties {
    const change = (node: Value): Value | undefined =>
        isSecret(node) ? rewrite(node.value ?? null, change) : undefined;
    return rewriteProperties(properties, change);
}

/** What a provider gets: references to resources as their ids (or URNs), secrets in the clear where it can't take them. */
export function forProvider(properties: Properties, acceptSecrets: boolean): Properties {
    const plain = acceptSecrets ? properties : reveal(properties);
    return rewriteProperties(plain, (node) =>
        isObject(node) && node[SIGNATURE] === RESOURCE ? node.id || (node.urn ?? null) : undefined,
    );
}

/** For people: secrets as "[secret]", unknown values as "[unknown]". */
export function display(properties: Properties, showSecrets: boolean): Properties {
    const change = (node: Value): Value | undefined => {
        if (node === UNKNOWN) return "[unknown]";
        if (!isSecret(node)) return undefined;
        return showSecrets ? rewrite(node.value ?? null, change) : "[secret]";
    };
    return rewriteProperties(properties, change);
}

/** A provider that knows no secrets returned `values`: what was secret in `like` is marked again. */
export function markSecrets(values: Properties, like: Properties): Properties {
    return Object.fromEntries(Object.entries(values).map(([key, value]) => [key, mark(value, like[key])]));
}

function mark(value: Value, like: Value | undefined): Value {
    if (isSecret(like)) return secret(value);
    if (isObject(value) && isObject(like) && !isSecret(value)) return markSecrets(value, like);
    if (Array.isArray(value) && Array.isArray(like)) return value.map((item, index) => mark(item, like[index]));
    return value;
}

/** Equal in content; a secret equals its plain value. Property order doesn't matter. */
export function equal(left: Value | undefined, right: Value | undefined): boolean {
    const a = isSecret(left) ? left.value : left;
    const b = isSecret(right) ? right.value : right;
    if (a === b) return true;
    if (Array.isArray(a) && Array.isArray(b)) {
        return a.length === b.length && a.every((item, index) => equal(item, b[index]));
    }
    if (!isObject(a) || !isObject(b)) return false;
    const keys = Object.keys(a);
    return keys.length === Object.keys(b).length && keys.every((key) => key in b && equal(a[key], b[key]));
}

/** Splits a property path: `a.b[0]["c.d"]`. */
export function splitPath(path: string): string[] {
    return [...path.matchAll(/\["((?:[^"\\]|\\.)*)"\]|\[(\d+|\*)\]|([^.[\]]+)/g)].map(
        ([, quoted, index, name]) => quoted?.replace(/\\(.)/g, "$1") ?? index ?? name ?? "",
    );
}

/** `news` with the values at the paths as they are in `olds` (absent there: absent here). */
export function keepOld(news: Properties, olds: Properties, paths: string[]): Properties {
    return paths.reduce((result, path) => keepAt(result, olds, splitPath(path)) as Properties, news);
}

function keepAt(value: Value | undefined, old: Value | undefined, path: string[]): Value | undefined {
    const [step, ...rest] = path;
    if (step === undefined) return old;
    if (isSecret(value) || isSecret(old)) return old;
    if (step === "*" && (isObject(value) || Array.isArray(value))) {
        const keys = new Set([...Object.keys(value), ...(typeof old === "object" && old ? Object.keys(old) : [])]);
        return [...keys].reduce<Value | undefined>((result, key) => keepAt(result, old, [key, ...rest]), value);
    }
    if (Array.isArray(value)) {
        const items = Array.isArray(old) ? old : [];
        return value.map((item, index) => (String(index) === step ? (keepAt(item, items[index], rest) ?? item) : item));
    }
    if (!isObject(value)) return value;
    const kept = keepAt(value[step], isObject(old) ? old[step] : undefined, rest);
    const others = Object.entries(value).filter(([key]) => key !== step);
    return Object.fromEntries(kept === undefined ? others : [...others, [step, kept]]);
}
