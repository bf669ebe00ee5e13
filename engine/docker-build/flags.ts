/** Exports, caches and the other inputs as buildx's command line takes them. */
import { randomBytes } from "node:crypto";
import { join } from "node:path";
import type { Entry, Image } from "./shape";

/** Fields whose name on the command line is more than their own in kebab case. */
const RENAMED: Record<string, string> = { ociMediaTypes: "oci-mediatypes" };
const COMPRESSION = ["compression", "compressionLevel", "forceCompression"];

/** `type=KIND,attribute=value,…`; "" for a disabled entry, two types for one with two kinds. */
export function entryText({ raw, disabled, ...kinds }: Entry): string {
    if (disabled) return "";
    const typed = Object.entries(kinds).map(([kind, fields]) =>
        [`type=${kind}`, ...attributes(kind, Object(fields))].join(","),
    );
    return [...typed, ...(raw ? [raw] : [])].join(",");
}

function attributes(kind: string, { names = [], annotations = {}, ...fields }: Record<string, unknown>): string[] {
    const given = Object.entries(fields).filter(([field, value]) => {
        if (COMPRESSION.includes(field)) return fields.compressionLevel !== 0;
        // The plugin drops the mode of a local cache.
        return (value ?? "") !== "" && !(kind === "local" && field === "mode");
    });
    const texts = given.map(([field, value]) => {
        const name = RENAMED[field] ?? field.replace(/[A-Z]/g, (letter) => `-${letter.toLowerCase()}`);
        return `${name}=${field === "compressionLevel" ? Math.min(Number(value), 22) : value}`;
    });
    const annotationTexts = Object.entries(annotations as Record<string, string>).map(
        ([key, value]) => `annotation.${key}=${value}`,
    );
    return [...texts, ...(names as string[]).map((name) => `name=${name}`), ...annotationTexts.sort()];
}

/** The attributes of an export's text; throws what the plugin's parser says. */
export function parseExport(text: string): Record<string, string> {
    if (!/[=,]/.test(text)) return { type: text === "-" ? "tar" : "local", dest: text };
    const fields = text.split(",").map((field) => {
        const at = field.indexOf("=");
        if (at < 0) throw new Error(`invalid value ${field}`);
        return [field.slice(0, at).trim().toLowerCase(), field.slice(at + 1)];
    });
    const parsed: Record<string, string> = Object.fromEntries(fields);
    if (!parsed.type) throw new Error("type is required for output");
    return parsed.type === "registry" ? { push: "true", ...parsed, type: "image" } : parsed;
}

/** Every export, the shorthands `push` and `load` included. */
export function allExports({ exports, push, load }: Image): Entry[] {
    const shorthands = [...(push ? ["type=registry"] : []), ...(load ? ["type=docker"] : [])];
    return [...exports, ...shorthands.map((raw) => ({ raw, disabled: false }))];
}

/** Why the plugin (not buildx) can't do this export: it hands BuildKit a folder where a file is needed. */
export function exportProblem({ type, dest, tar }: Record<string, string>): string | undefined {
    if (type === "tar") return "output directory is not supported by tar exporter";
    if ((type !== "oci" && type !== "docker") || !dest || tar === "false") return undefined;
    return "failed to solve: method /moby.filesync.v1.FileSend/diffcopy not supported by the client";
}

/** The `build` command for checked inputs; `env` has the secrets, which are nowhere else. `folder` takes its metadata, and the inline Dockerfile. */
export function buildCommand(image: Image, folder: string): { args: string[]; env: Record<string, string> } {
    const env: Record<string, string> = { BUILDX_NO_DEFAULT_ATTESTATIONS: "1" };
    const flags = (name: string, values: (string | undefined)[]) =>
        values.flatMap((value) => (value ? [name, value] : []));
    const pairs = (values: Record<string, string>) => Object.entries(values).map(([key, value]) => `${key}=${value}`);
    const secrets = Object.entries(image.secrets).map(([id, value]) => {
        const variable = `BUILD_SECRET_${randomBytes(8).toString("hex").toUpperCase()}`;
        env[variable] = value;
        return `"id=${id.replaceAll('"', '""')}",env=${variable}`;
    });
    const { context, dockerfile } = image;
    const named = Object.entries(context?.named ?? {}).map(([name, { location }]) => `${name}=${location}`);
    const args = [
        ...["build", "--progress", "plain", "--provenance=false", "--sbom=false"],
        ...flags("--metadata-file", [join(folder, "metadata.json")]),
        ...flags("--builder", [image.builder?.name]),
        ...flags("--platform", image.platforms),
        ...flags("--file", [dockerfile?.inline ? join(folder, "Dockerfile") : dockerfile?.location]),
        ...flags("--target", [image.target]),
        ...flags("--tag", image.tags),
        ...flags("--build-arg", pairs(image.buildArgs)),
        ...flags("--build-context", named),
        ...flags("--label", pairs(image.labels)),
        ...flags("--add-host", image.addHosts),
        ...flags("--network", [image.network]),
        ...flags(
            "--ssh",
            image.ssh.map(({ id, paths }) => (paths.length ? `${id}=${paths.join(",")}` : id)),
        ),
        ...flags("--secret", secrets),
        ...flags("--cache-from", image.cacheFrom.map(entryText)),
        ...flags("--cache-to", image.cacheTo.map(entryText)),
        ...flags("--output", allExports(image).map(entryText)),
        ...(image.noCache ? ["--no-cache"] : []),
        ...(image.pull ? ["--pull"] : []),
    ];
    return { args: [...args, "--", context?.location || "."], env };
}
