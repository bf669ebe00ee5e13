import * as pulumi from "@pulumi/pulumi";

/**
 * The provider of a dynamic resource: six arrow functions that load the implementation by the package's name, from
 * the folder of the stack's program (where Pulumi runs dynamic providers). Nothing else of this library gets into a
 * stack's state, so the implementation is upgraded with the package.
 *
 * The text of these functions is part of every resource's state; Pulumi replaces a resource whose provider's text
 * changed. So it must never change; a test holds it.
 */
function provider(kind: string): pulumi.dynamic.ResourceProvider {
    const entry = `buildfleet/operations/${kind}`;
    return {
        check: (o, n) => require("node:module").createRequire(`${process.cwd()}/_.js`)(entry).operations.check(o, n),
        diff: (i, o, n) =>
            require("node:module").createRequire(`${process.cwd()}/_.js`)(entry).operations.diff(i, o, n),
        create: (n) => require("node:module").createRequire(`${process.cwd()}/_.js`)(entry).operations.create(n),
        read: (i, o) => require("node:module").createRequire(`${process.cwd()}/_.js`)(entry).operations.read(i, o),
        update: (i, o, n) =>
            require("node:module").createRequire(`${process.cwd()}/_.js`)(entry).operations.update(i, o, n),
        delete: (i, o) => require("node:module").createRequire(`${process.cwd()}/_.js`)(entry).operations.delete(i, o),
    };
}

const providers = new Map<string, pulumi.dynamic.ResourceProvider>();

/** One provider object per kind: Pulumi serializes each object once. */
function providerOf(kind: string): pulumi.dynamic.ResourceProvider {
    let found = providers.get(kind);
    if (!found) {
        found = provider(kind);
        providers.set(kind, found);
    }
    return found;
}

const kebab = (name: string) => name.replace(/(?<=[a-z0-9])(?=[A-Z])/g, "-").toLowerCase();

/** What the resources of this library have in common. */
export abstract class OperationsResource extends pulumi.dynamic.Resource {
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
            providerOf(kebab(type)),
            name,
            { ...Object.fromEntries(outputs.map((output) => [output, undefined])), ...args },
            pulumi.mergeOptions(options, { additionalSecretOutputs: secrets }),
            "buildfleet",
            type,
        );
    }
}
