/** What stands in for a missing plugin in a preview. */
import { nameOf, typeOf } from "./goal";
import { missingPlugin } from "./missing";
import type { Properties, Provider, ProviderFactory } from "./provider";

/** Inputs come back as outputs, whatever else there is stays unknown. */
class Echo implements Provider {
    /** So the engine answers creations and updates itself, with the inputs. */
    readonly supportsPreview = false;
    readonly acceptSecrets = true;

    constructor(private readonly name: string) {}

    async configure(): Promise<void> {}

    async check(_urn: string, _olds: Properties, inputs: Properties) {
        return { inputs, failures: [] };
    }

    /** The engine compares the inputs; what would force a replacement only the plugin knows. */
    async diff() {
        return { changes: "unknown" as const, replaces: [], deleteBeforeReplace: false, diffs: [], stables: [] };
    }

    async read(urn: string): Promise<never> {
        throw new Error(`${typeOf(urn)} ${nameOf(urn)} can't be looked up: ${missingPlugin(this.name)}`);
    }

    async invoke(token: string): Promise<never> {
        throw new Error(`the function ${token} can't be called: ${missingPlugin(this.name)}`);
    }

    create = this.refuse;
    update = this.refuse;
    delete = this.refuse;

    private async refuse(): Promise<never> {
        throw new Error(missingPlugin(this.name));
    }

    cancel(): void {}
    close(): void {}
}

/** Says once what it is. */
export const echo =
    (name: string): ProviderFactory =>
    async (host) => {
        const what = "its resources are only echoed, not checked, and values that only it knows stay unknown";
        host.log("", "warning", `package "${name}": pulumi-resource-${name} is not on PATH: ${what}`, false);
        return new Echo(name);
    };
