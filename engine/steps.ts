/** Single steps on a resource: each leaves the checkpoint true at every moment, and is only imagined in a preview. */
import { randomUUID } from "node:crypto";
import { PROVIDER_TYPE } from "./goal";
import { InitError, type Properties, type Provider, type ProviderHost, UNKNOWN } from "./provider";
import type { Providers } from "./providers";
import type { Report } from "./report";
import { needs, type PendingOperation, type ResourceState, type StateStore } from "./state";
import { forProvider, markSecrets, secret } from "./values";

/** All that belongs to one operation. */
export interface Run {
    project: string;
    stack: string;
    preview: boolean;
    config: { values: Record<string, string>; secretKeys: string[] };
    host: ProviderHost;
    store: StateStore;
    providers: Providers;
    report: Report;
    /** Runs work when one of the `--parallel` places is free. */
    limit<T>(work: () => Promise<T>): Promise<T>;
}

export function limiter(places: number): Run["limit"] {
    let free = places;
    const waiting: (() => void)[] = [];
    return async (work) => {
        if (free > 0) free -= 1;
        else await new Promise<void>((resolve) => waiting.push(resolve));
        try {
            return await work();
        } finally {
            const next = waiting.shift();
            if (next) next();
            else free += 1;
        }
    };
}

const now = () => new Date().toISOString();

/** The provider's answer with its secrets marked. */
function outputsOf(provider: Provider, answer: Properties, next: ResourceState): Properties {
    const outputs = provider.acceptSecrets ? { ...answer } : markSecrets(answer, next.inputs ?? {});
    for (const key of next.additionalSecretOutputs ?? []) {
        const value = outputs[key];
        if (value !== undefined) outputs[key] = secret(value);
    }
    return outputs;
}

export class Steps {
    constructor(private readonly run: Run) {}

    /** Provider inputs and outputs of a resource, as this provider takes them. */
    plain(provider: Provider, properties: Properties | undefined): Properties {
        return forProvider(properties ?? {}, provider.acceptSecrets);
    }

    /** The provider that made a resource, configured as the state has it. */
    providerOf(resource: ResourceState): Promise<Provider> {
        const reference = resource.provider ?? "";
        const owner = this.run.store.resources.find((other) => `${other.urn}::${other.id}` === reference);
        if (!owner) throw new Error(`the state has no provider ${reference || "at all"} for this resource`);
        return this.run.providers.get(reference, owner.inputs ?? {});
    }

    /** Work of a provider, noted in the checkpoint before it begins and gone from there when it ends. */
    private async pending<T>(type: PendingOperation["type"], on: ResourceState, work: () => Promise<T>): Promise<T> {
        return this.run.limit(async () => {
            if (this.run.host.signal.aborted) throw new Error("cancelled");
            const end = await this.run.store.begin(type, on);
            try {
                return await work();
            } finally {
                end();
                this.save();
            }
        });
    }

    private save(): void {
        const failed = (error: Error) => this.run.report.error("", `the state can't be written: ${error.message}`);
        this.run.store.flush().catch(failed);
    }

    async create(provider: Provider, next: ResourceState, old?: ResourceState): Promise<ResourceState> {
        const inputs = this.plain(provider, next.inputs);
        const timeout = next.customTimeouts?.create ?? 0;
        if (this.run.preview) {
            const answer = provider.supportsPreview
                ? (await provider.create(next.urn, inputs, timeout, true)).outputs
                : inputs;
            return { ...next, id: "", outputs: outputsOf(provider, answer, next) };
        }
        const made = (id: string, outputs: Properties): ResourceState => {
            const created = now();
            const state = { ...next, id, outputs: outputsOf(provider, outputs, next), created, modified: created };
            if (id !== "") this.run.store.put(state, old);
            return state;
        };
        return this.pending("creating", next, async () => {
            try {
                const { id, outputs } = await provider.create(next.urn, inputs, timeout, false);
                if (id === "" || id === UNKNOWN) throw new Error("the provider returned no id for the new resource");
                return made(id, outputs);
            } catch (error) {
                if (error instanceof InitError) {
                    next = { ...next, initErrors: error.reasons };
                    made(error.id, error.outputs);
                }
                throw error;
            }
        });
    }

