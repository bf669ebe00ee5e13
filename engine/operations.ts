/** Operations that need no program: refresh and destroy. */
import { PROVIDER_TYPE, STACK_TYPE } from "./goal";
import type { ResourceState } from "./state";
import { type Run, Steps } from "./steps";
import { equal, markSecrets } from "./values";

/** Deletes everything, dependents first. */
export async function destroy(run: Run): Promise<void> {
    await new Steps(run).deleteAll(run.store.resources);
}

/** Reads every resource; the state follows what is there, and forgets what is gone. */
export async function refresh(run: Run): Promise<void> {
    const { store, report } = run;
    const steps = new Steps(run);
    const isProvider = (resource: ResourceState) => resource.type.startsWith(PROVIDER_TYPE);
    const read = async (resource: ResourceState): Promise<void> => {
        if (!resource.custom || resource.delete || resource.pendingReplacement)
            return report.count("same", resource.urn);
        try {
            await run.limit(() => refreshOne(run, steps, resource));
        } catch (error) {
            report.error(resource.urn, (error as Error).message);
        }
    };
    await Promise.all(store.resources.filter((resource) => !isProvider(resource)).map(read));
    forgetMissing(run);
}

async function refreshOne({ store, report, host }: Run, steps: Steps, resource: ResourceState): Promise<void> {
    if (host.signal.aborted) throw new Error("cancelled");
    const provider = await steps.providerOf(resource);
    const before = [steps.plain(provider, resource.inputs), steps.plain(provider, resource.outputs)] as const;
    const { urn, id = "" } = resource;
    const found = await provider.read(urn, id, ...before);
    if (found.id === "") {
        store.remove(resource);
        report.count("delete", urn);
        return;
    }
    const keep = (values: typeof found.inputs, like: ResourceState["inputs"]) =>
        provider.acceptSecrets ? values : markSecrets(values, like ?? {});
    const secrets = { ...resource.inputs, ...resource.outputs };
    const inputs = keep(found.inputs, resource.inputs);
    const outputs = keep(found.outputs, secrets);
    const { initErrors: _ready, ...rest } = resource;
    store.replace(resource, { ...rest, id: found.id, inputs, outputs, modified: new Date().toISOString() });
    if (resource.external || equal(resource.outputs, outputs)) return report.count("same", urn);
    // Whether that is a change is the provider's to say: a diff of the inputs against what was found.
    const news = steps.plain(provider, resource.inputs);
    const diff = await provider.diff(urn, id, before[0], found.outputs, news, resource.ignoreChanges ?? []);
    report.count(diff.changes === "some" ? "update" : "same", urn);
}

/** Nothing in the state may name a resource that is gone. */
function forgetMissing({ store }: Run): void {
    const there = new Set(store.resources.map(({ urn }) => urn));
    const root = store.resources.find(({ type }) => type === STACK_TYPE)?.urn;
    for (const resource of store.resources) {
        const { parent, dependencies = [], propertyDependencies = {} } = resource;
        const lists = [dependencies, ...Object.values(propertyDependencies)];
        if ((!parent || there.has(parent)) && lists.every((urns) => urns.every((urn) => there.has(urn)))) continue;
        const present = (urns: string[]) => urns.filter((urn) => there.has(urn));
        const entries = Object.entries(propertyDependencies).map(([key, urns]) => [key, present(urns)] as const);
        const next = {
            ...resource,
            dependencies: present(dependencies),
            propertyDependencies: Object.fromEntries(entries),
        };
        store.replace(resource, { ...next, ...(parent && { parent: there.has(parent) ? parent : root }) });
    }
}
