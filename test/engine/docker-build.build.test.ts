/** The stand-in with a real buildx, a real BuildKit and real registries. */
import { execFileSync, spawn } from "node:child_process";
import {
    cpSync,
    existsSync,
    mkdirSync,
    mkdtempSync,
    readdirSync,
    readFileSync,
    realpathSync,
    rmSync,
    symlinkSync,
    writeFileSync,
} from "node:fs";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { afterAll, afterEach, beforeAll, describe, expect, it } from "vitest";
import { findTool } from "../../drivers/tools";
import { createDockerBuild } from "../../engine/docker-build";
import { hashContext } from "../../engine/docker-build/context";
import { type Properties, type Provider, SECRET, SIGNATURE } from "../../engine/provider";
import { freePort, type RunningBuildkitd, startBuildkitd } from "../support/buildkitd";
import { account, type RunningRegistry, startRegistry } from "../support/registry";
import { standIn } from "../support/stand-in";

const CANARY = "canary-8f1f0a3c";
const PLATFORM = process.arch === "arm64" ? "linux/arm64" : "linux/amd64";
const urn = (name: string) => `urn:pulumi:s::p::docker-build:index:Image::${name}`;
const secret = (value: Properties | string) => ({ [SIGNATURE]: SECRET, value });

const work = mkdtempSync(join(tmpdir(), "docker-build-run-"));
const program = join(work, "stack");
const argumentsFile = join(work, "arguments");
let buildkitd: RunningBuildkitd;
let registry: RunningRegistry;
let undo: (() => void)[] = [];
let logged: { severity: string; message: string; ephemeral: boolean }[] = [];

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

const DOCKERFILE = `FROM scratch AS base
COPY --from=rootfs / /
ARG GREETING=none
RUN --mount=type=secret,id=token cat /run/secrets/token > /dev/null && echo "$GREETING" > /greeting.txt

FROM base AS final
COPY hello.txt /hello.txt

FROM scratch AS files
COPY --from=base /greeting.txt /
COPY hello.txt /
`;

function provider(signal: AbortSignal = new AbortController().signal): Promise<Provider> {
    const log = (_urn: string, severity: string, message: string, ephemeral: boolean) => {
        logged.push({ severity, message, ephemeral });
    };
    return createDockerBuild(
        { project: "p", stack: "s", programDirectory: program, engineAddress: "", log, signal },
        "",
    );
}

function inputs(more: Properties = {}): Properties {
    return {
        builder: { name: "test" },
        context: { location: "../app", named: { rootfs: { location: "../rootfs" } } },
        platforms: [PLATFORM],
        push: false,
        buildOnPreview: false,
        secrets: secret({ token: CANARY }),
        ...more,
    };
}

function byDigest(repository: string): Properties {
    const names = [`${registry.registry}/${repository}`];
    return { image: { names, pushByDigest: true, push: true, nameCanonical: true, ociMediaTypes: true } };
}

/** Check, then create: as the engine does. */
async function create(plugin: Provider, name: string, news: Properties) {
    const checked = await plugin.check(urn(name), {}, news);
    expect(checked.failures).toEqual([]);
    return { inputs: checked.inputs, ...(await plugin.create(urn(name), checked.inputs, 0, false)) };
}

async function manifest(reference: string): Promise<{ mediaType: string; config: Record<string, unknown> }> {
    const [repository, digest] = reference.split("@");
    const get = async (path: string) => {
        const headers = { accept: "application/vnd.oci.image.manifest.v1+json" };
        const response = await fetch(`http://${registry.registry}/v2/${repository}/${path}`, { headers });
        if (!response.ok) throw new Error(`${path}: ${response.status}`);
        return response.json() as Promise<{ mediaType: string; config: { digest: string } }>;
    };
    const { mediaType, config } = await get(`manifests/${digest}`);
    return { mediaType, config: (await get(`blobs/${config.digest}`)) as unknown as Record<string, unknown> };
}

/** Everything that could have leaked: what was logged, and every argument that buildx and its guards got. */
function traces(): string {
    return JSON.stringify(logged) + (existsSync(argumentsFile) ? readFileSync(argumentsFile, "utf8") : "");
}

