/** What a program asks for with one registration, and the names (URNs) it may have had. */
import type { RegisterResourceRequest } from "@pulumi/pulumi/proto/resource_pb";
import type { Properties } from "./provider";
import type { ResourceState } from "./state";
import { unsupportedKind } from "./values";
import { fromStruct } from "./wire";

export interface Goal {
    type: string;
    name: string;
    custom: boolean;
    parent: string;
    inputs: Properties;
    dependencies: string[];
    propertyDependencies: Record<string, string[]>;
    /** `URN::id` of an explicit provider, or "". */
    provider: string;
    version: string;
    protect?: boolean;
    retainOnDelete?: boolean;
    deleteBeforeReplace?: boolean;
    ignoreChanges: string[];
    replaceOnChanges: string[];
    additionalSecretOutputs: string[];
    /** Seconds; 0 = the provider's default. */
    timeouts: { create: number; update: number; delete: number };
    aliases: AliasSpec[];
}

export interface AliasSpec {
    urn?: string;
    name?: string;
    type?: string;
    stack?: string;
    project?: string;
    /** "" = no parent; undefined = the resource's own. */
    parent?: string;
}

/** A goal without options. */
export const PLAIN_GOAL: Omit<Goal, "type" | "name" | "parent" | "inputs" | "provider" | "version"> = {
    custom: true,
    dependencies: [],
    propertyDependencies: {},
    ignoreChanges: [],
    replaceOnChanges: [],
    additionalSecretOutputs: [],
    timeouts: { create: 0, update: 0, delete: 0 },
    aliases: [],
};

export const STACK_TYPE = "pulumi:pulumi:Stack";
export const PROVIDER_TYPE = "pulumi:providers:";

export const typeOf = (urn: string) => (urn.split("::")[2] ?? "").split("$").pop() ?? "";
export const nameOf = (urn: string) => urn.split("::").slice(3).join("::");

export function makeUrn(stack: string, project: string, parent: string, type: string, name: string): string {
    const above = parent === "" ? STACK_TYPE : (parent.split("::")[2] ?? "");
    const qualified = above === STACK_TYPE ? type : `${above}$${type}`;
    return `urn:pulumi:${stack}::${project}::${qualified}::${name}`;
}

/** The package of a resource type or function token: "docker-build:index:Image" -> "docker-build". */
export function packageOf(token: string): string {
    return token.startsWith(PROVIDER_TYPE) ? token.slice(PROVIDER_TYPE.length) : (token.split(":")[0] ?? token);
}

/** Names the resource may have had: its aliases, and those that follow from its parent's old names. */
export function aliasUrns(goal: Goal, stack: string, project: string, parentAliases: readonly string[]): string[] {
    const explicit = goal.aliases.flatMap((alias) => {
        if (alias.urn) return [alias.urn];
        const parents = alias.parent === undefined ? [goal.parent, ...parentAliases] : [alias.parent];
        const type = alias.type || goal.type;
        return parents.map((parent) =>
            makeUrn(alias.stack || stack, alias.project || project, parent, type, alias.name || goal.name),
        );
    });
    const inherited = parentAliases.flatMap((parent) => {
        const [now, before] = [nameOf(goal.parent), nameOf(parent)];
        const names = goal.name.startsWith(now) ? [before + goal.name.slice(now.length), goal.name] : [goal.name];
        return names.map((name) => makeUrn(stack, project, parent, goal.type, name));
    });
    return [...new Set([...explicit, ...inherited])];
}

