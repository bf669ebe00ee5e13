/** Replays what the real plugin was asked and said against the stand-in, on the very files it saw. */
import { chmodSync, cpSync, mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { createDockerBuild } from "../../engine/docker-build";
import type { Properties, Provider } from "../../engine/provider";

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
                    if (errors && !/FileSend/.test(errors[0] ?? "")) continue; // These need a real buildx: docker-build.failures.test.ts
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