beforeAll(async () => {
    for (const folder of ["stack", "app", "docker", "bin"]) mkdirSync(join(work, folder));
    makeRootFileSystem(join(work, "rootfs"));
    writeFileSync(join(work, "app/Dockerfile"), DOCKERFILE);
    [buildkitd, registry] = await Promise.all([startBuildkitd(), startRegistry()]);
    const before = { BUILDX_CONFIG: process.env.BUILDX_CONFIG, DOCKER_CONFIG: process.env.DOCKER_CONFIG };
    undo.push(() => Object.assign(process.env, before));
    for (const [name, value] of Object.entries(before))
        if (value === undefined) undo.push(() => delete process.env[name]);
    process.env.BUILDX_CONFIG = join(work, "buildx");
    process.env.DOCKER_CONFIG = join(work, "docker");
    const buildx = findTool("docker-buildx");
    execFileSync(buildx, [
        "create",
        "--name",
        "test",
        "--driver",
        "remote",
        "--platform",
        PLATFORM,
        buildkitd.endpoint,
    ]);
    const record = `{ printf '%s\\n' "$@"; tr '\\0' '\\n' < /proc/$PPID/cmdline; } >> ${argumentsFile}\nexec ${buildx} "$@"`;
    undo.push(standIn(join(work, "bin"), "docker-buildx", record));
});

afterEach(() => {
    expect(traces()).not.toContain(CANARY);
    expect(
        readdirSync(tmpdir()).filter((name) => name.startsWith("docker-build-") && name.includes(`-${process.pid}-`)),
    ).toEqual([]);
    logged = [];
});

afterAll(async () => {
    for (const step of undo) step();
    undo = [];
    await Promise.all([buildkitd?.stop(), registry?.stop()]);
    rmSync(work, { recursive: true, force: true });
});

describe("builds", () => {
    it("pushes by digest, with secrets, build arguments, labels, hosts and caches; then again after a change", async () => {
        writeFileSync(join(work, "app/hello.txt"), "hello\n");
        const plugin = await provider();
        const cache = `${registry.registry}/full:cache`;
        const news = inputs({
            target: "final",
            buildArgs: { GREETING: "hi" },
            labels: { "org.example.title": "full" },
            addHosts: ["example.test:10.1.2.3"],
            network: "none",
            noCache: true,
            exports: [byDigest("full")],
            cacheFrom: [{ registry: { ref: cache } }],
            cacheTo: [{ registry: { ref: cache, mode: "max", imageManifest: true, ociMediaTypes: true } }],
        });
        const made = await create(plugin, "full", news);
        const digest = String(made.outputs.digest);
        expect(made.id).toMatch(/^sha256:[0-9a-f]{64}$/);
        expect(made.outputs).toMatchObject({ digest: made.id, ref: "", secrets: secret({ token: CANARY }) });
        const image = await manifest(`full@${digest}`);
        expect(image.mediaType).toBe("application/vnd.oci.image.manifest.v1+json");
        expect(image.config).toMatchObject({
            architecture: PLATFORM.split("/")[1],
            config: { Labels: { "org.example.title": "full" } },
        });
        const { tags } = (await (await fetch(`http://${registry.registry}/v2/full/tags/list`)).json()) as {
            tags: string[];
        };
        expect(tags).toEqual(["cache"]);
        expect(readFileSync(argumentsFile, "utf8")).toMatch(/^"id=token",env=BUILD_SECRET_/m);
        expect(logged).toContainEqual({
            severity: "info",
            message: expect.stringContaining('"test" instance'),
            ephemeral: true,
        });

        const same = await plugin.diff(urn("full"), made.id, made.inputs, made.outputs, made.inputs, []);
        expect(same).toMatchObject({ changes: "none", diffs: [] });
        writeFileSync(join(work, "app/hello.txt"), "hello again\n");
        const changed = await plugin.diff(urn("full"), made.id, made.inputs, made.outputs, made.inputs, []);
        expect(changed).toMatchObject({ changes: "some", diffs: ["contextHash"] });
        const preview = await plugin.update(urn("full"), made.id, made.inputs, made.outputs, made.inputs, 0, true, []);
        expect(preview.outputs.digest).toBe("");
        const updated = await plugin.update(urn("full"), made.id, made.inputs, made.outputs, made.inputs, 0, false, []);
        expect(updated.outputs.digest).not.toBe(digest);
        expect(updated.outputs.contextHash).toBe(preview.outputs.contextHash);
    });

    it("pushes tags, and refers to the first with its digest", async () => {
        const tags = ["one", "two"].map((tag) => `${registry.registry}/tagged:${tag}`);
        const made = await create(await provider(), "tagged", inputs({ push: true, tags }));
        expect(made.outputs.ref).toBe(`${tags[0]}@${made.outputs.digest}`);
        const response = await fetch(`http://${registry.registry}/v2/tagged/tags/list`);
        expect(await response.json()).toMatchObject({ tags: ["one", "two"] });
    });

    it("writes files from an inline Dockerfile, and notices when they are gone", async () => {
        const plugin = await provider();
        const news = inputs({
            dockerfile: { inline: DOCKERFILE },
            target: "files",
            buildArgs: { GREETING: "a,b c" },
            exports: [{ local: { dest: "../out" } }],
            cacheTo: [{ local: { dest: "../cache" } }],
        });
        const made = await create(plugin, "files", news);
        expect(made).toMatchObject({ id: "files", outputs: { digest: "", ref: "" } });
        expect(readFileSync(join(work, "out/greeting.txt"), "utf8")).toBe("a,b c\n");
        expect(existsSync(join(work, "cache/index.json"))).toBe(true);
        rmSync(join(work, "out"), { recursive: true });
        const { diffs } = await plugin.diff(urn("files"), made.id, made.inputs, made.outputs, made.inputs, []);
        expect(diffs).toEqual(["exports[0]"]);
    });

    it("gives a registry's password to buildx through a private configuration, and keeps the user's builders", async () => {
        const guarded = await startRegistry({ htpasswd: account.htpasswd });
        undo.push(() => void guarded.stop());
        const tags = [`${guarded.registry}/private:v1`];
        const plugin = await provider();
        await expect(create(plugin, "anonymous", inputs({ push: true, tags }))).rejects.toThrow(
            /failed to (push|authorize)|401/,
        );
        writeFileSync(join(work, "docker/config.json"), JSON.stringify({ credsStore: "no-such-helper" }));
        const registries = [{ address: guarded.registry, username: account.username, password: account.password }];
        const made = await create(plugin, "private", inputs({ push: true, tags, registries }));
        rmSync(join(work, "docker/config.json"));
        expect(made.outputs.ref).toContain(`${tags[0]}@sha256:`);
        expect(made.outputs.registries).toEqual([
            { address: guarded.registry, username: account.username, password: secret(account.password) },
        ]);
        expect(traces()).not.toContain(account.password);
    });
});

