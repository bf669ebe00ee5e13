/** Turns registrations into steps: what is, what the program wants, and what that takes. */
import { aliasUrns, desiredState, type Goal, makeUrn, PROVIDER_TYPE, STACK_TYPE } from "./goal";
import { type Owner, Owners } from "./owners";
import { InitError, type Properties, UNKNOWN } from "./provider";
import { needs, type ResourceState } from "./state";
import { type Run, Steps } from "./steps";
import { equal, hasUnknown, keepOld } from "./values";

export interface Registered {
    urn: string;
    id: string;
    outputs: Properties;
    result: "success" | "fail" | "skip";
}

export class Deployment {
    private readonly steps: Steps;
    private readonly owners: Owners;
    private readonly olds = new Map<string, ResourceState>();
    private readonly claimed = new Set<ResourceState>();
    private readonly states = new Map<string, ResourceState>();
    private readonly formerly = new Map<string, string[]>();
    private readonly seen = new Set<string>();
    /** Resources that failed or were skipped: what depends on them is skipped. */
    private readonly bad = new Set<string>();
    private readonly active = new Set<Promise<Registered>>();
    /** Stack outputs as the program registered them. */
    outputs: Properties | undefined;

    constructor(private readonly run: Run) {
        this.steps = new Steps(run);
        this.owners = new Owners(run, this.steps, this.states, (urn) => this.claim(urn));
        for (const resource of run.store.resources) if (!resource.delete) this.olds.set(resource.urn, resource);
    }

    /** The resource of that name in the last run; it is spoken for, so it won't be deleted. */
    private claim(...urns: string[]): ResourceState | undefined {
        const old = urns.map((urn) => this.olds.get(urn)).find((found) => found && !this.claimed.has(found));
        if (old) this.claimed.add(old);
        return old;
    }

    register(goal: Goal): Promise<Registered> {
        const registration = this.settle(goal);
        this.active.add(registration);
        return registration.finally(() => this.active.delete(registration));
    }

    /** Resolves when no step is under way any more. */
    async idle(): Promise<void> {
        while (this.active.size > 0) await Promise.allSettled(this.active);
    }

    private async settle(goal: Goal): Promise<Registered> {
        const { stack, project, report, host } = this.run;
        const urn = makeUrn(stack, project, goal.parent, goal.type, goal.name);
        try {
            if (host.signal.aborted) throw new Error("cancelled");
            if (this.seen.has(urn)) throw new Error(`Duplicate resource URN '${urn}'; try giving it a unique name`);
            this.seen.add(urn);
            const aliases = aliasUrns(goal, stack, project, this.formerly.get(goal.parent) ?? []);
            if (aliases.length > 0) this.formerly.set(urn, aliases);
            const old = this.claim(urn, ...aliases);
            const lost = !this.run.preview && hasUnknown(goal.inputs); // an output of what failed, by a way the SDK doesn't track
            if (lost || needs({ urn, ...goal }).some((dependency) => this.bad.has(dependency)))
                return this.miss(urn, "skip");
            const state = await this.step(goal, urn, old);
            this.states.set(urn, state);
            return { urn, id: state.id ?? "", outputs: state.outputs ?? {}, result: "success" };
        } catch (error) {
            report.error(urn, error instanceof InitError ? `not ready: ${error.message}` : (error as Error).message);
            return this.miss(urn, "fail");
        }
    }

    private miss(urn: string, result: "fail" | "skip"): Registered {
        this.bad.add(urn);
        return { urn, id: "", outputs: {}, result };
    }

    private async step(goal: Goal, urn: string, old: ResourceState | undefined): Promise<ResourceState> {
        const { report, preview } = this.run;
        const isProvider = goal.type.startsWith(PROVIDER_TYPE);
        const owner = goal.custom && !isProvider ? await this.owners.of(goal) : undefined;
        const live = old && !old.pendingReplacement && !old.external ? old : undefined;
        const asked = live?.inputs ? keepOld(goal.inputs, live.inputs, goal.ignoreChanges) : goal.inputs;
        const inputs = owner ? await this.owners.check(owner, goal, urn, live?.inputs ?? {}, asked) : asked;
        const next = desiredState(goal, urn, inputs, owner?.reference, this.states.get(goal.parent));
        if (!owner) return this.plainStep(next, old);
        if (!live) {
            const op = old?.pendingReplacement ? "replace" : "create";
            const state = await this.create(owner, next, op, old);
            report.count(op, urn);
            return state;
        }
        const { changed, replaces, deleteFirst } = await this.diff(owner, live, next);
        if (replaces) {
            const fresh = await this.owners.check(owner, goal, urn, {}, asked);
            return this.replace(owner, live, { ...next, inputs: fresh }, goal.deleteBeforeReplace ?? deleteFirst);
        }
        if (changed) {
            const work = () => this.steps.update(owner.provider, next, live);
            const state = await (preview ? work() : report.time("update", urn, "updating", work));
            report.count("update", urn);
            return state;
        }
        report.count("same", urn);
        return this.same(next, live);
    }

    private same(next: ResourceState, old: ResourceState): ResourceState {
        const { id, outputs, created, modified } = old;
        const kept = { ...(id !== undefined && { id }), ...(outputs && { outputs }) };
        const state = { ...next, ...kept, ...(created && { created }), ...(modified && { modified }) };
        if (!this.run.preview) this.run.store.put(state, old);
        return state;
    }

    /** Components and explicit providers: nothing but state. */
    private plainStep(next: ResourceState, old: ResourceState | undefined): ResourceState {
        const { report, store, preview } = this.run;
        const changed = next.custom && old && !equal(old.inputs ?? {}, next.inputs ?? {});
        report.count(old ? (changed ? "update" : "same") : "create", next.urn);
        if (old && !changed) return this.same(next, old);
        const time = new Date().toISOString();
        const state = next.custom
            ? this.steps.providerState(next, old)
            : { ...next, outputs: {}, created: time, modified: time };
        if (!preview) store.put(state, old);
        return state;
    }

