/** Check: defaults that depend on the program's folder, and the problems in the plugin's words and order. */
import { readFile, stat } from "node:fs/promises";
import { join, resolve } from "node:path";
import type { CheckFailure } from "../provider";
import { dockerfileProblem } from "./dockerfile";
import { allExports, entryText, parseExport } from "./flags";
import { tagProblem } from "./reference";
import type { Image } from "./shape";

const MULTIPLE = "multiple exports require a v0.13 buildkit daemon or newer";
const ERRNO: Record<string, string> = { ENOENT: "no such file or directory", EACCES: "permission denied" };
/** Attributes of a raw cache that are credentials. */
const CREDENTIAL = /(^|,)\s*(access_key_id|secret_access_key|session_token|token)\s*=/i;

const isRemote = (location: string) => /^(https?:\/\/|git:\/\/|git@|ssh:\/\/|github\.com\/)/.test(location);

/** Context and Dockerfile where none were given: `.` and `<context>/Dockerfile`. In a preview an empty context is an unknown one. */
export function withDefaults(image: Image, preview: boolean) {
    const location = image.context?.location || (preview ? "" : ".");
    const dockerfile = { location: "", inline: "", ...image.dockerfile };
    if (location && !isRemote(location) && !dockerfile.location && !dockerfile.inline) {
        dockerfile.location = join(location, "Dockerfile");
    }
    return { ...image, context: { location, named: image.context?.named ?? {} }, dockerfile };
}

/**
 * Problems of inputs that {@link withDefaults} completed, in the plugin's order; what is empty in a preview is unknown.
 * Several exports are always refused: the plugin learns BuildKit's version only from its first build.
 */
export async function problems(image: ReturnType<typeof withDefaults>, programDirectory: string, preview: boolean) {
    const failures: CheckFailure[] = [];
    const fail = (property: string, reason: string) => void failures.push({ property, reason });
    if (image.exec) fail("exec", "is not done by this engine's docker-build");
    if (allExports(image).length > 1) fail(image.exports.length > 0 ? "exports" : "push", MULTIPLE);
    const { location } = image.context;
    if (location && location !== "-" && !isRemote(location)) {
        const found = await stat(resolve(programDirectory, location)).catch(() => undefined);
        if (!found?.isDirectory()) fail("context.location", `"${location}": not a valid directory or URL`);
    }
    await checkDockerfile(image, programDirectory, preview, fail);
    const check = <T>(list: string, items: T[], problem: (item: T) => string | undefined) => {
        for (const [index, item] of items.entries()) {
            const isLeftOut = !item && (preview || list === "exports" || list.startsWith("cache"));
            const found = isLeftOut ? undefined : problem(item);
            if (found) fail(`${list}[${index}]`, found);
        }
    };
    check("exports", allExports(image).map(entryText), (text) => exportFailure(text, image.tags));
    check("platforms", image.platforms, (platform) =>
        /^[\w.()-]+(\/[\w.-]+){0,2}$/.test(platform)
            ? undefined
            : `failed to parse platform "${platform}": invalid argument`,
    );
    for (const list of ["cacheFrom", "cacheTo"] as const) {
        check(list, image[list].map(entryText), (text) => {
            if (text.split("type=").length > 2) return `${list} should only specify one cache type`;
            return CREDENTIAL.test(text)
                ? "credentials belong in the environment (AWS_…, ACTIONS_…), not in raw"
                : undefined;
        });
    }
    check("tags", image.tags, tagProblem);
    return failures;
}

function exportFailure(text: string, tags: string[]): string | undefined {
    if (text.split("type=").length > 2) return "exports should only specify one export type";
    try {
        const { type, push, name } = parseExport(text);
        if (type !== "image" || push !== "true" || name || tags.length > 0) return undefined;
        return "at least one tag or export name is needed when pushing to a registry";
    } catch (error) {
        return (error as Error).message;
    }
}

async function checkDockerfile(
    { dockerfile: { location, inline }, context }: ReturnType<typeof withDefaults>,
    programDirectory: string,
    preview: boolean,
    fail: (property: string, reason: string) => void,
): Promise<void> {
    if (location && inline) return fail("dockerfile", `only specify "file" or "inline", not both`);
    if (!location && !inline) {
        if (!preview && !isRemote(context.location)) fail("dockerfile", "missing 'location' or 'inline'");
        return;
    }
    if (isRemote(location)) return;
    const path = resolve(programDirectory, location);
    const source = inline || (await readFile(path, "utf8").catch((error: NodeJS.ErrnoException) => error));
    if (source instanceof Error && source.code !== "EISDIR") {
        return fail("dockerfile.location", `open ${path}: ${ERRNO[source.code ?? ""] ?? source.message}`);
    }
    const problem = dockerfileProblem(source instanceof Error ? "" : source);
    if (problem) fail(inline ? "dockerfile.inline" : "dockerfile.location", problem);
}
