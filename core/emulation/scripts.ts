import { readFileSync } from "node:fs";
import { join } from "node:path";

/** The scripts that a host runs in bash, as root. */
export type EmulationScript = "look" | "put" | "remove" | "probe";

/** A script with the settings it reads, each in single quotes, where a shell takes all characters as they are. */
export function emulationScript(name: EmulationScript, settings: Record<string, string> = {}): string {
    const lines = Object.entries(settings).map(([key, value]) => `${key}='${value.replaceAll("'", "'\\''")}'\n`);
    return `${lines.join("")}${readFileSync(join(__dirname, "files", `${name}.sh`), "utf8")}`;
}
