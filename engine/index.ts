/** The embedded engine: runs a Pulumi program where the Pulumi CLI can't be had. */
import { Deployment } from "./deployment";
import { STACK_TYPE } from "./goal";
import { lock } from "./lock";
import { REFUSED } from "./missing";
import { Monitor } from "./monitor";
import { destroy, refresh } from "./operations";
import { ALREADY_REPORTED, startProgram } from "./program";
import { type Project, readConfig, readProject } from "./project";
import type { Properties, ProviderFactory, ProviderHost } from "./provider";
import { DYNAMIC, Providers } from "./providers";
import { type EngineResult, Report } from "./report";
import { Keyring, readPassphrase } from "./secrets";
import { stackReferences } from "./stack-reference";
import { type Checkpoint, type ResourceState, readCheckpoint, StateStore, statePath } from "./state";
import { limiter, type Run } from "./steps";
import { display } from "./values";

export type { EngineResult } from "./report";
export type { Checkpoint } from "./state";

export type Command = "preview" | "up" | "refresh" | "destroy";

export interface StackOptions {
    /** The folder of Pulumi.yaml. */
    cwd: string;
    stack: string;
    /** The folder that keeps the states; made when it isn't there. */
    stateDir: string;
    /** Secrets in the clear in the outputs. Default: false. */
    showSecrets?: boolean;
}

export interface EngineOptions extends StackOptions {
    command: Command;
    /** Configuration over that of Pulumi.STACK.yaml; keys without a namespace are the project's. */
    config?: Record<string, string>;
    /** Resource operations at a time. Default: no limit. */
    parallel?: number;
    /** Providers by package, in place of the engine's own. */
    providers?: Record<string, ProviderFactory>;
    /** Gets each line of progress. */
    onProgress?(line: string): void;
    /** Aborting cancels: nothing new begins, what is under way ends. */
    signal?: AbortSignal;
}

const VERB: Record<Command, string> = { preview: "Preview", up: "Update", refresh: "Refresh", destroy: "Destroy" };
const newKeyring = () => new Keyring(() => readPassphrase(process.env));

const stackOutputs = ({ resources = [] }: { resources?: ResourceState[] }): Properties =>
    resources.find(({ type }) => type === STACK_TYPE)?.outputs ?? {};

/** The outputs of the last update. Without `showSecrets` no passphrase is needed. */
export async function readOutputs(options: StackOptions): Promise<Properties> {
    const file = statePath(options.stateDir, readProject(options.cwd).name, options.stack);
    if (!options.showSecrets) return display(stackOutputs((await readCheckpoint(file)).deployment), false);
    return display(stackOutputs(await StateStore.load(file, newKeyring())), true);
}

/** The state, for `pulumi stack import`; with `showSecrets` in the clear, which needs the passphrase. */
export async function exportState(options: StackOptions): Promise<Checkpoint> {
    const file = statePath(options.stateDir, readProject(options.cwd).name, options.stack);
    return options.showSecrets ? (await StateStore.load(file, newKeyring())).export(true) : readCheckpoint(file);
}

/** Runs one operation to its end. Failures are in the result; nothing is thrown. */
export async function runEngine(options: EngineOptions): Promise<EngineResult> {
    const started = performance.now();
    const report = new Report(options.command === "preview", options.onProgress ?? (() => undefined));
    let outputs: Properties = {};
    try {
        const project = readProject(options.cwd);
        const file = statePath(options.stateDir, project.name, options.stack);
        const unlock = options.command === "preview" ? () => undefined : lock(`${file}.lock`);
        try {
            outputs = await operate(options, project, file, report);
        } finally {
            unlock();
        }
    } catch (error) {
        report.error("", (error as Error).message);
    }
    const durationMs = Math.round(performance.now() - started);
    report.summary(VERB[options.command], durationMs / 1000);
    return {
        result: report.failed ? "failed" : "succeeded",
        changes: report.changes,
        outputs: display(outputs, options.showSecrets ?? false),
        errors: report.errors,
        durationMs,
        steps: report.steps,
    };
}

async function operate(options: EngineOptions, project: Project, file: string, report: Report): Promise<Properties> {
    const keyring = newKeyring();
    const signal = options.signal ?? new AbortController().signal;
    const log: ProviderHost["log"] = (urn, severity, message) => report.log(urn, severity, message);
    const monitor = new Monitor(report, log);
    const { stack } = options;
    const { programDirectory } = project;
    const engineAddress = await monitor.listen();
    const host: ProviderHost = { project: project.name, stack, programDirectory, engineAddress, log, signal };
    const preview = options.command === "preview";
    const replaced = { pulumi: stackReferences(options.stateDir), ...options.providers };
    const providers = new Providers(host, replaced, preview);
    const cancel = () => void providers.cancel();
    signal.addEventListener("abort", cancel);
    try {
        const limit = limiter(options.parallel ?? Number.POSITIVE_INFINITY);
        const base = { project: project.name, stack, preview, host, providers, report, limit };
        const loading = StateStore.load(file, keyring).then((store) => {
            if (!preview) providers.demand(store.resources);
            return store;
        });
        const warn = ({ interrupted }: StateStore) => {
            for (const { resource, type } of interrupted)
                log(resource.urn, "warning", `the last run was cut off while ${type} it`, false);
        };
        loading.then(warn).catch(() => undefined); // its failure is met where it is awaited
        return await (options.command === "up" || preview
            ? update({ ...options, signal }, project, keyring, monitor, loading, base)
            : maintain(options.command, { ...base, store: await loading, config: { values: {}, secretKeys: [] } }));
    } finally {
        signal.removeEventListener("abort", cancel);
        await providers.close();
        monitor.close();
    }
}

async function maintain(command: Command, run: Run): Promise<Properties> {
    await (command === "destroy" ? destroy(run) : refresh(run));
    await run.store.settle();
    return stackOutputs(run.store);
}

async function update(
    options: EngineOptions & { signal: AbortSignal },
    project: Project,
    keyring: Keyring,
    monitor: Monitor,
    loading: Promise<StateStore>,
    base: Omit<Run, "store" | "config">,
): Promise<Properties> {
    const { report, preview, host, providers } = base;
    providers.warmUp(DYNAMIC);
    const config = await readConfig(project, options.stack, options.config ?? {}, keyring);
    const deploying = loading.then((store) => {
        store.vault.salt ??= config.salt;
        return new Deployment({ ...base, store, config });
    });
    monitor.deployment = deploying;
    const program = startProgram({
        project,
        stack: options.stack,
        config,
        address: host.engineAddress,
        preview,
        provided: providers.inside,
        parallel: options.parallel ?? 1024,
        onLine: (line) => report.log("", "info", line),
    });
    const stop = () => program.process.kill();
    options.signal.addEventListener("abort", stop);
    deploying.catch(stop);
    try {
        const code = await program.process.exited;
        const deployment = await deploying;
        await deployment.idle();
        if (options.signal.aborted) report.error("", "cancelled");
        else if (code === REFUSED) report.error("", program.lastLines().at(-1) ?? "refused");
        else if (code !== 0 && (code !== ALREADY_REPORTED || !report.failed)) {
            report.error("", [`the program ended with exit code ${code}`, ...program.lastLines()].join("\n"));
        }
        if (!report.failed) await deployment.finish();
        const store = await loading;
        if (!preview) await store.settle();
        return deployment.outputs ?? stackOutputs(store);
    } finally {
        options.signal.removeEventListener("abort", stop);
        program.process.kill();
    }
}
