/** What the plugin's check finds wrong in a Dockerfile; the rest of its grammar is BuildKit's to judge. */

const INSTRUCTIONS = (
    "ADD ARG CMD COPY ENTRYPOINT ENV EXPOSE FROM HEALTHCHECK LABEL " +
    "MAINTAINER ONBUILD RUN SHELL STOPSIGNAL USER VOLUME WORKDIR"
).split(" ");

/** The text of the first problem, as BuildKit words it; none for Dockerfiles with a syntax (frontend) of their own. */
export function dockerfileProblem(source: string): string | undefined {
    const lines = source.replace(/^\uFEFF/, "").split(/\r?\n/);
    const directives = leadingDirectives(lines);
    const syntax = directives.get("syntax")?.split(" ")[0] || process.env.BUILDKIT_SYNTAX;
    if (syntax && syntax !== "docker/dockerfile:1") return undefined;
    const continued = directives.get("escape") === "`" ? /(^|[^`])`[ \t]*$/ : /(^|[^\\])\\[ \t]*$/;
    let found = false;
    let inStage = false;
    for (let next = 0; next < lines.length; ) {
        let line = lines[next++]?.trim() ?? "";
        if (!line || line.startsWith("#")) continue;
        const start = next;
        while (continued.test(line) && next < lines.length) {
            const more = lines[next++] ?? "";
            if (!/^\s*(#|$)/.test(more)) line = line.replace(continued, "$1") + more;
        }
        found = true;
        const word = line.split(/\s/, 1)[0] ?? "";
        const instruction = word.toUpperCase();
        if (!INSTRUCTIONS.includes(instruction)) {
            return `dockerfile parse error on line ${start}: unknown instruction: ${word}${suggestion(word)}`;
        }
        inStage ||= instruction === "FROM";
        if (!inStage && instruction !== "ARG") return "no build stage in current context";
        for (const { name, chomp } of heredocs(instruction, line)) {
            const isEnd = (text: string) => (chomp ? text.replace(/^\t+/, "") : text) === name;
            const end = lines.findIndex((text, index) => index >= next && isEnd(text));
            if (end < 0) return undefined;
            next = end + 1;
        }
    }
    return found ? undefined : "file with no instructions";
}

function leadingDirectives(lines: string[]): Map<string, string> {
    const directives = new Map<string, string>();
    for (const line of lines.slice(lines[0]?.startsWith("#!") ? 1 : 0)) {
        const [, name, value] = /^(?:#|\/\/)\s*(syntax|escape|check)\s*=\s*(.+?)\s*$/i.exec(line) ?? [];
        if (!name || !value) break;
        directives.set(name.toLowerCase(), value);
    }
    return directives;
}

/** The here-documents that an instruction opens: the words that end them, and whether leading tabs are dropped. */
function heredocs(instruction: string, line: string): { name: string; chomp: boolean }[] {
    if (!["ADD", "COPY", "RUN", "ONBUILD"].includes(instruction)) return [];
    const unquoted = line.replace(/(^|\s)("[^"]*"|'[^']*')/g, "$1");
    const words = unquoted.matchAll(/(?:^|\s)\d*<<(-?)(["']?)([^\s<"']+)\2(?=\s|$)/g);
    return [...words].map(([, dash, , name = ""]) => ({ name, chomp: dash === "-" }));
}

/** BuildKit's hint: the nearest instruction, if fewer than three edits away, in the case of what was written. */
function suggestion(word: string): string {
    const ranked = INSTRUCTIONS.map((name) => ({ name, distance: distance(word.toUpperCase(), name) }));
    const nearest = ranked.sort((a, b) => a.distance - b.distance)[0];
    if (!nearest || nearest.distance > 2) return "";
    return ` (did you mean ${word === word.toUpperCase() ? nearest.name : nearest.name.toLowerCase()}?)`;
}

/** Levenshtein distance. */
function distance(from: string, to: string): number {
    let row = Array.from({ length: to.length + 1 }, (_, index) => index);
    for (const [i, letter] of [...from].entries()) {
        const next = [i + 1];
        for (const [j, other] of [...to].entries()) {
            next.push(Math.min((row[j + 1] ?? 0) + 1, (next[j] ?? 0) + 1, (row[j] ?? 0) + (letter === other ? 0 : 1)));
        }
        row = next;
    }
    return row[to.length] ?? 0;
}
