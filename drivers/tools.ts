import { accessSync, constants, statSync } from "node:fs";
import { homedir } from "node:os";
import { delimiter, isAbsolute, join } from "node:path";

/** Folder that holds what the set-up made once: tools, base images, advisory databases. */
export function cacheRoot(env: NodeJS.ProcessEnv = process.env): string {
    if (env.BUILDFLEET_CACHE) return env.BUILDFLEET_CACHE;
    return join(env.XDG_CACHE_HOME || join(env.HOME || homedir(), ".cache"), "buildfleet");
}

/** A tool that is neither on PATH nor in the cache. */
export class ToolMissingError extends Error {
    constructor(
        readonly tool: string,
        readonly searched: string[],
    ) {
        super(
            `${tool} was not found on PATH nor in ${searched.at(-1)}; ` +
                `install it, or run "npm run setup" in a checkout of buildfleet, which puts it there`,
        );
        this.name = "ToolMissingError";
    }
}

/** Docker's folders for CLI plugins: where buildx lives when it was installed with Docker. */
function pluginFolders(env: NodeJS.ProcessEnv): string[] {
    return [
        join(env.DOCKER_CONFIG || join(env.HOME || homedir(), ".docker"), "cli-plugins"),
        "/usr/local/lib/docker/cli-plugins",
        "/usr/libexec/docker/cli-plugins",
        "/usr/lib/docker/cli-plugins",
    ];
}

function isExecutable(path: string): boolean {
    try {
        accessSync(path, constants.X_OK);
        return statSync(path).isFile();
    } catch {
        return false;
    }
}

/**
 * Absolute path of a tool: PATH first, then (for `docker-*`) Docker's plugin folders, then the set-up's cache.
 * An absolute path is returned as it is.
 *
 * @throws ToolMissingError naming every place that was searched.
 */
export function findTool(name: string, env: NodeJS.ProcessEnv = process.env): string {
    if (isAbsolute(name)) return name;
    const folders = [
        ...(env.PATH ?? "").split(delimiter).filter(Boolean),
        ...(name.startsWith("docker-") ? pluginFolders(env) : []),
        join(cacheRoot(env), "bin"),
    ];
    const found = folders.map((folder) => join(folder, name)).find(isExecutable);
    if (!found) throw new ToolMissingError(name, folders);
    return found;
}
