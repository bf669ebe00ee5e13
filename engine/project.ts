/** Pulumi.yaml and Pulumi.STACK.yaml: where the program is, and its configuration. */
import { existsSync, readFileSync, statSync } from "node:fs";
import { basename, dirname, join, resolve } from "node:path";
import { parse } from "yaml";
import type { Keyring } from "./secrets";

export interface Project {
    name: string;
    /** The folder of Pulumi.yaml. */
    root: string;
    /** The folder the program runs in; relative paths of resources count from here. */
    programDirectory: string;
    /** The program's file, relative to programDirectory. */
    entry: string;
    typescript: boolean;
}

/** Configuration by full key ("project:name"); structured values are JSON. */
export interface Config {
    values: Record<string, string>;
    secretKeys: string[];
    /** The salt that secure values were encrypted under. */
    salt?: string;
}

type Yaml = Record<string, unknown>;

function readYaml(file: string, plainScalars = false): Yaml {
    const document: unknown = parse(readFileSync(file, "utf8"), plainScalars ? { schema: "failsafe" } : {});
    if (document === null || document === undefined) return {};
    if (typeof document !== "object" || Array.isArray(document)) throw new Error(`${file} is not a YAML mapping`);
    return document as Yaml;
}

/** Reads Pulumi.yaml; throws where it asks for what this engine doesn't run. */
export function readProject(directory: string): Project {
    const root = resolve(directory);
    const file = join(root, "Pulumi.yaml");
    if (!existsSync(file)) throw new Error(`no Pulumi.yaml in ${root}`);
    const { name, runtime, main } = readYaml(file);
    if (typeof name !== "string" || name === "") throw new Error(`${file}: "name" is missing`);
    const details = (typeof runtime === "object" && runtime !== null ? runtime : { name: runtime }) as Yaml;
    if (details.name !== "nodejs") {
        throw new Error(`${file}: runtime "${details.name}" is not supported by the embedded engine; only nodejs is`);
    }
    const options = (details.options ?? {}) as Yaml;
    const path = resolve(root, typeof main === "string" ? main : ".");
    const isFile = existsSync(path) ? statSync(path).isFile() : typeof main === "string";
    return {
        name,
        root,
        programDirectory: isFile ? dirname(path) : path,
        entry: isFile ? basename(path) : ".",
        typescript: options.typescript !== false,
    };
}

function isSecure(value: unknown): value is { secure: string } {
    return typeof value === "object" && value !== null && typeof (value as Yaml).secure === "string";
}

/** Reads the stack's configuration; `overrides` (key -> value) win. Secure values are decrypted with the file's own salt. */
export async function readConfig(
    project: Project,
    stack: string,
    overrides: Record<string, string>,
    keyring: Keyring,
): Promise<Config> {
    const config: Config = { values: {}, secretKeys: [] };
    const qualify = (key: string) => (key.includes(":") ? key : `${project.name}:${key}`);
    const defaults = (readYaml(join(project.root, "Pulumi.yaml")).config ?? {}) as Yaml;
    for (const [key, declared] of Object.entries(defaults)) {
        const setting = typeof declared === "object" && declared !== null ? (declared as Yaml) : { value: declared };
        const value = setting.value ?? setting.default;
        if (value !== undefined) config.values[qualify(key)] = asText(value);
    }
    const file = join(project.root, `Pulumi.${stack}.yaml`);
    if (existsSync(file)) {
        const texts = (readYaml(file, true).config ?? {}) as Yaml;
        const { config: typed, encryptionsalt } = readYaml(file);
        const salt = typeof encryptionsalt === "string" ? encryptionsalt : undefined;
        if (salt) config.salt = salt;
        const decrypt = async (key: string, cipher: string) => {
            if (!config.secretKeys.includes(key)) config.secretKeys.push(key);
            if (!salt) throw new Error(`${file}: "${key}" is secure, but there is no encryptionsalt`);
            return (await keyring.get(salt)).decrypt(cipher);
        };
        const open = async (key: string, value: unknown): Promise<unknown> => {
            if (isSecure(value)) return decrypt(key, value.secure);
            if (Array.isArray(value)) return Promise.all(value.map((item) => open(key, item)));
            if (typeof value !== "object" || value === null) return value;
            const entries = Object.entries(value).map(async ([name, item]) => [name, await open(key, item)]);
            return Object.fromEntries(await Promise.all(entries));
        };
        for (const [name, value] of Object.entries((typed ?? {}) as Yaml)) {
            const key = qualify(name);
            config.values[key] = typeof texts[name] === "string" ? texts[name] : asText(await open(key, value));
        }
    }
    for (const [key, value] of Object.entries(overrides)) config.values[qualify(key)] = value;
    return config;
}

const asText = (value: unknown) => (typeof value === "string" ? value : JSON.stringify(value));
