/** Builds that fail, are cancelled, or lose their engine. */
import { spawn } from "node:child_process";
import { readdirSync, readFileSync, readlinkSync } from "node:fs";
import { join } from "node:path";
import { describe, expect, it } from "vitest";
import { CANARY, DOCKERFILE, leftFolders, urn, useWorkbench } from "../support/docker-build";
import { freePort } from "../support/port";

const bench = useWorkbench();

describe("failures", () => {
    it("says what the plugin says about a failing step, and keeps the last lines without the secret", async () => {
        const inline = `${DOCKERFILE}\nFROM base\nRUN --mount=type=secret,id=token cat /run/secrets/token && exit 7\n`;
        const failing = bench.create(
            await bench.provider(),
            "fails",
            bench.inputs({ dockerfile: { inline }, exports: [bench.byDigest("x")] }),
        );
        await expect(failing).rejects.toThrow(
            /^failed to solve: process "\/bin\/sh -c cat \/run\/secrets\/token && exit 7" did not complete successfully: exit code: 7$/,
        );
        const kept = bench.logged.filter(({ ephemeral }) => !ephemeral).map(({ message }) => message);
        expect(kept.join("\n")).toMatch(/\[secret\][\s\S]*exit 7/);
    });

    it("says what the plugin says about a missing builder, base and registry", async () => {
        const plugin = await bench.provider();
        await expect(bench.create(plugin, "a", bench.inputs({ builder: { name: "no-such-builder" } }))).rejects.toThrow(
            /^new builder: no builder "no-such-builder" found$/,
        );
        const base = `${bench.registry()}/no/such:base`;
        const dockerfile = { inline: `FROM ${base}\n` };
        await expect(
            bench.create(plugin, "b", bench.inputs({ dockerfile, exports: [bench.byDigest("x")] })),
        ).rejects.toThrow(
            `failed to solve: ${base}: failed to resolve source metadata for ${base}: ${base}: not found`,
        );
        const silent = `127.0.0.1:${await freePort()}/none/x:y`;
        await expect(bench.create(plugin, "c", bench.inputs({ push: true, tags: [silent] }))).rejects.toThrow(
            new RegExp(`^failed to solve: failed to push ${silent}: .*connection refused$`),
        );
    });

    it("ends buildx when the operation is cancelled or its time is up", async () => {
        const dockerfile = { inline: `${DOCKERFILE}\nFROM base\nRUN sleep 300\n` };
        const news = bench.inputs({ dockerfile, exports: [bench.byDigest("x")] });
        const controller = new AbortController();
        const plugin = await bench.provider(controller.signal);
        const running = bench.create(plugin, "sleeps", news);
        running.catch(() => undefined);
        await expect.poll(() => bench.traces(), { timeout: 20_000 }).toContain("RUN sleep 300");
        controller.abort(new Error("cancelled by the user"));
        await expect(running).rejects.toThrow("cancelled by the user");
        expect(buildxProcesses()).toEqual([]);

        const { inputs: checked } = await (await bench.provider()).check(urn("late"), {}, news);
        await expect((await bench.provider()).create(urn("late"), checked, 1, false)).rejects.toThrow(
            /deadline exceeded/,
        );
        expect(buildxProcesses()).toEqual([]);
    });

    it("leaves no buildx behind when the engine is killed, and removes what the killed one left", async () => {
        const dockerfile = { inline: `${DOCKERFILE}\nFROM base\nRUN sleep 301\n` };
        const registries = [{ address: "example.test", username: "u", password: CANARY }];
        const news = bench.inputs({ dockerfile, exports: [bench.byDigest("x")], registries });
        const engine = spawn(
            process.execPath,
            ["-e", ENGINE, join(__dirname, "../.."), bench.program, JSON.stringify(news)],
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
        await expect.poll(() => buildxProcesses(), { timeout: 20_000 }).toEqual([]);
        expect(leftFolders(engine.pid)).toHaveLength(1);
        await bench.create(await bench.provider(), "next", bench.inputs({ exports: [{ cacheonly: {} }] }));
        expect(leftFolders(engine.pid)).toEqual([]);
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

/** Processes that run buildx for this file's program. */
function buildxProcesses(): string[] {
    return readdirSync("/proc").filter((pid) => {
        try {
            const command = readFileSync(`/proc/${pid}/cmdline`, "utf8");
            return command.includes("docker-buildx") && readlinkSync(`/proc/${pid}/cwd`) === bench.program;
        } catch {
            return false; // No process, or it has ended meanwhile.
        }
    });
}
