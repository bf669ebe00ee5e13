/** The stack's program, started with the SDK's own runner as Pulumi's Node.js language host does. */
import { createRequire } from "node:module";
import { join } from "node:path";
import { type Guarded, spawnGuarded } from "./processes";
import type { Config, Project } from "./project";

/** The SDK's runner ends with this code when the program's error was reported already. */
export const ALREADY_REPORTED = 32;

export interface Program {
    process: Guarded;
    /** The last lines the program printed, for an error that it didn't report itself. */
    lastLines(): string[];
}

export function startProgram(options: {
    project: Project;
    stack: string;
    config: Config;
    /** HOST:PORT of the engine's services. */
    address: string;
    preview: boolean;
    /** Packages that need no plugin on PATH. */
    provided: string[];
    parallel: number;
    onLine(line: string): void;
}): Program {
    const { project, config, address } = options;
    const runner = createRequire(join(project.programDirectory, "_.js")).resolve("@pulumi/pulumi/cmd/run");
    const flags = {
        monitor: address,
        engine: address,
        project: project.name,
        stack: options.stack,
        organization: "organization",
        "root-directory": project.root,
        pwd: project.programDirectory,
        parallel: String(options.parallel),
    };
    const args = Object.entries(flags).map(([flag, value]) => `--${flag}=${value}`);
    const last: string[] = [];
    const process_ = spawnGuarded(
        process.execPath,
        [
            "--require",
            join(__dirname, "preload.js"),
            runner,
            ...args,
            ...(options.preview ? ["--dry-run"] : []),
            project.entry,
        ],
        {
            cwd: project.programDirectory,
            env: {
                ...process.env,
                PULUMI_CONFIG: JSON.stringify(config.values),
                PULUMI_CONFIG_SECRET_KEYS: JSON.stringify(config.secretKeys),
                EMBEDDED_ENGINE_PROVIDES: options.preview ? undefined : options.provided.join(),
                PULUMI_NODEJS_TYPESCRIPT: project.typescript ? "true" : undefined,
            },
            onLine(line) {
                last.push(line);
                if (last.length > 20) last.shift();
                options.onLine(line);
            },
        },
    );
    return { process: process_, lastLines: () => last };
}
