import { type ChildProcess, spawn } from "node:child_process";
import { existsSync, mkdirSync, mkdtempSync, rmSync, symlinkSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { basename, join, resolve } from "node:path";
import { daemonOf, readPidFile, stopDaemon } from "../../drivers/daemon";
import { unmountBelow } from "../../drivers/mounts";
import { filesBelow } from "./files";

const CHECKOUT = resolve(__dirname, "../..");

/** What the engine prints with `--json`. */
export interface EngineResult {
    result: "succeeded" | "failed";
    changes: { create: number; update: number; delete: number; replace: number; same: number };
    // biome-ignore lint/suspicious/noExplicitAny: a stack's outputs are whatever its program exports
    outputs: any;
    errors: { urn: string; message: string }[];
    steps: { op: string; urn: string }[];
    durationMs: number;
}

export interface Run extends EngineResult {
    exitCode: number | null;
    stderr: string;
    /** `op name` of every step that did something, in order. */
    did: string[];
}

type Command = "up" | "preview" | "refresh" | "destroy";

/** A stack of its own in a temporary folder: program, state, buildx store, caches of nothing but the tools. */
export class TestStack {
    readonly folder: string;
    readonly env: Record<string, string>;

    /**
     * @param program body of a CommonJS program; `buildfleet` and `pulumi` are in scope, and `settings`, the config's object
     */
    constructor(
        program: string,
        readonly options: {
            name?: string;
            env?: Record<string, string>;
            folder?: string;
            /** What starts a command elsewhere: in another network namespace. */
            through?: (command: string[]) => [string, string[]];
        } = {},
    ) {
        this.folder = options.folder ?? mkdtempSync(join(tmpdir(), "buildfleet-e2e-"));
        this.env = {
            PULUMI_CONFIG_PASSPHRASE: "e2e",
            BUILDX_CONFIG: join(this.folder, "buildx"),
            DOCKER_CONFIG: join(this.folder, "docker"),
            ...options.env,
        };
        mkdirSync(join(this.folder, "node_modules"), { recursive: true });
        const link = (from: string, name: string) => {
            const to = join(this.folder, "node_modules", name);
            if (!existsSync(to)) symlinkSync(from, to);
        };
        link(CHECKOUT, "buildfleet");
        link(join(CHECKOUT, "node_modules/@pulumi"), "@pulumi");
        this.setProject("e2e");
        this.setProgram(program);
    }

    setProject(name: string): void {
        writeFileSync(
            join(this.folder, "Pulumi.yaml"),
            `name: ${name}\nruntime: {name: nodejs, options: {typescript: false}}\nmain: index.js\n`,
        );
    }

    get name(): string {
        return this.options.name ?? "test";
    }

    setProgram(program: string): void {
        writeFileSync(
            join(this.folder, "index.js"),
            [
                'const pulumi = require("@pulumi/pulumi");',
                'const buildfleet = require("buildfleet");',
                'const settings = new pulumi.Config("e2e").getObject("settings") ?? {};',
                program,
                "",
            ].join("\n"),
        );
    }

    /** Starts a command of the engine; for tests that kill it. */
    start(command: Command, settings: object = {}, more: string[] = []): ChildProcess {
        const { through = ([first = "", ...rest]): [string, string[]] => [first, rest] } = this.options;
        const engine = [
            ...[process.execPath, join(CHECKOUT, "dist/engine/cli.js"), command],
            ...["--cwd", this.folder, "--stack", this.name, "--state", join(this.folder, "state"), "--json"],
            ...["--config", `e2e:settings=${JSON.stringify(settings)}`, ...more],
        ];
        return spawn(...through(engine), {
            env: { ...process.env, ...this.env },
            stdio: ["ignore", "pipe", "pipe"],
        });
    }

    async run(command: Command, settings: object = {}, more: string[] = []): Promise<Run> {
        const child = this.start(command, settings, more);
        let stdout = "";
        let stderr = "";
        child.stdout?.setEncoding("utf8").on("data", (text) => {
            stdout += text;
        });
        child.stderr?.setEncoding("utf8").on("data", (text) => {
            stderr += text;
        });
        const exitCode = await new Promise<number | null>((done) => child.once("close", done));
        let result: EngineResult;
        try {
            result = JSON.parse(stdout);
        } catch {
            throw new Error(`${command} printed no result (exit code ${exitCode}):\n${stdout}\n${stderr}`);
        }
        const did = result.steps
            .filter(({ op }) => op !== "same")
            .map(({ op, urn }) => `${op} ${urn.slice(urn.lastIndexOf("::") + 2)}`);
        return { ...result, exitCode, stderr, did };
    }

    /** `up` that must succeed. */
    async up(settings: object = {}): Promise<Run> {
        const run = await this.run("up", settings);
        if (run.exitCode !== 0) throw new Error(`up failed:\n${run.stderr}`);
        return run;
    }

    path(...parts: string[]): string {
        return join(this.folder, ...parts);
    }

    dispose(): Promise<void> {
        return removeStackFolder(this.folder);
    }
}

/** Everything that a stack in this folder started is stopped, by pid, and everything that was written is removed. */
export async function removeStackFolder(folder: string): Promise<void> {
    const pidFiles = filesBelow(join(folder, ".buildfleet"), 4).filter((path) => basename(path) === "process.pid");
    for (const pidFile of pidFiles) {
        const daemon = readPidFile(pidFile);
        if (daemon && daemonOf(daemon.pid)) await stopDaemon(daemon, 3_000);
    }
    await unmountBelow(folder);
    rmSync(folder, { recursive: true, force: true });
}

/**
 * The usual program: registry, fleet, key and one image from `./app`. `settings.image` is merged over the image's arguments,
 * `settings.fleet` over the fleet's, `settings.registry` over the registry's.
 */
export const MAIN_PROGRAM = `
const registry = new buildfleet.LocalRegistry("registry", settings.registry);
const fleet = new buildfleet.LocalFleet("builders", { registries: registry.nodeSettings, ...settings.fleet });
const key = new buildfleet.SigningKey("key");
const image = new buildfleet.MultiPlatformImage("app", {
    fleet,
    repository: registry.repository("team/app"),
    context: "app",
    platforms: ["linux/amd64", "linux/arm64"],
    tags: ["stable"],
    emulation: "allow",
    scan: { advisories: "advisories" },
    sign: { key },
    ...settings.image,
});
module.exports = { ref: image.ref, digest: image.digest, tags: image.tags, platforms: image.platforms,
    vulnerabilities: image.vulnerabilities, sbom: image.sbom, signature: image.signature,
    nodes: fleet.nodes, client: fleet.client };
`;
