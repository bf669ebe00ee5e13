import * as pulumi from "@pulumi/pulumi";

const PARAMETERS = { check: "o, n", diff: "i, o, n", create: "n", read: "i, o", update: "i, o, n", delete: "i, o" };

/** A function as Pulumi's SDK serializes it (runtime/closure/serializeClosure.js), with one captured variable. */
function serialized(name: string, arity: number, captured: string, text: string): string {
    const parameters = Array.from({ length: arity }, (_, index) => `__${index}`).join(", ");
    return `function ${name}(${parameters}) {
  return (function() {
    with({ ${captured}, this: undefined, arguments: undefined }) {

return ${text};

    }
  }).apply(undefined, undefined).apply(this, arguments);
}
`;
}

/**
 * The provider of a dynamic resource: six arrow functions that load the implementation by the package's name, from
 * the folder of the stack's program (where Pulumi runs dynamic providers). Nothing else of this library gets into a
 * stack's state, so the implementation is upgraded with the package.
 *
 * This text is part of every resource's state; Pulumi replaces a resource whose provider's text changed. So it must
 * never change; a test holds it. It is what the SDK makes of such functions, written down: the SDK would load
 * TypeScript's parser and V8's inspector to find it out, in every run of every program.
 */
function providerText(kind: string): string {
    // biome-ignore lint/suspicious/noTemplateCurlyInString: text of a program
    const load = 'require("node:module").createRequire(`${process.cwd()}/_.js`)(entry)';
    const methods = Object.entries(PARAMETERS);
    const names = methods.map(([method], index) => `${method}: __f${index + 1}`).join(", ");
    const functions = methods.map(([method, parameters], index) => {
        const text = `(${parameters}) => ${load}.operations.${method}(${parameters})`;
        const arity = parameters.split(", ").length;
        return serialized(`__f${index + 1}`, arity, `entry: "buildfleet/operations/${kind}"`, text);
    });
    const provider = serialized("__f0", 0, "provider: __provider", "() => provider");
    return ["exports.handler = __f0;\n", `var __provider = {${names}};\n`, ...functions, provider].join("\n");
}

const kebab = (name: string) => name.replace(/(?<=[a-z0-9])(?=[A-Z])/g, "-").toLowerCase();

/** What the resources of this library have in common: each is one of Pulumi's dynamic resources. */
export abstract class OperationsResource extends pulumi.CustomResource {
    /**
     * @param type the class's name; `TagPromotion` has its operations in `resources/tag-promotion/operations.ts`
     * @param outputs names of the properties that only the operations know
     * @param secrets names of the outputs that are secret
     */
    protected constructor(
        type: string,
        name: string,
        args: pulumi.Inputs,
        outputs: string[],
        secrets: string[],
        options?: pulumi.CustomResourceOptions,
    ) {
        super(
            `pulumi-nodejs:dynamic/buildfleet:${type}`,
            name,
            {
                ...Object.fromEntries(outputs.map((output) => [output, undefined])),
                ...args,
                __provider: providerText(kebab(type)),
            },
            pulumi.mergeOptions(options, { additionalSecretOutputs: secrets }),
        );
    }
}
