/** Replays what the real plugin was asked and said against the stand-in, on the very files it saw. */
import {
    chmodSync,
    cpSync,
    mkdirSync,
    mkdtempSync,
    readdirSync,
    readFileSync,
    rmSync,
    symlinkSync,
    writeFileSync,
} from "node:fs";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { createDockerBuild } from "../../engine/docker-build";
import { hashContext } from "../../engine/docker-build/context";
import { dockerfileProblem } from "../../engine/docker-build/dockerfile";
import { buildCommand } from "../../engine/docker-build/flags";
import { decode, IMAGE, normalize } from "../../engine/docker-build/shape";
import { type Properties, type Provider, SECRET, SIGNATURE, UNKNOWN } from "../../engine/provider";

const RECORDINGS = join(__dirname, "../fixtures/recordings");
const work = mkdtempSync(join(tmpdir(), "docker-build-replay-"));
const bin = join(work, "bin");
const warnings: string[] = [];
const path = process.env.PATH;

interface Call {
    method: string;
    request: { urn: string; id?: string; preview?: boolean } & { [name: string]: Properties };
    response?: Record<string, unknown> & { properties: Properties; id: string };
    errors?: string[];
}

interface Suite {
    name: string;
    /** Text of app/hello.txt from the given step on. */
    contexts: Record<string, string>;
}

const SUITES: Suite[] = [
    { name: "images", contexts: { "01": "hello\n", "03": "hello\nmore\n" } },
    { name: "lifecycle", contexts: { "01": "hi\nx\ny\nz\n", "04": "hi\nx\ny\nz\nchanged\n" } },
];

function provider(programDirectory: string): Promise<Provider> {
    const signal = new AbortController().signal;
    const log = (_urn: string, severity: string, message: string) => {
        if (severity === "warning") warnings.push(message);
    };
    return createDockerBuild({ project: "p", stack: "s", programDirectory, engineAddress: "", log, signal }, "0.0.22");
}

function calls(file: string): Call[] {
    const lines = readFileSync(file, "utf8").trim().split("\n");
    const all = lines.map((line) => JSON.parse(line.replaceAll("$WORK", work)) as Call);
    const ours = all.filter(
        ({ method, request }) => method.includes("ResourceProvider") && request.urn?.includes("docker-build:index:"),
    );
    return ours.map((call) => ({ ...call, method: call.method.split("/").at(-1) ?? "" }));
}

/** Files as they were recorded, modes included: they count in the context's hash. */
function writeContext(suite: Suite, step: string): void {
    const key =
        Object.keys(suite.contexts)
            .filter((from) => from <= step)
            .at(-1) ?? "";
    for (const folder of readdirSync(join(RECORDINGS, suite.name, "program"))) {
        cpSync(join(RECORDINGS, suite.name, "program", folder), join(work, folder), { recursive: true });
    }
    writeFileSync(join(work, "app/hello.txt"), suite.contexts[key] ?? "");
    writeFileSync(join(work, "app/x.log"), "ignored by images' .dockerignore\n");
    if (suite.name === "lifecycle")
        for (const name of ["x.log", ".dockerignore"]) rmSync(join(work, "app", name), { force: true });
    for (const entry of readdirSync(work, { recursive: true, withFileTypes: true })) {
        if (entry.isFile() && !entry.parentPath.startsWith(bin)) chmodSync(join(entry.parentPath, entry.name), 0o644);
    }
}

/** A buildx that notes its arguments and "builds" the digest it is told. */
function writeBuildx(digest: string): void {
    const metadata = JSON.stringify(digest ? { "containerimage.digest": digest } : {});
    const script = `#!/bin/sh
printf '%s\\n' "$@" >> ${bin}/arguments
while [ "$1" != --metadata-file ]; do shift; done
echo '${metadata}' > "$2"
`;
    writeFileSync(join(bin, "docker-buildx"), script, { mode: 0o755 });
}

beforeAll(() => {
    for (const folder of ["bin", "stack", "out"]) mkdirSync(join(work, folder));
    writeFileSync(join(work, "out/tools.txt"), "tools\n");
    process.env.PATH = `${bin}:${path}`;
});
afterAll(() => {
    process.env.PATH = path;
    rmSync(work, { recursive: true });
});

