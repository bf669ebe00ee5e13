/** A stack's state: a deployment v3 checkpoint in a file, the shape of `pulumi stack export`. */
import { constants } from "node:fs";
import { mkdir, open, readFile, rename, rm } from "node:fs/promises";
import { dirname, join } from "node:path";
import type { Properties, Value } from "./provider";
import { type Keyring, Vault } from "./secrets";
import { isObject, isSecret, rewriteProperties } from "./values";

/** A resource as the checkpoint has it (fields this engine doesn't know pass through). */
export interface ResourceState {
    urn: string;
    custom: boolean;
    /** Replaced; its deletion is pending. */
    delete?: boolean;
    id?: string;
    type: string;
    inputs?: Properties;
    outputs?: Properties;
    parent?: string;
    protect?: boolean;
    external?: boolean;
    dependencies?: string[];
    initErrors?: string[];
    /** `URN::id` of the provider. */
    provider?: string;
    propertyDependencies?: Record<string, string[]>;
    /** Deleted before its replacement, which wasn't created yet. */
    pendingReplacement?: boolean;
    additionalSecretOutputs?: string[];
    customTimeouts?: { create?: number; update?: number; delete?: number };
    retainOnDelete?: boolean;
    created?: string;
    modified?: string;
    ignoreChanges?: string[];
    replaceOnChanges?: string[];
}

export interface PendingOperation {
    resource: ResourceState;
    type: "creating" | "updating" | "deleting" | "reading";
}

export interface Checkpoint {
    version: 3;
    deployment: {
        manifest: { time: string; magic: string; version: string };
        secrets_providers?: { type: "passphrase"; state: { salt: string } };
        resources?: ResourceState[];
        pending_operations?: PendingOperation[];
        metadata: Record<string, unknown>;
    };
}

export function statePath(directory: string, project: string, stack: string): string {
    const bad = [project, stack].find((name) => !/^[\w.-]+$/.test(name) || /^\.+$/.test(name));
    if (bad !== undefined)
        throw new Error(`"${bad}" is no name for a project or stack: letters, digits, ".", "_", "-"`);
    return join(directory, "stacks", project, `${stack}.json`);
}

/** The state as the file has it; a stack that has none is empty. */
export async function readCheckpoint(file: string): Promise<Checkpoint> {
    const text = await readFile(file, "utf8").catch((error: NodeJS.ErrnoException) => {
        if (error.code === "ENOENT") return undefined;
        throw error;
    });
    if (!text) return { version: 3, deployment: { manifest: { time: "", magic: "", version: "" }, metadata: {} } };
    const { version, deployment } = JSON.parse(text);
    if (version !== 3) throw new Error(`${file}: version ${version} is not supported, only 3`);
    const type = deployment.secrets_providers?.type ?? "passphrase";
    if (type !== "passphrase") throw new Error(`${file}: secrets provider "${type}" is not supported, only passphrase`);
    return { version, deployment };
}

/** The resources of a stack while an operation changes them, and the file that follows. */
export class StateStore {
    /** Resources of this run, in an order in which dependencies come first. */
    private fresh: ResourceState[] = [];
    /** Resources as they were; those replaced by a fresh one or deleted leave. */
    private base: ResourceState[];
    private readonly pending = new Set<PendingOperation>();
    private readonly renamed = new Map<string, string>();
    private written: Promise<void> = Promise.resolve();
    private queued: Promise<void> | undefined;
    private dirty = false;

    private constructor(
        private readonly file: string,
        readonly checkpoint: Checkpoint,
        readonly vault: Vault,
    ) {
        this.base = checkpoint.deployment.resources ?? [];
    }

    /** Reads and decrypts the state. */
    static async load(file: string, keyring: Keyring): Promise<StateStore> {
        const checkpoint = await readCheckpoint(file);
        const { resources = [], secrets_providers } = checkpoint.deployment;
        const vault = new Vault(keyring, secrets_providers?.state.salt);
        if (resources.some(holdsSecret)) await vault.unlock();
        const store = new StateStore(file, checkpoint, vault);
        store.base = store.base.map((resource) => store.convert(resource, (node) => vault.open(node)));
        return store;
    }

    /** What was under way when the last operation was cut off: nobody knows how far it got. */
    get interrupted(): PendingOperation[] {
        return this.checkpoint.deployment.pending_operations ?? [];
    }

    /** All resources, dependencies first. */
    get resources(): ResourceState[] {
        return [...this.fresh, ...this.base];
    }

    /** Resources that this run hasn't touched. */
    get untouched(): readonly ResourceState[] {
        return this.base;
    }

    /** Records the outcome of a step; `old` is what `next` takes the place of. */
    put(next: ResourceState, old?: ResourceState): void {
        this.fresh.push(next);
        if (old && old.urn !== next.urn) this.renamed.set(old.urn, next.urn);
        this.base = this.base.filter((resource) => resource !== old);
        this.save();
    }

