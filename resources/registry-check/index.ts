import * as pulumi from "@pulumi/pulumi";
import { factsOf, type NodeRegistrySettings } from "../../core/node-registries";
import { parseReference } from "../../core/reference";
import type { RegistryConnection } from "../../core/registry-connection";
import { OperationsResource } from "../dynamic";

export interface RegistryCheckArgs {
    /** `registry/path` */
    repository: pulumi.Input<string>;
    connection?: pulumi.Input<RegistryConnection>;
    /** How the nodes reach registries, by `host[:port]`, where that is known; default: their settings are not looked at. */
    nodes?: pulumi.Input<Record<string, NodeRegistrySettings>>;
    /** The same, by the name of a node, of those where each has settings of its own; default none. */
    each?: pulumi.Input<Record<string, Record<string, NodeRegistrySettings>>>;
}

/**
 * That a registry is there and takes a push to one repository, asked before anything is built: a wrong or expired password, an
 * unknown authority, plain HTTP where there is none, and nodes that were not told of the registry, are one error with what to
 * set. It is asked by every `up`, which goes on to nothing else when the answer is the same.
 */
export class RegistryCheck extends OperationsResource {
    /** `registry/path`, once the answer was yes. */
    declare readonly checked: pulumi.Output<string>;

    constructor(name: string, args: RegistryCheckArgs, options?: pulumi.CustomResourceOptions) {
        const { connection, nodes, each = {}, ...rest } = args;
        const inputs = {
            ...rest,
            connection: pulumi.secret(connection ?? {}),
            told: nodes === undefined ? null : toldOf(args.repository, nodes),
            toldEach: toldEachOf(args.repository, each),
        };
        super("RegistryCheck", name, inputs, ["checked"], ["connection"], options);
    }
}

/** What the nodes were told of this registry; no secret, once certificates and keys are left out. */
function toldOf(repository: pulumi.Input<string>, nodes: pulumi.Input<Record<string, NodeRegistrySettings>>) {
    const facts = pulumi
        .all([repository, nodes])
        .apply(([name, settings]) => factsOf(settings[parseReference(name).registry]));
    return pulumi.unsecret(facts);
}

function toldEachOf(
    repository: pulumi.Input<string>,
    each: pulumi.Input<Record<string, Record<string, NodeRegistrySettings>>>,
) {
    const facts = pulumi.all([repository, each]).apply(([name, settings]) => {
        const { registry } = parseReference(name);
        return Object.fromEntries(Object.entries(settings).map(([node, told]) => [node, factsOf(told[registry])]));
    });
    return pulumi.unsecret(facts);
}