for (const suite of SUITES) {
    const folder = join(RECORDINGS, suite.name);
    const files = readdirSync(folder).filter((name) => name.endsWith(".jsonl"));
    const replayed: Record<string, number> = {};

    describe(`recorded calls: ${suite.name}`, () => {
        for (const file of files.sort()) {
            it(file, async () => {
                writeContext(suite, file.slice(0, 2));
                const plugin = await provider(join(work, "stack"));
                for (const { method, request, response, errors } of calls(join(folder, file))) {
                    if (errors && !/FileSend/.test(errors[0] ?? "")) continue; // These need a real buildx: docker-build.build.test.ts
                    replayed[method] = (replayed[method] ?? 0) + 1;
                    await replay(plugin, method, request, response, errors);
                }
            });
        }

        it("replayed calls of every kind", () => {
            const kinds = ["Check", "Create", "Diff", "Read", "Update"];
            expect(Object.keys(replayed).sort()).toEqual(kinds);
        });
    });
}

async function replay(
    plugin: Provider,
    method: string,
    request: Call["request"],
    response: Call["response"],
    errors?: string[],
) {
    const {
        urn,
        id = "",
        preview = false,
        olds = {},
        news = {},
        oldInputs = {},
        inputs = {},
        properties = {},
    } = request;
    switch (method) {
        case "Check": {
            const result = await plugin.check(urn, olds, news);
            expect(result).toEqual({ inputs: response?.inputs, failures: response?.failures ?? [] });
            return;
        }
        case "Diff": {
            const result = await plugin.diff(urn, id, oldInputs, olds, news, []);
            const kinds = Object.entries((response?.detailedDiff ?? {}) as Record<string, { kind: string }>);
            expect(result.changes).toBe(response?.changes === "DIFF_SOME" ? "some" : "none");
            expect([...result.diffs].sort()).toEqual([...((response?.diffs as string[]) ?? [])].sort());
            expect(result.detailed).toEqual(Object.fromEntries(kinds.map(([name, { kind }]) => [name, kind])));
            expect([result.replaces, result.deleteBeforeReplace]).toEqual([[], false]);
            return;
        }
        case "Create": {
            const result = plugin.create(urn, properties, 0, preview);
            if (errors) return expect(result).rejects.toThrow(errors[0]?.replace(/^rpc error: .* desc = /, ""));
            writeBuildx(String(response?.properties.digest));
            expect(await result).toEqual({ id: response?.id, outputs: response?.properties });
            return;
        }
        case "Update": {
            writeBuildx(String(response?.properties.digest));
            const result = await plugin.update(urn, id, oldInputs, olds, news, 0, preview, []);
            expect(result).toEqual({ outputs: response?.properties });
            return;
        }
        case "Read": {
            warnings.length = 0;
            const result = await plugin.read(urn, id, inputs, properties);
            expect(result).toEqual({ id: response?.id, inputs: response?.inputs, outputs: response?.properties });
            expect(warnings.length).toBe(urn.endsWith("::tagged") ? 1 : 0);
            return;
        }
        default:
            throw new Error(`unexpected call ${method}`);
    }
}

const URN = "urn:pulumi:s::p::docker-build:index:Image::image";
const secret = (value: Properties | string) => ({ [SIGNATURE]: SECRET, value });
const INLINE = { inline: "FROM scratch\n" };

/** The one failure that a check reports; undefined: none. */
async function failure(more: Properties): Promise<{ property: string; reason: string } | undefined> {
    const plugin = await provider(join(work, "stack"));
    return (await plugin.check(URN, {}, { context: { location: "." }, dockerfile: INLINE, ...more })).failures[0];
}

