/** The providers of one operation: made once for each provider resource, configured from its inputs. */
import { echo } from "./echo";
import { packageOf, typeOf } from "./goal";
import { missingPlugin, pluginOnPath } from "./missing";
import { dynamicProvider, pluginProvider } from "./plugin";
import type { Properties, Provider, ProviderFactory, ProviderHost } from "./provider";
import type { ResourceState } from "./state";

/** The package of the SDK's dynamic resources. */
export const DYNAMIC = "pulumi-nodejs";

const BUILT_IN: Record<string, ProviderFactory> = {
    [DYNAMIC]: dynamicProvider,
    "docker-build": async (host, version) => (await import("./docker-build/index.js")).createDockerBuild(host, version),
};

export class Providers {
    private readonly configured = new Map<string, Promise<Provider>>();
    private readonly spare = new Map<string, Promise<Provider>>();
    private readonly started: Promise<Provider>[] = [];

    constructor(
        private readonly host: ProviderHost,
        private readonly replaced: Record<string, ProviderFactory>,
        private readonly preview: boolean,
    ) {}

    /** Packages that need no plugin on PATH. */
    get inside(): string[] {
        return Object.keys({ ...BUILT_IN, ...this.replaced });
    }

    /** Throws where a state has resources whose plugin is missing: before an operation, so that nothing is half done. */
    demand(resources: readonly ResourceState[]): void {
        const packages = new Set(resources.filter(({ custom }) => custom).map(({ type }) => packageOf(type)));
        const missing = [...packages].filter((name) => !this.inside.includes(name) && !pluginOnPath(name));
        if (missing.length > 0) throw new Error(`nothing was done: ${missing.map(missingPlugin).join("\n")}`);
    }

    private make(name: string, version: string): Promise<Provider> {
        const outside = this.preview && !pluginOnPath(name) ? echo(name) : pluginProvider(name);
        const factory = this.replaced[name] ?? BUILT_IN[name] ?? outside;
        const provider = factory(this.host, version);
        this.started.push(provider);
        return provider;
    }

    /** Starts a provider before anyone asks for it, because its process takes as long to start as the program. */
    warmUp(name: string): void {
        const provider = this.make(name, "");
        provider.catch(() => undefined); // whoever asks for it gets the error
        this.spare.set(name, provider);
    }

    /** The provider of a provider resource, given as `URN::id`. */
    get(reference: string, inputs: Properties): Promise<Provider> {
        let provider = this.configured.get(reference);
        if (!provider) {
            provider = this.configure(reference, inputs);
            this.configured.set(reference, provider);
        }
        return provider;
    }

    private async configure(reference: string, inputs: Properties): Promise<Provider> {
        const name = packageOf(typeOf(reference));
        const provider = await (this.spare.get(name) ?? this.make(name, String(inputs.version ?? "")));
        this.spare.delete(name);
        await provider.configure(inputs);
        return provider;
    }

    private async each(act: (provider: Provider) => void): Promise<void> {
        for (const result of await Promise.allSettled(this.started)) {
            if (result.status === "fulfilled") act(result.value);
        }
    }

    cancel = () => this.each((provider) => provider.cancel());
    close = () => this.each((provider) => provider.close());
}