describe("failures", () => {
    it("says what the plugin says about a failing step, and keeps the last lines without the secret", async () => {
        const inline = `${DOCKERFILE}\nFROM base\nRUN --mount=type=secret,id=token cat /run/secrets/token && exit 7\n`;
        const failing = create(await provider(), "fails", inputs({ dockerfile: { inline }, exports: [byDigest("x")] }));
        await expect(failing).rejects.toThrow(
            /^failed to solve: process "\/bin\/sh -c cat \/run\/secrets\/token && exit 7" did not complete successfully: exit code: 7$/,
        );
        const kept = logged.filter(({ ephemeral }) => !ephemeral).map(({ message }) => message);
        expect(kept.join("\n")).toMatch(/\[secret\][\s\S]*exit 7/);
    });

    it("says what the plugin says about a missing builder, base and registry", async () => {
        const plugin = await provider();
        await expect(create(plugin, "a", inputs({ builder: { name: "no-such-builder" } }))).rejects.toThrow(
            /^new builder: no builder "no-such-builder" found$/,
        );
        const base = `${registry.registry}/no/such:base`;
        const dockerfile = { inline: `FROM ${base}\n` };
        await expect(create(plugin, "b", inputs({ dockerfile, exports: [byDigest("x")] }))).rejects.toThrow(
            `failed to solve: ${base}: failed to resolve source metadata for ${base}: ${base}: not found`,
        );
        const silent = `127.0.0.1:${await freePort()}/none/x:y`;
        await expect(create(plugin, "c", inputs({ push: true, tags: [silent] }))).rejects.toThrow(
            new RegExp(`^failed to solve: failed to push ${silent}: .*connection refused$`),
        );
    });

    it("ends buildx when the operation is cancelled or its time is up", async () => {
        const dockerfile = { inline: `${DOCKERFILE}\nFROM base\nRUN sleep 300\n` };
        const news = inputs({ dockerfile, exports: [byDigest("x")] });
        const controller = new AbortController();
        const plugin = await provider(controller.signal);
        const running = create(plugin, "sleeps", news);
        running.catch(() => undefined);
        await expect.poll(() => traces(), { timeout: 20_000 }).toContain("RUN sleep 300");
        controller.abort(new Error("cancelled by the user"));
        await expect(running).rejects.toThrow("cancelled by the user");
        expect(buildxProcesses()).toEqual([]);

        const { inputs: checked } = await (await provider()).check(urn("late"), {}, news);
        await expect((await provider()).create(urn("late"), checked, 1, false)).rejects.toThrow(/timeout/i);
        expect(buildxProcesses()).toEqual([]);
    });

    it("leaves no buildx behind when the engine is killed, and removes what the killed one left", async () => {
        const dockerfile = { inline: `${DOCKERFILE}\nFROM base\nRUN sleep 301\n` };
        const registries = [{ address: "example.test", username: "u", password: CANARY }];
        const news = inputs({ dockerfile, exports: [byDigest("x")], registries });
        const engine = spawn(
            process.execPath,
            ["-e", ENGINE, join(__dirname, "../.."), program, JSON.stringify(news)],
            {
                stdio: ["ignore", "pipe", "inherit"],
            },
        );
        let output = "";
        engine.stdout.on("data", (chunk) => {
            output += chunk;
        });
        await expect.poll(() => output, { timeout: 20_000 }).toContain("RUN sleep 301");
        expect(buildxProcesses()).not.toEqual([]);
        engine.kill("SIGKILL");
        await expect.poll(() => buildxProcesses(), { timeout: 5_000 }).toEqual([]);
        const left = () => readdirSync(tmpdir()).filter((name) => name.includes(`-${engine.pid}-`));
        expect(left()).toHaveLength(1);
        await create(await provider(), "next", inputs({ exports: [{ cacheonly: {} }] }));
        expect(left()).toEqual([]);
    });
});