describe("check", () => {
    it.each<[string, Properties, string, RegExp]>([
        [
            "two Dockerfiles",
            { dockerfile: { ...INLINE, location: "x" } },
            "dockerfile",
            /only specify "file" or "inline"/,
        ],
        [
            "a context that is a file",
            { context: { location: "../app/Dockerfile" } },
            "context.location",
            /not a valid dir/,
        ],
        [
            "an inline Dockerfile that is empty",
            { dockerfile: { inline: "# none\n" } },
            "dockerfile.inline",
            /no instructions/,
        ],
        ["several exports", { exports: [{ cacheonly: {} }, { cacheonly: {} }] }, "exports", /multiple exports/],
        ["push and load", { push: true, load: true, tags: ["a/b:c"] }, "push", /multiple exports/],
        [
            "two kinds of export",
            { exports: [{ cacheonly: {}, local: { dest: "x" } }] },
            "exports[0]",
            /only specify one/,
        ],
        ["a push without a name", { push: true }, "exports[0]", /at least one tag or export name/],
        ["a raw export without a type", { exports: [{ raw: "dest=x" }] }, "exports[0]", /type is required/],
        ["an odd platform", { platforms: ["linux/amd64", "li nux"] }, "platforms[1]", /failed to parse platform/],
        [
            "two kinds of cache",
            { cacheTo: [{ inline: {}, local: { dest: "x" } }] },
            "cacheTo[0]",
            /only specify one cache type/,
        ],
        [
            "credentials in a raw cache",
            { cacheFrom: [{ raw: "type=s3,bucket=b,secret_access_key=k" }] },
            "cacheFrom[0]",
            /environment/,
        ],
        ["a tag in capitals", { tags: ["ok:1", "Capital"] }, "tags[1]", /must be lowercase/],
        ["a tag with a space", { tags: ["a b"] }, "tags[0]", /^invalid reference format$/],
        ["exec", { exec: true }, "exec", /not done/],
        ["a typed s3 cache", { cacheTo: [{ s3: { bucket: "b" } }] }, "cacheTo[0].s3", /not known/],
        ["an unknown property", { annotations: {} }, "annotations", /not known/],
        ["a wrong type", { noCache: "yes" }, "noCache", /must be a boolean/],
        ["a missing field", { cacheFrom: [{ local: {} }] }, "cacheFrom[0].local.src", /required/],
    ])("refuses %s", async (_name, more, property, reason) => {
        expect(await failure(more)).toEqual({ property, reason: expect.stringMatching(reason) });
    });

    it("takes what looks odd and isn't", async () => {
        expect(
            await failure({ tags: ["UPPER/case:tag", `a/b@sha256:${"0".repeat(64)}`, "localhost/x"] }),
        ).toBeUndefined();
        expect(
            await failure({ context: { location: "https://example.test/repo.git" }, dockerfile: {} }),
        ).toBeUndefined();
        expect(await failure({ exports: [{ raw: "type=image,push=true,name=a/b" }] })).toBeUndefined();
        expect(await failure({ exports: [{ disabled: true, raw: "nonsense,x" }] })).toBeUndefined();
    });

    it("keeps what is unknown in a preview, and doesn't judge it", async () => {
        const plugin = await provider(join(work, "stack"));
        const news = {
            context: UNKNOWN,
            tags: [UNKNOWN],
            buildArgs: { A: UNKNOWN },
            platforms: UNKNOWN,
            push: UNKNOWN,
        };
        const { inputs, failures } = await plugin.check(URN, {}, news);
        expect(failures).toEqual([]);
        expect(inputs).toMatchObject({ ...news, dockerfile: { inline: "", location: "" } });
        const { id, outputs } = await plugin.create(URN, inputs, 0, true);
        expect({ id, outputs }).toMatchObject({
            id: "image",
            outputs: { contextHash: UNKNOWN, digest: UNKNOWN, ref: UNKNOWN },
        });
    });

    it("marks secrets and passwords, wherever they came in the clear", async () => {
        const plugin = await provider(join(work, "stack"));
        const registries = [
            { address: "a.test", password: "p" },
            { address: "b.test", password: secret("q") },
        ];
        const { inputs } = await plugin.check(URN, {}, { dockerfile: INLINE, secrets: { token: "t" }, registries });
        expect(inputs.secrets).toEqual(secret({ token: "t" }));
        expect(inputs.registries).toMatchObject([{ password: secret("p") }, { password: secret("q") }]);
    });

    it("refuses other resources, configuration and versions by name", async () => {
        const plugin = await provider(join(work, "stack"));
        const index = "urn:pulumi:s::p::docker-build:index:Index::x";
        await expect(plugin.check(index, {}, {})).rejects.toThrow("docker-build:index:Index");
        await expect(plugin.configure({ version: "0.0.22", host: "tcp://x" })).rejects.toThrow("host");
        const host = {
            project: "",
            stack: "",
            programDirectory: work,
            engineAddress: "",
            log: () => undefined,
            signal: new AbortController().signal,
        };
        await expect(createDockerBuild(host, "0.0.23")).rejects.toThrow("0.0.23");
    });
});

