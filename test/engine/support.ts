/** Small programs on the engine, with a provider in memory whose behaviour the resources' own inputs decide. */
import { mkdirSync, mkdtempSync, readFileSync, rmSync, symlinkSync, writeFileSync } from "node:fs";
import { createRequire } from "node:module";
import { tmpdir } from "node:os";
import { join } from "node:path";
import {
    type Checkpoint,
    type EngineOptions,
    type EngineResult,
    exportState,
    runEngine,
} from "../../dist/engine/index";
import type { Properties, Provider, ProviderHost } from "../../dist/engine/provider";

// The engine's own copy of the class: the test runner would load another.
const { InitError } = createRequire(__filename)(
    "../../dist/engine/provider",
) as typeof import("../../dist/engine/provider");

export const REPO = join(__dirname, "../..");

/** The beginning of every program: `thing(name, inputs, options)` registers a resource of the provider in memory. */
const PRELUDE = `const pulumi = require("@pulumi/pulumi");
class Thing extends pulumi.CustomResource { constructor(n, i, o) { super("test:index:Thing", n, { out: undefined, ...i }, o); } }
class Box extends pulumi.ComponentResource { constructor(n, o) { super("test:index:Box", n, {}, o); } }
const thing = (n, i = {}, o = {}) => new Thing(n, i, o);
`;

export interface Event {
    method: string;
    name: string;
    /** "begin" or "end". */
    at: string;
    id: string;
}

/** Inputs that steer the provider. */
interface Steering {
    /** Changing it replaces the resource. */
    kind?: string;
    /** A replacement deletes first. */
    first?: boolean;
    /** The method that fails. */
    fail?: string;
    /** Made, but not ready. */
    unready?: boolean;
}

/** Counts, waits and fails as told; keeps what exists. */
class MemoryProvider implements Provider {
    supportsPreview = false;
    acceptSecrets = false;
    readonly events: Event[] = [];
    readonly existing = new Map<string, Properties>();
    private serial = 0;
    /** Runs within each create, update and delete, before it takes effect. */
    during: (method: string, name: string) => Promise<void> | void = () => undefined;
    host!: ProviderHost;

    private async act<T>(method: string, urn: string, id: string, inputs: Properties, effect: () => T): Promise<T> {
        const name = urn.split("::").pop() ?? "";
        this.events.push({ method, name, at: "begin", id });
        await this.during(method, name);
        if ((inputs as Steering).fail === method) throw new Error(`${name} fails to ${method}`);
        const result = effect();
        this.events.push({ method, name, at: "end", id });
        return result;
    }

    async configure(): Promise<void> {}

    async check(_urn: string, _olds: Properties, news: Properties) {
        const bad = news.size === -1 ? [{ property: "size", reason: "must not be negative" }] : [];
        return { inputs: news, failures: bad };
    }

    async diff(_urn: string, _id: string, olds: Properties, _outputs: Properties, news: Properties) {
        const diffs = [...new Set([...Object.keys(olds), ...Object.keys(news)])].filter(
            (key) => JSON.stringify(olds[key]) !== JSON.stringify(news[key]),
        );
        return {
            changes: diffs.length > 0 ? ("some" as const) : ("none" as const),
            replaces: diffs.filter((key) => key === "kind"),
            deleteBeforeReplace: news.first === true,
            diffs,
            stables: [],
        };
    }

    create(urn: string, news: Properties) {
        return this.act("create", urn, "", news, () => {
            this.serial += 1;
            const id = `id-${this.serial}`;
            const outputs = { ...news, out: `${news.kind ?? "out"}-${this.serial}` };
            this.existing.set(id, outputs);
            if ((news as Steering).unready) throw new InitError(id, outputs, ["still starting"]);
            return { id, outputs };
        });
    }

    update(urn: string, id: string, _oldInputs: Properties, oldOutputs: Properties, news: Properties) {
        return this.act("update", urn, id, news, () => {
            const outputs = { ...news, out: oldOutputs.out ?? null };
            this.existing.set(id, outputs);
            return { outputs };
        });
    }

    async read(_urn: string, id: string, inputs: Properties) {
        const outputs = this.existing.get(id);
        return outputs ? { id, inputs, outputs } : { id: "", inputs: {}, outputs: {} };
    }

    delete(urn: string, id: string, inputs: Properties): Promise<void> {
        return this.act("delete", urn, id, inputs, () => {
            this.existing.delete(id);
        });
    }

    async invoke(token: string, args: Properties) {
        return { result: { token, ...args }, failures: [] };
    }

    cancel(): void {}
    close(): void {}

    /** "create a", "delete b", … as they ended (or began). */
    done(at = "end"): string[] {
        return this.events.filter((event) => event.at === at).map(({ method, name }) => `${method} ${name}`);
    }
}

export class Workspace {
    readonly directory = mkdtempSync(join(tmpdir(), "engine-"));
    readonly provider = new MemoryProvider();
    readonly stateDir = join(this.directory, "state");
    readonly stateFile = join(this.stateDir, "stacks/proj/dev.json");
    lines: string[] = [];

    constructor() {
        mkdirSync(join(this.directory, "node_modules/@pulumi"), { recursive: true });
        symlinkSync(join(REPO, "node_modules/@pulumi/pulumi"), join(this.directory, "node_modules/@pulumi/pulumi"));
        const project = "name: proj\nruntime: {name: nodejs, options: {typescript: false}}\nmain: index.js\n";
        writeFileSync(join(this.directory, "Pulumi.yaml"), project);
        writeFileSync(join(this.directory, "package.json"), '{"name":"proj","version":"1.0.0"}');
    }

    write(program: string): void {
        writeFileSync(join(this.directory, "index.js"), PRELUDE + program);
    }

    async run(command: EngineOptions["command"], options: Partial<EngineOptions> = {}): Promise<EngineResult> {
        this.lines = [];
        const memory = async (host: ProviderHost) => {
            this.provider.host = host;
            return this.provider;
        };
        return runEngine({
            command,
            cwd: this.directory,
            stack: "dev",
            stateDir: this.stateDir,
            providers: { test: memory, "pulumi-nodejs": memory },
            onProgress: (line) => this.lines.push(line),
            ...options,
        });
    }

    /** Writes the program and runs it. */
    up(program: string, options: Partial<EngineOptions> = {}): Promise<EngineResult> {
        this.write(program);
        return this.run("up", options);
    }

    state(): Checkpoint {
        return JSON.parse(readFileSync(this.stateFile, "utf8"));
    }

    /** Names of the resources in the state, without the stack and providers. */
    names(): string[] {
        const resources = this.state().deployment.resources ?? [];
        const own = resources.filter(({ type }) => type.startsWith("test:"));
        return own.map(({ urn, ...flags }) => (urn.split("::").pop() ?? "") + (flags.delete ? " (deleting)" : ""));
    }

    revealed(): Promise<Checkpoint> {
        return exportState({ cwd: this.directory, stack: "dev", stateDir: this.stateDir, showSecrets: true });
    }

    remove(): void {
        rmSync(this.directory, { recursive: true, force: true });
    }
}

/** Waits until the condition holds. */
export async function until(condition: () => boolean, what: string, milliseconds = 10_000): Promise<void> {
    const deadline = Date.now() + milliseconds;
    while (!condition()) {
        if (Date.now() > deadline) throw new Error(`not within ${milliseconds} ms: ${what}`);
        await new Promise((resolve) => setTimeout(resolve, 20));
    }
}
