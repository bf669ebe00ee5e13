import { createHash, randomUUID } from "node:crypto";
import { existsSync, mkdirSync, readdirSync, readFileSync, renameSync, rmSync, statSync, writeFileSync } from "node:fs";
import { dirname, join, resolve } from "node:path";
import { z } from "zod";
import { SettingsError } from "../../core/problems";
import { run } from "../process";
import { cacheRoot, findTool } from "../tools";
import { DatabaseError } from "./database";
import { parseReport } from "./report";

/** A grype database made of the organization's own advisories. */
export interface AdvisoryDatabase {
    /** The folder to name in `GRYPE_DB_CACHE_DIR`. */
    path: string;
    /** How many advisories it holds; never 0. */
    advisories: number;
}

const TOOL = "grype-advisories";
const SUMMARY = "advisories.json";
const DATABASE = "database";
/** A folder that a killed process left behind is removed once it is older than any run takes. */
const ABANDONED_MS = 3_600_000;

/** What the program prints (tools/grype/advisories). */
const summary = z.object({
    advisories: z.int().nonnegative(),
    problems: z
        .array(z.object({ file: z.string(), field: z.string(), found: z.string(), expected: z.string() }))
        .nullish(),
});

const underWay = new Map<string, Promise<AdvisoryDatabase>>();

/**
 * The database of a folder of advisories, made once for its content and then kept in the cache.
 *
 * @throws DatabaseError when the folder can't be read or holds no advisory, SettingsError with all that is wrong in them.
 */
export async function advisoryDatabase(directory: string): Promise<AdvisoryDatabase> {
    const folder = resolve(directory);
    const path = join(cacheRoot(), "advisories", databaseKey(folder));
    const making = underWay.get(path) ?? make(folder, path).finally(() => underWay.delete(path));
    underWay.set(path, making);
    return making;
}

async function make(directory: string, path: string): Promise<AdvisoryDatabase> {
    if (!existsSync(path)) {
        removeAbandoned(dirname(path));
        const temporary = `${path}.${randomUUID()}.tmp`;
        mkdirSync(temporary, { recursive: true });
        try {
            const made = await convert(directory, join(temporary, DATABASE));
            writeFileSync(join(temporary, SUMMARY), JSON.stringify(made));
            publish(temporary, path);
        } finally {
            rmSync(temporary, { recursive: true, force: true });
        }
    }
    const { advisories } = parseReport(TOOL, readFileSync(join(path, SUMMARY)), summary);
    return { path: join(path, DATABASE), advisories };
}

async function convert(directory: string, out: string): Promise<{ advisories: number }> {
    // 1: the advisories have problems (listed on stdout), or the program itself has (then nothing is there).
    const result = await run(TOOL, ["--in", directory, "--out", out], { okExitCodes: [0, 1], where: directory });
    if (result.exitCode !== 0 && result.stdout.trim() === "") {
        throw new Error(`${TOOL} failed (${directory}): ${result.stderr.trim()}`);
    }
    const { advisories, problems } = parseReport(TOOL, result.stdout, summary);
    if (result.exitCode !== 0 || problems?.length) {
        const found = (problems ?? []).map(({ file, field, ...rest }) => ({ path: `${file}: ${field}`, ...rest }));
        throw new SettingsError(`advisories in ${directory}`, found);
    }
    if (advisories === 0) throw empty(directory);
    return { advisories };
}

/** In one step, so that nobody sees half a database; where another process was first, its database is the same. */
function publish(temporary: string, path: string): void {
    try {
        renameSync(temporary, path);
    } catch (error) {
        const { code } = error as NodeJS.ErrnoException;
        if (code !== "ENOTEMPTY" && code !== "EEXIST") throw error;
    }
}

/** Of the advisories' names and bytes. @throws DatabaseError when the folder is missing or holds no advisory. */
export function advisoriesHash(directory: string): string {
    const files = advisoryFiles(directory);
    if (files.length === 0) throw empty(directory);
    const hash = createHash("sha256");
    for (const file of files) {
        const bytes = readFileSync(join(directory, file));
        hash.update(`${JSON.stringify(file)} ${bytes.length}\n`).update(bytes);
    }
    return hash.digest("hex").slice(0, 32);
}

/** Of the advisories and of the program that turns them into a database. */
function databaseKey(directory: string): string {
    const program = statSync(findTool(TOOL));
    return createHash("sha256")
        .update(`${advisoriesHash(directory)} ${program.size} ${program.mtimeMs}`)
        .digest("hex")
        .slice(0, 32);
}

function advisoryFiles(directory: string): string[] {
    try {
        return readdirSync(directory)
            .filter((file) => /\.ya?ml$/.test(file))
            .sort();
    } catch (error) {
        const next = "name a folder of YAML files, as in examples/hello/advisories";
        throw new DatabaseError("grype", `the advisories in ${directory} can't be read`, next, error as Error);
    }
}

function empty(directory: string): DatabaseError {
    const next = "add the advisories, or leave the setting out to scan against the public database";
    return new DatabaseError("grype", `there are no advisories in ${directory}`, next);
}

function removeAbandoned(folder: string): void {
    if (!existsSync(folder)) return;
    for (const name of readdirSync(folder).filter((each) => each.endsWith(".tmp"))) {
        const path = join(folder, name);
        const modified = statSync(path, { throwIfNoEntry: false })?.mtimeMs ?? Date.now();
        if (Date.now() - modified > ABANDONED_MS) rmSync(path, { recursive: true, force: true });
    }
}