    /** Changes a resource where it stands. */
    replace(old: ResourceState, next: ResourceState): void {
        const swap = (resource: ResourceState) => (resource === old ? next : resource);
        this.fresh = this.fresh.map(swap);
        this.base = this.base.map(swap);
        this.save();
    }

    remove(old: ResourceState): void {
        this.fresh = this.fresh.filter((resource) => resource !== old);
        this.base = this.base.filter((resource) => resource !== old);
        this.save();
    }

    /** Notes an operation in the file before it begins; the returned function takes the note back. */
    async begin(type: PendingOperation["type"], resource: ResourceState): Promise<() => void> {
        const operation = { resource, type };
        this.pending.add(operation);
        this.save();
        await this.flush();
        return () => {
            this.pending.delete(operation);
            this.save();
        };
    }

    private save(): void {
        this.dirty = true;
    }

    /** Resolves once everything recorded so far is on disk; calls made meanwhile share the next write. */
    flush(): Promise<void> {
        if (!this.dirty) return this.queued ?? this.written;
        this.queued ??= this.written
            .catch(() => undefined)
            .then(() => {
                this.queued = undefined;
                this.dirty = false;
                this.written = this.write();
                return this.written;
            });
        return this.queued;
    }

    /**
     * The end of a run: also on the disk itself. Before that, a step waits only until the file is replaced: that is
     * enough for a process that is killed, and a sync waits for all that the machine writes meanwhile.
     */
    async settle(): Promise<void> {
        await this.flush();
        const handle = await open(this.file, constants.O_RDONLY).catch((error: NodeJS.ErrnoException) => {
            if (error.code !== "ENOENT") throw error; // nothing was ever recorded
        });
        await handle?.sync().finally(() => handle.close());
    }

    private async write(): Promise<void> {
        const text = `${JSON.stringify(await this.export())}\n`;
        await mkdir(dirname(this.file), { recursive: true, mode: 0o700 });
        const temporary = `${this.file}.tmp`; // the lock makes this process the only writer
        const handle = await open(temporary, constants.O_WRONLY | constants.O_CREAT | constants.O_TRUNC, 0o600);
        try {
            await handle.writeFile(text);
        } finally {
            await handle.close();
        }
        await rename(temporary, this.file).catch(async (error: unknown) => {
            await rm(temporary, { force: true });
            throw error;
        });
    }

    /** The checkpoint as the file has it, or with secrets in the clear. */
    async export(showSecrets = false): Promise<Checkpoint> {
        const operations = [...this.pending];
        const resources = this.resources.map((resource) => this.rename(resource));
        const secretive = [...resources, ...operations.map(({ resource }) => resource)].some(holdsSecret);
        const { deployment } = this.checkpoint;
        if (secretive && !showSecrets) await this.vault.unlock();
        const seal = (resource: ResourceState) => this.convert(resource, (node) => this.vault.seal(node, showSecrets));
        const state = this.vault.salt ? { salt: this.vault.salt } : undefined;
        return {
            version: 3,
            deployment: {
                manifest: { ...deployment.manifest, time: new Date().toISOString() },
                ...(state && { secrets_providers: { type: "passphrase" as const, state } }),
                ...(resources.length > 0 && { resources: resources.map(seal) }),
                ...(operations.length > 0 && {
                    pending_operations: operations.map(({ resource, type }) => ({ resource: seal(resource), type })),
                }),
                metadata: deployment.metadata ?? {},
            },
        };
    }

    private convert(resource: ResourceState, change: (node: Value) => Value | undefined): ResourceState {
        const { inputs, outputs, ...rest } = resource;
        const there = (properties?: Properties): properties is Properties => Object.keys(properties ?? {}).length > 0;
        return {
            ...rest,
            ...(there(inputs) && { inputs: rewriteProperties(inputs, change) }),
            ...(there(outputs) && { outputs: rewriteProperties(outputs, change) }),
        };
    }

    /** Untouched resources still name what was renamed by an alias. */
    private rename(resource: ResourceState): ResourceState {
        if (this.renamed.size === 0) return resource;
        const now = (urn: string) => this.renamed.get(urn) ?? urn;
        const result = { ...resource };
        if (resource.parent) result.parent = now(resource.parent);
        if (resource.dependencies) result.dependencies = resource.dependencies.map(now);
        const lists = Object.entries(resource.propertyDependencies ?? {}).map(([key, urns]) => [key, urns.map(now)]);
        if (lists.length > 0) result.propertyDependencies = Object.fromEntries(lists);
        return result;
    }
}

function holdsSecret(resource: ResourceState): boolean {
    const holds = (value: Value | undefined): boolean =>
        isSecret(value) || ((isObject(value) || Array.isArray(value)) && Object.values(value).some(holds));
    return holds(resource.inputs) || holds(resource.outputs);
}

/** What depends on what: parents, dependencies and providers of a resource, as URNs. */
export function needs(resource: ResourceState): string[] {
    const provider = resource.provider?.slice(0, resource.provider.lastIndexOf("::"));
    return [resource.parent, ...(resource.dependencies ?? []), provider].filter((urn): urn is string => !!urn);
}