describe("diff and delete", () => {
    const BASE: Properties = {
        dockerfile: INLINE,
        buildArgs: { A: "1" },
        secrets: { a: "1", b: "2" },
        registries: [{ address: "r", password: "p" }],
    };

    async function diff(change: Properties, ignoreChanges: string[] = []): Promise<string[]> {
        const plugin = await provider(join(work, "stack"));
        const { inputs: olds } = await plugin.check(URN, {}, BASE);
        const { outputs } = await plugin.update(URN, "id", olds, olds, olds, 0, true, []);
        const { inputs: news } = await plugin.check(URN, {}, { ...BASE, ...change });
        return (await plugin.diff(URN, "id", olds, outputs, news, ignoreChanges)).diffs;
    }

    it.each<[Properties, string[]]>([
        [{}, []],
        [{ buildArgs: { A: "2" } }, ["buildArgs"]],
        [{ builder: { name: "b" } }, ["builder"]],
        [{ tags: [] }, []],
        [{ secrets: { a: "1", b: "3" } }, ["secrets"]],
        [{ secrets: { a: "1", b: "3" }, ignoreSecretsInDiffCalculation: ["b"] }, []],
        [{ registries: [{ address: "r", password: "other" }] }, []],
        [{ registries: [{ address: "r", username: "u" }] }, ["registries[0]"]],
        [{ context: { location: ".", named: { more: { location: "../bin" } } } }, ["context.named", "contextHash"]],
        [{ pull: true, exports: [{ cacheonly: {} }] }, ["pull", "exports", "contextHash"]],
        [{ exports: [{ local: { dest: "../nowhere" } }] }, ["exports", "exports[0]"]],
    ])("%j changes %j", async (change, expected) => {
        expect(await diff(change)).toEqual(expected);
    });

    it("leaves out what is to be ignored", async () => {
        expect(await diff({ buildArgs: { A: "2" }, labels: { a: "b" } }, ["buildArgs"])).toEqual(["labels"]);
    });

    it("deletes nothing: says so where the plugin would have", async () => {
        const plugin = await provider(join(work, "stack"));
        await plugin.delete(URN, "id", {}, { digest: "sha256:0", tags: [] }, 0);
        await expect(plugin.delete(URN, "id", {}, { digest: "sha256:0", tags: ["r.test/a:b"] }, 0)).rejects.toThrow(
            "retainOnDelete",
        );
    });
});

it("gives buildx every input, in its words", () => {
    const news: Properties = {
        addHosts: ["h:10.0.0.1"],
        buildArgs: { A: "x=y" },
        builder: { name: "b" },
        cacheFrom: [
            { local: { src: "c" } },
            { raw: "type=s3,region=r,bucket=b" },
            { gha: { scope: "s" } },
            { disabled: true, raw: "x" },
        ],
        cacheTo: [
            {
                registry: {
                    ref: "r/c",
                    mode: "max",
                    ociMediaTypes: true,
                    imageManifest: true,
                    compressionLevel: 30,
                    compression: "zstd",
                },
            },
        ],
        context: { location: "app", named: { base: { location: "docker-image://a" } } },
        dockerfile: { location: "app/Dockerfile" },
        exports: [
            {
                image: {
                    names: ["r/a"],
                    push: true,
                    pushByDigest: true,
                    compressionLevel: 0,
                    annotations: { b: "2", a: "1" },
                },
            },
        ],
        labels: { l: "1" },
        network: "host",
        noCache: true,
        platforms: ["linux/arm64"],
        pull: true,
        secrets: secret({ 'odd,"id': "value" }),
        ssh: [{ id: "default" }, { id: "key", paths: ["/a", "/b"] }],
        tags: ["r/a:1"],
        target: "t",
    };
    const image = decode(normalize(IMAGE, news, "", []) ?? null);
    const { args, env } = buildCommand(image, "/private");
    const [variable = ""] = Object.keys(env).filter((name) => env[name] === "value");
    expect(args.map((argument) => argument.replace(variable, "VARIABLE"))).toEqual([
        ...[
            "build",
            "--progress",
            "plain",
            "--provenance=false",
            "--sbom=false",
            "--metadata-file",
            "/private/metadata.json",
        ],
        ...[
            "--builder",
            "b",
            "--platform",
            "linux/arm64",
            "--file",
            "app/Dockerfile",
            "--target",
            "t",
            "--tag",
            "r/a:1",
        ],
        ...[
            "--build-arg",
            "A=x=y",
            "--build-context",
            "base=docker-image://a",
            "--label",
            "l=1",
            "--add-host",
            "h:10.0.0.1",
        ],
        ...["--network", "host", "--ssh", "default", "--ssh", "key=/a,/b", "--secret", '"id=odd,""id",env=VARIABLE'],
        ...[
            "--cache-from",
            "type=local,src=c",
            "--cache-from",
            "type=s3,region=r,bucket=b",
            "--cache-from",
            "type=gha,scope=s",
        ],
        ...["--cache-to", expect.stringMatching(/^type=registry,ref=r\/c,.*compression=zstd,compression-level=22/)],
        ...[
            "--output",
            expect.stringMatching(
                /^type=image,.*push=true,push-by-digest=true,store=true,name=r\/a,annotation.a=1,annotation.b=2$/,
            ),
        ],
        ...["--no-cache", "--pull", "--", "app"],
    ]);
});

