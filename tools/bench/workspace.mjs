// A place of its own for each measured run: program, state, buildx store, registry storage with the base images in it.

import { spawn } from "node:child_process";
import {
    cpSync,
    existsSync,
    mkdirSync,
    mkdtempSync,
    readdirSync,
    readFileSync,
    rmSync,
    symlinkSync,
    writeFileSync,
} from "node:fs";
import { createRequire } from "node:module";
import { createServer } from "node:net";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";

export const checkout = join(dirname(fileURLToPath(import.meta.url)), "../..");
const require = createRequire(import.meta.url);

/** @returns {Promise<number>} a loopback port nobody listens on */
export function freePort() {
    return new Promise((done) => {
        const server = createServer().listen(0, "127.0.0.1", () => {
            const address = server.address();
            server.close(() => done(typeof address === "object" && address ? address.port : 0));
        });
    });
}

/**
 * Runs a command and measures it from its start to its end.
 *
 * @param {string} command
 * @param {string[]} args
 * @param {{cwd: string, env: NodeJS.ProcessEnv}} options
 * @returns {Promise<{seconds: number, stdout: string, stderr: string, exitCode: number | null, pid: number}>}
 */
export function timed(command, args, options) {
    const start = performance.now();
    const child = spawn(command, args, { ...options, stdio: ["ignore", "pipe", "pipe"] });
    let stdout = "";
    let stderr = "";
    child.stdout.setEncoding("utf8").on("data", (text) => {
        stdout += text;
    });
    child.stderr.setEncoding("utf8").on("data", (text) => {
        stderr += text;
    });
    return new Promise((done) =>
        child.once("close", (exitCode) =>
            done({ seconds: (performance.now() - start) / 1000, stdout, stderr, exitCode, pid: child.pid ?? 0 }),
        ),
    );
}

/** A stack in a temporary folder. */
export class Workspace {
    /** @param {string} program body of the program; `buildfleet`, `pulumi` and `settings` are in scope */
    constructor(program) {
        this.folder = mkdtempSync(join(tmpdir(), "buildfleet-bench-"));
        const modules = join(this.folder, "node_modules");
        mkdirSync(modules);
        symlinkSync(checkout, join(modules, "buildfleet"));
        symlinkSync(join(checkout, "node_modules/@pulumi"), join(modules, "@pulumi"));
        writeFileSync(
            join(this.folder, "Pulumi.yaml"),
            "name: bench\nruntime: {name: nodejs, options: {typescript: false}}\nmain: index.js\n",
        );
        writeFileSync(join(this.folder, "index.js"), `const pulumi = require("@pulumi/pulumi");\n${program}\n`);
        this.env = {
            ...process.env,
            NODE_OPTIONS: `--require ${JSON.stringify(join(checkout, "dist/resources/warm-up.js"))}`, // as tools/run.mjs does
            PULUMI_CONFIG_PASSPHRASE: "bench",
            BUILDX_CONFIG: join(this.folder, "buildx"),
            DOCKER_CONFIG: join(this.folder, "docker"),
        };
    }

    /**
     * @param {"up" | "preview" | "destroy"} command
     * @param {object} settings
     */
    async engine(command, settings = {}) {
        const run = await timed(
            process.execPath,
            [
                join(checkout, "dist/engine/cli.js"),
                command,
                ...["--cwd", this.folder, "--stack", "bench", "--state", join(this.folder, "state"), "--json"],
                ...["--config", `bench:settings=${JSON.stringify(settings)}`],
            ],
            { cwd: this.folder, env: this.env },
        );
        if (run.exitCode !== 0) throw new Error(`${command} failed:\n${run.stderr.slice(-4000)}`);
        return run;
    }

    /** @param {string} storage a registry's storage folder with the base images, copied here */
    seed(storage) {
        if (existsSync(storage)) cpSync(storage, join(this.folder, ".buildfleet/registry"), { recursive: true });
    }

    /** Stops what the stack started, removes what was written. */
    async dispose() {
        await this.engine("destroy");
        rmSync(this.folder, { recursive: true, force: true });
    }
}

/**
 * Resident memory of a process and all below it, in MiB, sampled until it ends.
 *
 * @param {number} pid
 */
export function treeMemoryMb(pid) {
    const children = new Map();
    const memory = new Map();
    for (const name of readdirSync("/proc").filter((entry) => /^\d+$/.test(entry))) {
        try {
            const status = readFileSync(`/proc/${name}/status`, "utf8");
            const parent = Number(/^PPid:\s+(\d+)/m.exec(status)?.[1]);
            children.set(parent, [...(children.get(parent) ?? []), Number(name)]);
            const command = readFileSync(`/proc/${name}/comm`, "utf8").trim();
            memory.set(Number(name), { kb: Number(/^VmRSS:\s+(\d+)/m.exec(status)?.[1] ?? 0), command });
        } catch {
            // it ended while we looked
        }
    }
    let kb = 0;
    const visit = (/** @type {number} */ each) => {
        const entry = memory.get(each);
        // The tools (syft, grype, cosign) are not the program's or the engine's memory.
        if (entry && /^(node|MainThread)/.test(entry.command)) kb += entry.kb;
        for (const child of children.get(each) ?? []) visit(child);
    };
    visit(pid);
    return kb / 1024;
}

/** @param {string} module of the compiled library */
export const library = (module) => require(join(checkout, "dist", module));
