/** The package `pulumi`: its only resource is the reference to another stack, whose outputs are read from its state. */
import { STACK_TYPE, typeOf } from "./goal";
import type { Properties, ProviderFactory } from "./provider";
import { Keyring, readPassphrase } from "./secrets";
import { StateStore, statePath } from "./state";
import { hasSecret } from "./values";

/** @param stateDir the folder that keeps the states */
export const stackReferences =
    (stateDir: string): ProviderFactory =>
    async ({ project }) => {
        const refuse = async (what: string): Promise<never> => {
            throw new Error(`the embedded engine does not support ${what}; use the Pulumi CLI`);
        };
        return {
            supportsPreview: true,
            acceptSecrets: true,
            configure: async () => undefined,
            async read(urn, id, inputs) {
                if (typeOf(urn) !== "pulumi:pulumi:StackReference") return refuse(typeOf(urn));
                const outputs = await outputsOf(id, stateDir, project);
                const secretOutputNames = Object.keys(outputs).filter((name) => hasSecret(outputs[name] ?? null));
                return { id, inputs, outputs: { name: id, outputs, secretOutputNames } };
            },
            check: (urn) => refuse(typeOf(urn)),
            diff: (urn) => refuse(typeOf(urn)),
            create: (urn) => refuse(typeOf(urn)),
            update: (urn) => refuse(typeOf(urn)),
            delete: (urn) => refuse(typeOf(urn)),
            invoke: refuse,
            cancel: () => undefined,
            close: () => undefined,
        };
    };

/** Outputs of `STACK` of this project or `organization/PROJECT/STACK`, kept in the same folder and sealed with the same passphrase. */
async function outputsOf(reference: string, stateDir: string, own: string): Promise<Properties> {
    const parts = reference.split("/");
    if (parts.length !== 1 && parts.length !== 3)
        throw new Error(`"${reference}" is no stack; expected STACK or organization/PROJECT/STACK`);
    const [project = "", stack = ""] = parts.length === 1 ? [own, reference] : parts.slice(1);
    const file = statePath(stateDir, project, stack);
    const { resources } = await StateStore.load(file, new Keyring(() => readPassphrase(process.env)));
    const root = resources.find(({ type }) => type === STACK_TYPE);
    if (!root) throw new Error(`there is no stack "${reference}" yet: it has no state in ${file}; deploy it first`);
    return root.outputs ?? {};
}
