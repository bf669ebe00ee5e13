/** The build context as the plugin hashes it: Dockerfile, then files, names and modes, minus what .dockerignore excludes. */
import { createHash, type Hash } from "node:crypto";
import { createReadStream } from "node:fs";
import { lstat, readdir, readFile, realpath, stat } from "node:fs/promises";
import { join, posix, resolve } from "node:path";

/** A pattern of a .dockerignore. Matching follows moby/patternmatcher, which buildx uses. */
class IgnorePattern {
    readonly exclusion: boolean;
    /** The pattern without "!" and without a trailing glob. */
    readonly prefix: string;
    private readonly expression: RegExp;

    constructor(line: string) {
        this.exclusion = line.startsWith("!");
        const pattern = this.exclusion ? line.slice(1) : line;
        this.prefix = pattern.replace(/\/\*\*$/, "").replace(/\/\*$/, "");
        const body = pattern.replace(/\*\*\/?$|\*\*\/?|\*|\?|\\.|[.+()|{}$^\\]/g, (token, at: number) => {
            const isLast = at + token.length === pattern.length;
            // A leading "**" before plain text is any beginning, even of a name.
            if (token.startsWith("**"))
                return isLast || /^\*\*[^/*?[\]\\][^*?[\]\\]*$/.test(pattern) ? ".*" : "(?:.*/)?";
            if (token === "*") return "[^/]*";
            if (token === "?") return "[^/]";
            if (token.length === 2 || token === "^") return token;
            return `\\${token}`;
        });
        this.expression = new RegExp(`^${body}$`, "s");
    }

    matches(path: string): boolean {
        return this.expression.test(path);
    }
}

/** Reads .dockerignore text (moby/patternmatcher/ignorefile). */
function parseIgnoreFile(content: string): IgnorePattern[] {
    const patterns: IgnorePattern[] = [];
    for (const line of content.replace(/^\uFEFF/, "").split("\n")) {
        if (line.startsWith("#") || !line.trim()) continue;
        const inverted = line.trim().startsWith("!");
        const pattern = inverted ? line.trim().slice(1).trim() : line.trim();
        if (!pattern) throw new Error('illegal exclusion pattern: "!"');
        const clean = posix
            .normalize(pattern)
            .replace(/(.)\/$/, "$1")
            .replace(/^\/(?=.)/, "");
        patterns.push(new IgnorePattern(inverted ? `!${clean}` : clean));
    }
    return patterns;
}

async function isFolder(path: string): Promise<boolean> {
    return (await stat(path).catch(() => undefined))?.isDirectory() ?? false;
}

async function isFile(path: string): Promise<boolean> {
    const found = await stat(path).catch(() => undefined);
    return found !== undefined && !found.isDirectory();
}

/** The patterns beside the Dockerfile (`<Dockerfile>.dockerignore`), else those at the context's root. */
async function ignorePatterns(base: string, dockerfile: string, context: string): Promise<IgnorePattern[]> {
    for (const path of [`${dockerfile}.dockerignore`, join(context, ".dockerignore")]) {
        const content = await readFile(resolve(base, path), "utf8").catch((error: NodeJS.ErrnoException) => {
            if (error.code === "ENOENT" || error.code === "ENOTDIR") return undefined;
            throw error;
        });
        if (content !== undefined) return parseIgnoreFile(content);
    }
    return [];
}

/** Go's text of a file mode, e.g. `-rw-r--r--`, `Lrwxrwxrwx`, `ugrwxr-xr-x`. */
function modeText(mode: number, link: boolean): string {
    const flags =
        (link ? "L" : "") + (mode & 0o4000 ? "u" : "") + (mode & 0o2000 ? "g" : "") + (mode & 0o1000 ? "t" : "");
    const bits = [..."rwxrwxrwx"].map((letter, index) => (mode & (0o400 >> index) ? letter : "-"));
    return (flags || "-") + bits.join("");
}

async function hashFolder(hash: Hash, root: string, patterns: IgnorePattern[], path = "", inherited: boolean[] = []) {
    const entries = await readdir(join(root, path), { withFileTypes: true });
    entries.sort((a, b) => Buffer.compare(Buffer.from(a.name), Buffer.from(b.name)));
    for (const entry of entries) {
        const name = path ? `${path}/${entry.name}` : entry.name;
        let excluded = false;
        const matched = patterns.map((pattern, index) => {
            if (!inherited[index] && (pattern.exclusion !== excluded || !pattern.matches(name))) return false;
            excluded = !pattern.exclusion;
            return true;
        });
        if (entry.isDirectory()) {
            if (!excluded || mayHoldExceptions(name, patterns)) await hashFolder(hash, root, patterns, name, matched);
        } else if (!excluded && (entry.isFile() || entry.isSymbolicLink())) {
            try {
                for await (const chunk of createReadStream(join(root, name))) hash.update(chunk);
            } catch (error) {
                const { code, message } = error as NodeJS.ErrnoException;
                if (code === "EISDIR") continue;
                // The plugin's walk takes a dangling link for "skip the rest of this folder".
                if (code === "ENOENT" || code === "ENOTDIR") return;
                throw new Error(`hashing build context: could not open "${name}": ${message}`);
            }
            const { mode } = await lstat(join(root, name));
            hash.update(name).update(modeText(mode, entry.isSymbolicLink()));
        }
    }
}

/** An excluded folder is only entered where a "!" pattern could name something inside it. */
function mayHoldExceptions(folder: string, patterns: IgnorePattern[]): boolean {
    const exceptions = patterns.filter((pattern) => pattern.exclusion);
    return exceptions.some(({ prefix }) => /[*[\]?^\\]/.test(prefix) || `${prefix}/`.startsWith(`${folder}/`));
}

/** What `contextHash` is; remote contexts and Dockerfiles don't count. Relative paths are relative to `base`. */
export async function hashContext(base: string, context: string, dockerfile: string, named: Record<string, string>) {
    const hash = createHash("sha256");
    const locals = [
        context,
        ...Object.keys(named)
            .sort()
            .map((name) => named[name] ?? ""),
    ];
    const dockerfilePath = dockerfile && resolve(base, dockerfile);
    const hasDockerfile = dockerfile !== "" && (await isFile(dockerfilePath));
    const patterns =
        hasDockerfile || (context && (await isFolder(resolve(base, context))))
            ? await ignorePatterns(base, dockerfile, context)
            : [];
    if (hasDockerfile) hash.update(await readFile(dockerfilePath));
    for (const local of locals) {
        if (local && (await isFolder(resolve(base, local))))
            await hashFolder(hash, await realpath(resolve(base, local)), patterns);
    }
    return hash.digest("hex");
}
