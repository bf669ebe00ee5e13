/** Where a secret could have got to: arguments of processes, and files. */
import { chmodSync, existsSync, mkdirSync, readdirSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { gunzipSync } from "node:zlib";
import { findTool } from "../../drivers/tools";
import { filesBelow } from "./files";

/** Records its own arguments and those of every process above it, then becomes the tool. */
const wrapper = (tool: string, log: string) => `#!/bin/sh
{
    printf '%s\\n' ${tool} "$@"
    pid=$PPID
    while [ "$pid" -gt 1 ] && [ -r /proc/$pid/cmdline ]; do
        tr '\\0' '\\n' < /proc/$pid/cmdline
        parent=1
        while read -r key value; do
            if [ "$key" = PPid: ]; then parent=$value; fi
        done < /proc/$pid/status
        pid=$parent
    done
} >> ${log} 2> /dev/null
exec ${tool} "$@"
`;

/**
 * Records the arguments of every process that a run starts: of the tools by wrappers that stand before them on PATH, and of
 * all other processes by looking at them all the time.
 */
export class ArgumentsRecorder {
    private readonly log: string;
    private readonly seen = new Set<string>();
    private timer: NodeJS.Timeout | undefined;

    /** @param folder gets the wrappers, for PATH, and what they record */
    constructor(
        readonly folder: string,
        tools: string[],
    ) {
        mkdirSync(folder, { recursive: true });
        this.log = join(folder, "recorded");
        for (const name of tools) {
            writeFileSync(join(folder, name), wrapper(findTool(name), this.log));
            chmodSync(join(folder, name), 0o755);
        }
    }

    start(): void {
        this.timer = setInterval(() => this.look(), 20);
    }

    stop(): void {
        clearInterval(this.timer);
    }

    private look(): void {
        for (const pid of readdirSync("/proc").filter((name) => /^\d+$/.test(name)))
            try {
                this.seen.add(readFileSync(`/proc/${pid}/cmdline`, "utf8").replaceAll("\0", "\n"));
            } catch {
                // It has ended since the folder was listed.
            }
    }

    /** All arguments of all processes. */
    text(): string {
        return [existsSync(this.log) ? readFileSync(this.log, "utf8") : "", ...this.seen].join("\n");
    }
}

/** Names of the secrets that a text has in it, as they are or in base64. */
export function secretsIn(text: string | Buffer, secrets: Record<string, string>): string[] {
    const bytes = Buffer.from(text);
    const forms = (secret: string) => [secret, Buffer.from(secret).toString("base64").replace(/=+$/, "")];
    return Object.entries(secrets)
        .filter(([, secret]) => forms(secret).some((form) => bytes.includes(form)))
        .map(([name]) => name);
}

/** `path: name` of every secret in any file below a folder; what is packed with gzip is unpacked. */
export function secretsInFiles(folder: string, secrets: Record<string, string>): { found: string[]; files: number } {
    const found: string[] = [];
    let files = 0;
    for (const path of filesBelow(folder)) {
        files++;
        const bytes = contentOf(path);
        const names = new Set([...secretsIn(bytes, secrets), ...secretsIn(unpacked(bytes), secrets)]);
        found.push(...[...names].map((name) => `${path}: ${name}`));
    }
    return { found, files };
}

/** Nothing of a file that a daemon has removed since the folder was listed. */
function contentOf(path: string): Buffer {
    try {
        return readFileSync(path);
    } catch (error) {
        if ((error as NodeJS.ErrnoException).code !== "ENOENT") throw error;
        return Buffer.alloc(0);
    }
}

function unpacked(bytes: Buffer): Buffer {
    if (bytes.length < 2 || bytes.readUInt16BE(0) !== 0x1f8b) return Buffer.alloc(0);
    try {
        return gunzipSync(bytes);
    } catch {
        return Buffer.alloc(0); // begins like gzip, and is not
    }
}