describe("Dockerfiles", () => {
    it.each<[string, string | undefined]>([
        ["ARG A=1\nFROM a\nRUN x\n", undefined],
        ["# syntax=example/other:1\nANYTHING goes\n", undefined],
        ["FROM a\nRUN cat <<EOF && cat <<-'END'\nNOT an instruction\nEOF\nnor this\n\tEND\nRUN y\n", undefined],
        ["FROM a\nRUN echo a \\\n# comment\n\n  && b\nCMD c", undefined],
        ["# escape=`\nFROM a\nRUN a `\n b\nCOPY c:\\ d\n", undefined],
        ["RUN x\nFROM a\n", "no build stage in current context"],
        [
            "FROM a\n\nworkdri /x\n",
            "dockerfile parse error on line 3: unknown instruction: workdri (did you mean workdir?)",
        ],
        ["FROM a\nRUN x \\\n y\nBOGUSLY z\n", "dockerfile parse error on line 4: unknown instruction: BOGUSLY"],
        ["", "file with no instructions"],
    ])("%j: %s", (source, expected) => {
        expect(dockerfileProblem(source)).toBe(expected);
    });
});

/** Hashes by the libraries that the plugin uses (tonistiigi/fsutil, moby/patternmatcher), in the order of its own walk. */
describe("the context's hash", () => {
    it.each<[string, string, string]>([
        ["264442ab8ad20f61b8d94a7e0b17dcd99b178ae4c9bcaad42bee6735b5a22669", "", ""],
        ["fc5d10a43f4bac4037e57359a2aad6b5ac04fc7bed64f1dd66691abc744d022f", "**/*.log\n.dockerignore\n", ""],
        ["9fd1e24aacf9f2a4b707618c1238d72f9e9e199f288b1eda937ac1d318ba9226", "*\n!src\nsrc/lib\n!src/lib/y.js\n", ""],
        ["139bd70d6d36df524cad9015add6cbf9f31e03280dfc13e8813e431ebe4128a3", "", "src/aaa"],
    ])("%s for .dockerignore %j, dangling link %j", async (expected, ignore, dangling) => {
        const context = mkdtempSync(join(work, "context-"));
        const modes = {
            "a.txt": 0o644,
            "b.log": 0o1600,
            "src/x.js": 0o755,
            "src/lib/y.js": 0o644,
            "src/lib/z.log": 0o644,
            "docs/a.md": 0o4755,
        };
        for (const [name, mode] of Object.entries(modes)) {
            mkdirSync(dirname(join(context, name)), { recursive: true });
            writeFileSync(join(context, name), name);
            chmodSync(join(context, name), mode);
        }
        symlinkSync("../a.txt", join(context, "src/link"));
        symlinkSync("src", join(context, "folder"));
        if (dangling) symlinkSync("nowhere", join(context, dangling));
        if (ignore) writeFileSync(join(context, ".dockerignore"), ignore);
        if (ignore) chmodSync(join(context, ".dockerignore"), 0o644);
        expect(await hashContext("/", context, "", {})).toBe(expected);
    });
});
