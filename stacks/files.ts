import { readFileSync } from "node:fs";
import { type Problem, SettingsError } from "../core/problems";
import { isTable } from "../core/schema-tables";

/** Tables whose names are the user's: a build argument `NginxConfFile` is one, and no path to read. */
const USERS_OWN = new Set(["buildArgs", "mirrored", "images", "env"]);

/**
 * Settings in which every `…File: path` became `…` with the file's content: certificates and passwords stay out of the stack's
 * settings. A path is relative to the folder of the stack's program. Build arguments, variables and names of images stay as they are.
 *
 * @throws SettingsError with every file that can't be read, and every setting that is given twice.
 */
export function withFiles(subject: string, settings: unknown): unknown {
    const problems: Problem[] = [];
    const result = resolved(settings, "", problems);
    if (problems.length > 0) throw new SettingsError(subject, problems);
    return result;
}

function resolved(value: unknown, path: string, problems: Problem[]): unknown {
    if (Array.isArray(value)) return value.map((item, index) => resolved(item, `${path}[${index}]`, problems));
    if (!isTable(value)) return value;
    return Object.fromEntries(
        Object.entries(value).map(([key, item]) => {
            const at = path === "" ? key : `${path}.${key}`;
            if (USERS_OWN.has(key) && isTable(item)) return [key, item];
            const name = /^(.+)File$/.exec(key)?.[1];
            if (name === undefined || typeof item !== "string") return [key, resolved(item, at, problems)];
            if (value[name] !== undefined)
                problems.push({ path: at, found: `set together with ${name}`, expected: "one of them" });
            return [name, content(item, at, problems)];
        }),
    );
}

function content(file: string, path: string, problems: Problem[]): string {
    try {
        return readFileSync(file, "utf8").trimEnd();
    } catch (error) {
        const { code } = error as NodeJS.ErrnoException;
        problems.push({ path, found: `${JSON.stringify(file)} can't be read (${code})`, expected: "a file's path" });
        return "";
    }
}
