/** docker-build's stand-in with a real buildx, a real BuildKit and a real registry, in folders of its own. */
import { execFileSync } from "node:child_process";
import {
    cpSync,
    existsSync,
    mkdirSync,
    mkdtempSync,
    readdirSync,
    readFileSync,
    realpathSync,
    rmSync,
    writeFileSync,
} from "node:fs";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { afterAll, afterEach, beforeAll, expect } from "vitest";
import { findTool } from "../../drivers/tools";
import { createDockerBuild } from "../../engine/docker-build";
import { type Properties, type Provider, SECRET, SIGNATURE } from "../../engine/provider";
import { type RunningBuildkitd, startBuildkitd } from "./buildkitd";
import { type RunningRegistry, startRegistry } from "./registry";
import { standIn } from "./stand-in";

export const CANARY = "canary-8f1f0a3c";
export const PLATFORM = process.arch === "arm64" ? "linux/arm64" : "linux/amd64";
export const urn = (name: string) => `urn:pulumi:s::p::docker-build:index:Image::${name}`;
export const secret = (value: Properties | string) => ({ [SIGNATURE]: SECRET, value });

export const DOCKERFILE = `FROM scratch AS base
COPY --from=rootfs / /
ARG GREETING=none
RUN --mount=type=secret,id=token cat /run/secrets/token > /dev/null && echo "$GREETING" > /greeting.txt

FROM base AS final
COPY hello.txt /hello.txt

FROM scratch AS files
COPY --from=base /greeting.txt /
COPY hello.txt /
`;

/** The host's shell with its libraries: a base to run steps in. */
function makeRootFileSystem(folder: string): void {
    for (const tool of ["sh", "cat", "sleep"].map((name) => realpathSync(findTool(name)))) {
        const name = tool.endsWith("dash") || tool.endsWith("bash") ? "/bin/sh" : `/bin/${tool.split("/").at(-1)}`;
        const libraries = execFileSync("ldd", [tool], { encoding: "utf8" }).match(/\/\S+/g) ?? [];
        for (const [from, to] of [[tool, name], ...libraries.map((library) => [library, library])] as [
            string,
            string,
        ][]) {
            mkdirSync(dirname(join(folder, to)), { recursive: true });
            cpSync(from, join(folder, to), { dereference: true });
        }
    }
}

/** Starts everything before the tests of a file; after each, checks that nothing leaked or was left. */
export function useWorkbench() {
    const work = mkdtempSync(join(tmpdir(), "docker-build-run-"));
    const program = join(work, "stack");
    const argumentsFile = join(work, "arguments");
    const logged: { severity: string; message: string; ephemeral: boolean }[] = [];
    const undo: (() => void)[] = [];
    let buildkitd: RunningBuildkitd;
    let registry: RunningRegistry;

    beforeAll(async () => {
        for (const folder of ["stack", "app", "docker", "bin"]) mkdirSync(join(work, folder));
        makeRootFileSystem(join(work, "rootfs"));
        writeFileSync(join(work, "app/Dockerfile"), DOCKERFILE);
        writeFileSync(join(work, "app/hello.txt"), "hello\n");
        [buildkitd, registry] = await Promise.all([startBuildkitd(), startRegistry()]);
        for (const [name, folder] of Object.entries({ BUILDX_CONFIG: "buildx", DOCKER_CONFIG: "docker" })) {
            const before = process.env[name];
            process.env[name] = join(work, folder);
            undo.push(() =>
                before === undefined ? delete process.env[name] : Object.assign(process.env, { [name]: before }),
            );
        }
        const buildx = findTool("docker-buildx");
        const builder = ["--name", "test", "--driver", "remote", "--platform", PLATFORM, buildkitd.endpoint];
        execFileSync(buildx, ["create", ...builder]);
        const record = `{ printf '%s\\n' "$@"; tr '\\0' '\\n' < /proc/$PPID/cmdline; } >> ${argumentsFile}`;
        undo.push(standIn(join(work, "bin"), "docker-buildx", `${record}\nexec ${buildx} "$@"`));
    });

    /** Everything that could have leaked: what was logged, and every argument that buildx and its guards got. */
    const traces = () =>
        JSON.stringify(logged) + (existsSync(argumentsFile) ? readFileSync(argumentsFile, "utf8") : "");

    afterEach(() => {
        expect(traces()).not.toContain(CANARY);
        expect(leftFolders(process.pid)).toEqual([]);
        logged.length = 0;
    });

    afterAll(async () => {
        for (const step of undo) step();
        await Promise.all([buildkitd?.stop(), registry?.stop()]);
        rmSync(work, { recursive: true, force: true });
    });

    const provider = (signal = new AbortController().signal): Promise<Provider> => {
        const log = (_urn: string, severity: string, message: string, ephemeral: boolean) =>
            void logged.push({ severity, message, ephemeral });
        const host = { project: "p", stack: "s", programDirectory: program, engineAddress: "", log, signal };
        return createDockerBuild(host, "");
    };

    return {
        work,
        program,
        argumentsFile,
        logged,
        traces,
        provider,
        /** `127.0.0.1:port` */
        registry: () => registry.registry,
        inputs: (more: Properties = {}): Properties => ({
            builder: { name: "test" },
            context: { location: "../app", named: { rootfs: { location: "../rootfs" } } },
            platforms: [PLATFORM],
            push: false,
            buildOnPreview: false,
            secrets: secret({ token: CANARY }),
            ...more,
        }),
        byDigest: (repository: string): Properties => ({
            image: {
                names: [`${registry.registry}/${repository}`],
                pushByDigest: true,
                push: true,
                nameCanonical: true,
                ociMediaTypes: true,
            },
        }),
        /** Check, then create: as the engine does. */
        async create(plugin: Provider, name: string, news: Properties) {
            const checked = await plugin.check(urn(name), {}, news);
            expect(checked.failures).toEqual([]);
            return { inputs: checked.inputs, ...(await plugin.create(urn(name), checked.inputs, 0, false)) };
        },
    };
}

/** Private folders that a process's builds made and did not remove. */
export function leftFolders(pid: number | undefined): string[] {
    return readdirSync(tmpdir()).filter((name) => name.startsWith("docker-build-") && name.includes(`-${pid}-`));
}
