import { closeSync, openSync, readdirSync, readSync } from "node:fs";
import { join } from "node:path";
import { type Executable, identifyExecutable } from "../../core/executable";
import { Platform } from "../../core/platform";
import type { RegistryConnection } from "../../core/registry-connection";
import { timedFromPlace } from "../../drivers/admission/socket";
import { buildDockerfile } from "../../drivers/buildx";
import { CommandError } from "../../drivers/process";
import { withRegistry } from "../../drivers/registry-access";
import { inTemporaryFolder } from "../../drivers/temporary-folder";
import { defineOperations } from "../operations";

export interface Inputs {
    repository: string;
    connection: RegistryConnection;
    platform: string;
    digest: string;
    builder: string;
    /** The user's command; empty: only the entry point's architecture is looked at. */
    command: string[];
    timeoutSeconds: number;
}

interface State extends Inputs {
    /** What the kernel would run: `/usr/local/bin/app is arm64`. */
    entrypoint: string;
}

interface ImageConfig {
    Entrypoint?: string[] | null;
    Cmd?: string[] | null;
    Env?: string[] | null;
}

async function readConfig(inputs: Inputs): Promise<ImageConfig> {
    return withRegistry(inputs.repository, inputs.connection, async ({ client, path }) => {
        const manifest = JSON.parse((await client.getManifest(path, inputs.digest)).bytes.toString());
        return JSON.parse((await client.getBlob(path, manifest.config.digest)).toString()).config ?? {};
    });
}

/**
 * A wildcard that matches just this path, so that a file that is not there is no error (Go's path/filepath, Match; a Dockerfile
 * takes backslashes away, so every special character becomes a class of its own).
 */
function optional(path: string): string {
    const literal = path.replace(/[[*?]/g, "[$&]");
    return literal === path ? path.replace(/([\w.])([^\w./]*)$/, "[$1]$2") : literal;
}

/** Where the kernel finds a command: as it is, or in the folders of the image's PATH. */
function places(command: string, config: ImageConfig): string[] {
    if (command.startsWith("/")) return [command];
    const path = config.Env?.find((entry) => entry.startsWith("PATH="))?.slice("PATH=".length);
    return (path ?? "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin")
        .split(":")
        .filter((folder) => folder.startsWith("/"))
        .reverse() // a later COPY wins, and PATH's first folder has to
        .map((folder) => `${folder}/${command}`);
}

function dockerfile(inputs: Inputs, wanted: string[], withTest: boolean): string {
    const copies = wanted.map((path) => `COPY --from=test ${JSON.stringify([optional(path), "/file/"])}`);
    return [
        `FROM ${inputs.repository}@${inputs.digest} AS test`,
        ...(withTest ? [`RUN ${JSON.stringify(inputs.command)}`] : []),
        "FROM scratch",
        ...copies,
        "",
    ].join("\n");
}

function identify(folder: string): Executable | undefined {
    // Without a file there is no folder, either.
    const [name] = readdirSync(folder, { recursive: true, withFileTypes: true })
        .filter((entry) => entry.isFile() && entry.parentPath === join(folder, "file"))
        .map((entry) => entry.name);
    if (!name) return undefined;
    const head = Buffer.alloc(512);
    const file = openSync(join(folder, "file", name), "r");
    try {
        return identifyExecutable(head.subarray(0, readSync(file, head)));
    } finally {
        closeSync(file);
    }
}

/** Runs the command on the platform's own node and brings the file that the image starts with back from there. */
async function runOn(inputs: Inputs, wanted: string[], withTest: boolean): Promise<Executable | undefined> {
    const { builder, platform, timeoutSeconds } = inputs;
    return inTemporaryFolder((folder) =>
        // The node pulls the image with the credentials of the client that asks it to.
        withRegistry(inputs.repository, inputs.connection, async ({ env }) => {
            await buildDockerfile(
                {
                    builder,
                    platform,
                    dockerfile: dockerfile(inputs, wanted, withTest),
                    outputFolder: folder,
                    noCache: true,
                },
                {
                    env,
                    timeoutMs: timeoutSeconds * 1000,
                    ...timedFromPlace(builder),
                    where: `${platform}, builder ${builder}`,
                    next: `the test of ${platform} failed: no tag was moved; mend the image or the test's command`,
                },
            );
            return identify(folder);
        }),
    );
}

/** The folder that BuildKit missed when it looked for a file in it: wildcards don't make the folders above optional. */
function missingFolder(error: unknown): string | undefined {
    if (!(error instanceof CommandError)) return undefined;
    const lines = error.lastLines.flatMap((line) => /lstat (\/.*): no such file or directory$/.exec(line)?.[1] ?? []);
    return lines.at(-1);
}

/** {@link runOn}, without the folders that are not in the image. The command runs once: it came before the search. */
async function search(inputs: Inputs, wanted: string[], withTest: boolean): Promise<Executable | undefined> {
    try {
        return await runOn(inputs, wanted, withTest);
    } catch (error) {
        const folder = missingFolder(error);
        const others = wanted.filter((path) => folder && !path.startsWith(`${folder}/`));
        if (folder === undefined || others.length === wanted.length) throw error;
        return others.length > 0 ? search(inputs, others, false) : undefined;
    }
}

async function test(inputs: Inputs): Promise<State> {
    const config = await readConfig(inputs);
    const [first] = [...(config.Entrypoint ?? []), ...(config.Cmd ?? [])];
    if (!first)
        throw new Error(
            `${inputs.platform}: the image has neither ENTRYPOINT nor CMD, so there is nothing to look at; ` +
                "give it one, or set test: false",
        );
    const expected = Platform.parse(inputs.platform).architecture;
    let wanted = places(first, config);
    let name = first;
    for (let depth = 0; depth < 4; depth++) {
        const found = await search(inputs, wanted, depth === 0 && inputs.command.length > 0);
        if (!found) throw new Error(`${inputs.platform}: ${name} is not in the image (looked at ${wanted.join(", ")})`);
        if (found.kind === "script") {
            name = found.interpreter;
            wanted = [found.interpreter];
            continue;
        }
        if (found.kind === "other")
            throw new Error(`${inputs.platform}: ${name} is neither an ELF executable nor a script`);
        if (found.architecture !== expected)
            throw new Error(
                `${inputs.platform}: ${name} is a binary for ${found.architecture}; no tag was moved. ` +
                    "next: build it for the target (a stage with FROM --platform=$BUILDPLATFORM compiles for the node)",
            );
        return { ...inputs, entrypoint: `${name} is ${found.architecture}` };
    }
    throw new Error(`${inputs.platform}: ${first} is a script whose interpreters are scripts`);
}

export const operations = defineOperations<Inputs, State>({
    ignored: ["connection", "timeoutSeconds", "builder"],
    async create(inputs) {
        return { id: `${inputs.platform}@${inputs.digest}`, outs: await test(inputs) };
    },
});