/** Compiles TypeScript as it is required, and runs one create. */
const ENGINE = `
const [root, program, news] = process.argv.slice(1);
const ts = require(root + "/node_modules/typescript");
require.extensions[".ts"] = (module, file) => {
    const compilerOptions = { module: ts.ModuleKind.CommonJS, target: ts.ScriptTarget.ES2022, esModuleInterop: true };
    module._compile(ts.transpileModule(require("fs").readFileSync(file, "utf8"), { compilerOptions }).outputText, file);
};
(async () => {
    const { createDockerBuild } = require(root + "/engine/docker-build/index.ts");
    const log = (urn, severity, message) => console.log(message);
    const host = { project: "p", stack: "s", programDirectory: program, log, signal: new AbortController().signal };
    const plugin = await createDockerBuild(host, "");
    const { inputs } = await plugin.check("${urn("killed")}", {}, JSON.parse(news));
    await plugin.create("${urn("killed")}", inputs, 0, false);
})();
`;

/** Processes that run buildx on this test's folders. */
function buildxProcesses(): string[] {
    const commands = readdirSync("/proc")
        .filter((name) => /^\d+$/.test(name))
        .map((pid) => {
            try {
                return readFileSync(`/proc/${pid}/cmdline`, "utf8").replaceAll("\0", " ");
            } catch {
                return ""; // It has ended meanwhile.
            }
        });
    return commands.filter((command) => command.includes("docker-buildx") && command.includes("../app"));
}

describe("the context's hash", () => {
    const FILES = [
        "a.txt",
        "b.log",
        "docs/a.md",
        "docs/deep/b.md",
        "docs/deep/c.txt",
        "src/a.txt",
        "src/lib/x.js",
        "src/lib/x.log",
        "[x].txt",
        ".env",
    ];
    const IGNORED = [
        "*.log\n",
        "**/*.log\n# comment\n\n",
        "docs\n!docs/deep/b.md\n",
        "*\n!src/**\nsrc/lib/*.log\n",
        "/docs/deep/\n.env\n",
        "**/deep\n!**/c.txt\n",
        "src/?.txt\n\\[x\\].txt\n",
        "docs/**\n!docs/*.md\n",
        "**\n!a.*\n",
    ];

    it.each(IGNORED)("counts exactly the files that BuildKit gets: %j", async (ignore) => {
        const context = mkdtempSync(join(work, "context-"));
        for (const file of FILES) {
            mkdirSync(dirname(join(context, file)), { recursive: true });
            writeFileSync(join(context, file), file);
        }
        symlinkSync("a.txt", join(context, "link.txt"));
        writeFileSync(join(context, ".dockerignore"), ignore);
        const out = `${context}-out`;
        const dockerfile = { inline: "FROM scratch\nCOPY . /\n" };
        await create(
            await provider(),
            "all",
            inputs({ context: { location: context }, dockerfile, exports: [{ local: { dest: out } }] }),
        );
        const hash = () => hashContext(program, context, "", {});
        const before = await hash();
        for (const file of FILES) {
            writeFileSync(join(context, file), "changed");
            const counts = (await hash()) !== before;
            writeFileSync(join(context, file), file);
            expect({ file, counts }).toEqual({ file, counts: existsSync(join(out, file)) });
        }
    });
});
