import { isDeepStrictEqual } from "node:util";
import { exitWithEngine } from "../drivers/orphan-guard";

/** A problem of one input; the engine tells it with the resource. */
export interface Failure {
    property: string;
    reason: string;
}

/** The five operations of a dynamic resource as plain functions. `I` are the inputs, `O` what is kept in state. */
export interface Operations<I extends object, O extends I> {
    /** Problems of the inputs; each is reported with the property's name. Unknown values arrive in previews. */
    check?(inputs: I): Promise<Failure[]>;
    /**
     * Adds to the inputs what only this machine knows, where that is to be known in a preview, too. Has no side effect, and is
     * asked once in a run. Unknown values arrive in previews.
     */
    complete?(inputs: I): Promise<{ added: Partial<I>; failures: Failure[] }>;
    /** Makes it. Must find and adopt what a run that was killed in the middle has left. */
    create(inputs: I): Promise<{ id: string; outs: O }>;
    /** Properties whose change needs work. May look at the world; has no side effect. Default: every changed input. */
    changes?(state: O, inputs: I): Promise<string[]>;
    /** Default: `create` again, under the same id. */
    update?(state: O, inputs: I): Promise<O>;
    /** The state as the world has it, or nothing where it is gone. Default: the state as it was. */
    read?(state: O): Promise<O | undefined>;
    /** Default: nothing is left behind that had to be removed. */
    delete?(state: O): Promise<void>;
    /** Properties whose change makes another resource of it. */
    replaceOn?: (keyof O & string)[];
    /** Whether the old one goes before the new one is made; default yes: two of the same name can't be. */
    deleteBeforeReplace?: boolean;
    /** Inputs whose change alone is no reason to do anything. */
    ignored?: (keyof I & string)[];
}

/** How Pulumi marks a value that is not known before the update (sdk: runtime/rpc.ts, `unknownValue`). */
const UNKNOWN = "04da6b54-80e4-46f7-96ec-b56ff0331ba9";

/** True where a value, or a part of it, is not known in this preview. */
export function isUnknown(value: unknown): boolean {
    if (value === UNKNOWN) return true;
    if (Array.isArray(value)) return value.some(isUnknown);
    return typeof value === "object" && value !== null && Object.values(value).some(isUnknown);
}

const withoutUndefined = (value: unknown) => (value === undefined ? undefined : JSON.parse(JSON.stringify(value)));

/** Names of the inputs that differ from the state; an unknown value differs. */
export function changedInputs(state: object, inputs: object, ignored: readonly string[] = []): string[] {
    const before = state as Record<string, unknown>;
    const after = inputs as Record<string, unknown>;
    return Object.keys(after)
        .filter((key) => key !== "__provider" && !ignored.includes(key))
        .filter((key) => !isDeepStrictEqual(withoutUndefined(before[key]), withoutUndefined(after[key])));
}

/** What Pulumi's dynamic provider calls, made from the operations. */
export function defineOperations<I extends object, O extends I>(operations: Operations<I, O>) {
    exitWithEngine();
    const { ignored = [], replaceOn = [], deleteBeforeReplace = true } = operations;
    const strip = <T extends object>(value: T): T => {
        const { __provider, ...rest } = value as Record<string, unknown>;
        return rest as T;
    };
    return {
        ...operations,
        async check(_olds: unknown, news: I) {
            const failures = (await operations.check?.(strip(news))) ?? [];
            const completed = failures.length === 0 ? await operations.complete?.(strip(news)) : undefined;
            return completed
                ? { inputs: { ...news, ...completed.added }, failures: completed.failures }
                : { inputs: news, failures };
        },
        async create(news: I) {
            return operations.create(strip(news));
        },
        async diff(_id: string, olds: O, news: I) {
            const changed = operations.changes
                ? await operations.changes(strip(olds), strip(news))
                : changedInputs(olds, news, ignored);
            const replaces = changed.filter((key) => replaceOn.some((other) => other === key));
            const oldFirst = deleteBeforeReplace && replaces.length > 0;
            return { changes: changed.length > 0, replaces, deleteBeforeReplace: oldFirst };
        },
        async update(_id: string, olds: O, news: I) {
            const outs = operations.update
                ? await operations.update(strip(olds), strip(news))
                : (await operations.create(strip(news))).outs;
            return { outs };
        },
        async read(id: string, props: O) {
            const state = operations.read ? await operations.read(strip(props)) : props;
            return state ? { id, props: { ...props, ...state } } : { id: "", props: {} };
        },
        async delete(_id: string, props: O) {
            await operations.delete?.(strip(props));
        },
    };
}
