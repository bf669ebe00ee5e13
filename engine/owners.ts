/** Which provider a resource belongs to: the one it names, or its package's default one. */
import { type Goal, makeUrn, PROVIDER_TYPE, packageOf } from "./goal";
import type { Properties, Provider, Value } from "./provider";
import { DYNAMIC } from "./providers";
import type { ResourceState } from "./state";
import type { Run, Steps } from "./steps";
import { display, equal, markSecrets, secret } from "./values";

export interface Owner {
    /** `URN::id` of the provider resource. */
    reference: string;
    provider: Provider;
}

export class Owners {
    private readonly defaults = new Map<string, Promise<Owner>>();

    /** `states`: resources of this run; `claim` finds one of the last run and keeps it from being deleted. */
    constructor(
        private readonly run: Run,
        private readonly steps: Steps,
        private readonly states: ReadonlyMap<string, ResourceState>,
        private readonly claim: (urn: string) => ResourceState | undefined,
    ) {}

    of(goal: Goal): Promise<Owner> {
        return goal.provider ? this.named(goal.provider) : this.byDefault(packageOf(goal.type), goal.version);
    }

    private async named(reference: string): Promise<Owner> {
        const urn = reference.slice(0, reference.lastIndexOf("::"));
        const state = this.states.get(urn);
        if (!state) throw new Error(`provider ${urn} can't be used before it was created`);
        return { reference, provider: await this.run.providers.get(reference, state.inputs ?? {}) };
    }

    private byDefault(name: string, version: string): Promise<Owner> {
        const key = `default${version && `_${version.replace(/\W/g, "_")}`}`;
        const urn = makeUrn(this.run.stack, this.run.project, "", PROVIDER_TYPE + name, key);
        let owner = this.defaults.get(urn);
        if (!owner) {
            owner = this.makeDefault(urn, name, version);
            this.defaults.set(urn, owner);
        }
        return owner;
    }

    private async makeDefault(urn: string, name: string, version: string): Promise<Owner> {
        const { values, secretKeys } = this.run.config;
        const inputs: Properties = version ? { version } : {};
        for (const [key, text] of Object.entries(values)) {
            const value: Value = secretKeys.includes(key) ? secret(text) : text;
            // The dynamic provider gets the whole configuration; others what carries their name.
            if (name === DYNAMIC) inputs[key] = value;
            else if (key.startsWith(`${name}:`)) inputs[key.slice(name.length + 1)] = value;
        }
        const old = this.claim(urn);
        const next: ResourceState = { urn, custom: true, type: PROVIDER_TYPE + name, inputs };
        const same = old && equal(significant(old.inputs), significant(inputs));
        const state = same ? old : this.steps.providerState(next, old);
        const reference = `${urn}::${state.id}`;
        const provider = await this.run.providers.get(reference, inputs);
        if (!this.run.preview) this.run.store.put(state, old);
        return { reference, provider };
    }

    async check(owner: Owner, goal: Goal, urn: string, olds: Properties, news: Properties): Promise<Properties> {
        const { provider } = owner;
        const answer = await provider.check(urn, this.steps.plain(provider, olds), this.steps.plain(provider, news));
        if (answer.failures.length > 0) {
            const shown = display(news, false);
            const reasons = answer.failures.map(({ property, reason }) => {
                const value = property in shown ? ` value {${JSON.stringify(shown[property])}}` : "";
                const where = property === "" ? "" : `property ${property}${value} has a problem: `;
                return `${goal.type} resource '${goal.name}': ${where}${reason}`;
            });
            throw new Error(reasons.join("\n"));
        }
        return provider.acceptSecrets ? answer.inputs : markSecrets(answer.inputs, news);
    }

    async invoke(token: string, args: Properties, reference: string, version: string) {
        const { provider } = await (reference ? this.named(reference) : this.byDefault(packageOf(token), version));
        if (!provider.invoke) throw new Error(`the provider of ${token} has no functions in the embedded engine`);
        return provider.invoke(token, this.steps.plain(provider, args));
    }
}

/** Provider settings without what a plugin's own check adds (the state may come from the real engine). */
function significant(inputs: Properties = {}): Properties {
    return Object.fromEntries(Object.entries(inputs).filter(([key, value]) => !key.startsWith("__") && value !== ""));
}