    async update(provider: Provider, next: ResourceState, old: ResourceState): Promise<ResourceState> {
        const call = async (preview: boolean): Promise<Properties> => {
            const inputs = this.plain(provider, next.inputs);
            if (preview && !provider.supportsPreview) return inputs;
            const before = [this.plain(provider, old.inputs), this.plain(provider, old.outputs)] as const;
            const timeout = next.customTimeouts?.update ?? 0;
            const ignore = next.ignoreChanges ?? [];
            const id = old.id ?? "";
            return (await provider.update(next.urn, id, ...before, inputs, timeout, preview, ignore)).outputs;
        };
        const changed = (outputs: Properties): ResourceState => ({
            ...next,
            ...(old.id !== undefined && { id: old.id }),
            outputs: outputsOf(provider, outputs, next),
            ...(old.created && { created: old.created }),
            modified: now(),
        });
        if (this.run.preview) return changed(await call(true));
        return this.pending("updating", next, async () => {
            try {
                const state = changed(await call(false));
                this.run.store.put(state, old);
                return state;
            } catch (error) {
                if (error instanceof InitError) {
                    this.run.store.put({ ...changed(error.outputs), initErrors: error.reasons }, old);
                }
                throw error;
            }
        });
    }

    /** Deletes a resource, or only forgets it where there is nothing to delete or it is to be retained. */
    async delete(resource: ResourceState, keepAs?: ResourceState): Promise<void> {
        const { store } = this.run;
        if (this.run.preview) return;
        const forget = () => (keepAs ? store.replace(resource, keepAs) : store.remove(resource));
        const nothing = !resource.custom || resource.external || resource.pendingReplacement || !resource.provider;
        if (nothing || resource.retainOnDelete || resource.type.startsWith(PROVIDER_TYPE)) {
            forget();
            this.save();
            return;
        }
        const provider = await this.providerOf(resource);
        await this.pending("deleting", resource, async () => {
            const properties = [this.plain(provider, resource.inputs), this.plain(provider, resource.outputs)] as const;
            const timeout = resource.customTimeouts?.delete ?? 0;
            await provider.delete(resource.urn, resource.id ?? "", ...properties, timeout);
            forget();
        });
    }

    /** Deletes resources side by side, each after all that depend on it; what a failed one depends on stays. */
    async deleteAll(resources: readonly ResourceState[]): Promise<void> {
        const guarded = resources.filter((resource) => resource.protect);
        for (const { urn } of guarded) this.run.report.error(urn, `${urn} cannot be deleted because it is protected`);
        if (guarded.length > 0) return;
        const done = new Map<ResourceState, Promise<boolean>>();
        for (const [index, resource] of [...resources.entries()].reverse()) {
            const dependents = resources.slice(index + 1).filter((other) => needs(other).includes(resource.urn));
            const free = Promise.all(dependents.map((dependent) => done.get(dependent)));
            done.set(
                resource,
                free.then((results) => results.every(Boolean) && this.deleteOne(resource)),
            );
        }
        await Promise.all(done.values());
    }

    private async deleteOne(resource: ResourceState): Promise<boolean> {
        const { report } = this.run;
        const hidden = resource.type.startsWith(PROVIDER_TYPE) && /::default(_\d\w*)?$/.test(resource.urn);
        const doing = `deleting${resource.delete ? " original" : ""}${resource.retainOnDelete ? " [retain]" : ""}`;
        try {
            if (hidden || this.run.preview) await this.delete(resource);
            else await report.time("delete", resource.urn, doing, () => this.delete(resource));
            if (!resource.delete && !hidden) report.count("delete", resource.urn);
            return true;
        } catch (error) {
            report.error(resource.urn, (error as Error).message);
            return false;
        }
    }

    /** The state of a new or changed provider resource: nothing to create but an identity. */
    providerState(next: ResourceState, old?: ResourceState): ResourceState {
        const time = now();
        const identity = { id: old?.id ?? randomUUID(), created: old?.created ?? time, modified: time };
        return { ...next, ...identity, outputs: next.inputs ?? {} };
    }
}