    private create(owner: Owner, next: ResourceState, op: "create" | "replace", old?: ResourceState) {
        const work = () => this.steps.create(owner.provider, next, old);
        const doing = op === "create" ? "creating" : "creating replacement";
        return this.run.preview ? work() : this.run.report.time(op, next.urn, doing, work);
    }

    private async replace(owner: Owner, old: ResourceState, next: ResourceState, deleteFirst: boolean) {
        const { report, store, preview } = this.run;
        let before: ResourceState | undefined;
        if (old.protect) throw new Error("unable to replace the resource: it is protected");
        if (deleteFirst) {
            const doomed = [...(await this.dependentReplacements(old)), old];
            const guarded = doomed.find((resource) => resource.protect);
            if (guarded)
                throw new Error(`unable to replace the resource: ${guarded.urn} depends on it and is protected`);
            for (const resource of doomed) {
                if (resource === old || !this.seen.has(resource.urn)) before = await this.deleteEarly(resource);
            }
        }
        const state = await this.create(owner, next, "replace", before);
        if (!preview && !deleteFirst) store.replace(old, { ...old, delete: true });
        report.count("replace", next.urn);
        return state;
    }

    /** Deletes a resource that will be made anew; the state keeps it, marked, so that what depends on it stays valid. */
    private async deleteEarly(resource: ResourceState): Promise<ResourceState> {
        const marked = { ...resource, pendingReplacement: true };
        const work = () => this.steps.delete(resource, marked);
        if (!this.run.preview) await this.run.report.time("replace", resource.urn, "deleting original", work);
        this.olds.set(resource.urn, marked);
        return marked;
    }

    /** Dependents that must be replaced when `root` is deleted first: those whose diff says so with the inputs unknown; last first. */
    private async dependentReplacements(root: ResourceState): Promise<ResourceState[]> {
        const doomed = new Set([root.urn]);
        const found: ResourceState[] = [];
        for (const resource of this.run.store.resources) {
            const keys = Object.entries(resource.propertyDependencies ?? {})
                .filter(([, urns]) => urns.some((urn) => doomed.has(urn)))
                .map(([key]) => key);
            if (keys.length === 0 || !resource.custom || resource.delete || this.seen.has(resource.urn)) continue;
            const provider = await this.steps.providerOf(resource);
            const [inputs, outputs] = [
                this.steps.plain(provider, resource.inputs),
                this.steps.plain(provider, resource.outputs),
            ];
            const unknown = Object.fromEntries(keys.map((key) => [key, UNKNOWN]));
            const news = { ...inputs, ...unknown };
            const diff = await provider.diff(resource.urn, resource.id ?? "", inputs, outputs, news, []);
            if (diff.replaces.length === 0) continue;
            doomed.add(resource.urn);
            found.unshift(resource);
        }
        return found;
    }

    private async diff(owner: Owner, old: ResourceState, next: ResourceState) {
        const { provider } = owner;
        const properties = [old.inputs, old.outputs, next.inputs].map((value) => this.steps.plain(provider, value));
        const [inputs = {}, outputs = {}, news = {}] = properties;
        const ignored = next.ignoreChanges ?? [];
        const answer = await provider.diff(next.urn, old.id ?? "", inputs, outputs, news, ignored);
        const paths = next.replaceOnChanges ?? [];
        const moved = !equal(keepOld(next.inputs ?? {}, old.inputs ?? {}, paths), next.inputs);
        const replaces = answer.replaces.length > 0 || moved || old.type !== next.type;
        const differs = answer.changes === "unknown" ? !equal(old.inputs, next.inputs) : answer.changes === "some";
        const changed = differs || (old.initErrors?.length ?? 0) > 0;
        return { replaces: replaces && (changed || moved), changed, deleteFirst: answer.deleteBeforeReplace };
    }

    /** The outputs of a component or of the stack. Unknown ones follow from a failure: the last update's outputs stay. */
    registerOutputs(urn: string, outputs: Properties): void {
        const state = this.states.get(urn);
        if (!state || (!this.run.preview && hasUnknown(outputs))) return;
        const next = { ...state, outputs };
        if (state.type === STACK_TYPE) this.outputs = outputs;
        this.states.set(urn, next);
        if (!this.run.preview) this.run.store.replace(state, next);
    }

    /** Reads a resource that the stack doesn't own. */
    async read(goal: Goal, id: string): Promise<Registered> {
        const urn = makeUrn(this.run.stack, this.run.project, goal.parent, goal.type, goal.name);
        const old = this.claim(urn);
        this.seen.add(urn);
        const { provider, reference } = await this.owners.of(goal);
        const answer = await provider.read(urn, id, {}, this.steps.plain(provider, goal.inputs));
        if (answer.id === "") throw new Error(`${goal.type} ${goal.name}: there is no resource with the id ${id}`);
        const next = {
            ...desiredState(goal, urn, {}, reference, this.states.get(goal.parent)),
            external: true,
            id: answer.id,
            outputs: answer.outputs,
        };
        this.states.set(urn, next);
        if (!this.run.preview) this.run.store.put(next, old);
        return { urn, id: answer.id, outputs: answer.outputs, result: "success" };
    }

    invoke(token: string, args: Properties, reference: string, version: string) {
        return this.owners.invoke(token, args, reference, version);
    }

    /** After a program that succeeded: deletes what it no longer registers, and what was replaced. */
    async finish(): Promise<void> {
        await this.steps.deleteAll(this.run.store.untouched.filter((resource) => !this.claimed.has(resource)));
    }
}