/** The state that a goal amounts to, but for what only a step can tell (id, outputs, times). */
export function desiredState(
    goal: Goal,
    urn: string,
    inputs: Properties,
    provider: string | undefined,
    parent: ResourceState | undefined,
): ResourceState {
    const retainOnDelete = goal.retainOnDelete ?? parent?.retainOnDelete;
    const list = <T>(name: string, values: T[]) => (values.length > 0 ? { [name]: values } : {});
    const timeouts = Object.entries(goal.timeouts).filter(([, seconds]) => seconds > 0);
    const properties = Object.keys(goal.propertyDependencies).length > 0;
    return {
        urn,
        custom: goal.custom,
        type: goal.type,
        inputs,
        ...(goal.parent !== "" && { parent: goal.parent }),
        ...((goal.protect ?? parent?.protect) && { protect: true }),
        ...list("dependencies", goal.dependencies),
        ...(provider !== undefined && { provider }),
        ...(properties && { propertyDependencies: goal.propertyDependencies }),
        ...list("additionalSecretOutputs", goal.additionalSecretOutputs),
        ...(timeouts.length > 0 && { customTimeouts: Object.fromEntries(timeouts) }),
        ...(retainOnDelete && { retainOnDelete }),
        ...list("ignoreChanges", goal.ignoreChanges),
        ...list("replaceOnChanges", goal.replaceOnChanges),
    };
}

const SECONDS: Record<string, number> = { h: 3600, m: 60, s: 1, ms: 0.001 };

/** A Go duration ("1h30m") in seconds. */
function seconds(duration: string): number {
    return [...duration.matchAll(/([\d.]+)(ms|h|m|s)/g)].reduce(
        (total, [, count, unit]) => total + Number(count) * (SECONDS[unit ?? ""] ?? 0),
        0,
    );
}

/** Reads a registration; throws naming an option that this engine doesn't implement. */
export function readGoal(request: RegisterResourceRequest): Goal {
    const asked: [string, boolean][] = [
        ["import", request.getImportid() !== ""],
        ["hooks", Object.values(request.getHooks()?.toObject() ?? {}).some((names) => names.length > 0)],
        ["transforms", request.getTransformsList().length > 0],
        ["a remote component", request.getRemote()],
        ["a parameterized package", request.getPackageref() !== ""],
        ["deletedWith", request.getDeletedwith() !== ""],
        ["replaceWith", request.getReplaceWithList().length > 0],
        ["replacementTrigger", request.hasReplacementTrigger()],
        ["envVarMappings", request.getEnvvarmappingsMap().getLength() > 0],
    ];
    const inputs = fromStruct(request.getObject());
    const refused = asked.find(([, used]) => used)?.[0] ?? unsupportedKind(inputs);
    if (refused) throw new Error(`the embedded engine does not support ${refused}; use the Pulumi CLI`);
    const timeouts = request.getCustomtimeouts();
    const dependencies = [...request.getPropertydependenciesMap().entries()].map(
        ([key, list]) => [key, list.getUrnsList()] as const,
    );
    return {
        type: request.getType(),
        name: request.getName(),
        custom: request.getCustom(),
        parent: request.getParent(),
        inputs,
        dependencies: request.getDependenciesList(),
        propertyDependencies: Object.fromEntries(dependencies.sort(([a], [b]) => (a < b ? -1 : 1))),
        provider: request.getProvider(),
        version: request.getVersion(),
        ...(request.hasProtect() && { protect: request.getProtect() }),
        ...(request.hasRetainondelete() && { retainOnDelete: request.getRetainondelete() }),
        ...(request.getDeletebeforereplacedefined() && { deleteBeforeReplace: request.getDeletebeforereplace() }),
        ignoreChanges: request.getIgnorechangesList(),
        replaceOnChanges: request.getReplaceonchangesList(),
        additionalSecretOutputs: request.getAdditionalsecretoutputsList(),
        timeouts: {
            create: seconds(timeouts?.getCreate() ?? ""),
            update: seconds(timeouts?.getUpdate() ?? ""),
            delete: seconds(timeouts?.getDelete() ?? ""),
        },
        aliases: [
            ...request.getAliasurnsList().map((urn) => ({ urn })),
            ...request.getAliasesList().map((alias) => {
                const spec = alias.getSpec();
                if (!spec) return { urn: alias.getUrn() };
                const own = { name: spec.getName(), type: spec.getType() };
                const where = { stack: spec.getStack(), project: spec.getProject() };
                const parent = spec.getNoparent() ? "" : spec.getParenturn() || undefined;
                return { ...own, ...where, ...(parent !== undefined && { parent }) };
            }),
        ],
    };
}
