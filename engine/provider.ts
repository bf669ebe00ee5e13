/** What every provider looks like to the engine: the SDK's dynamic provider, a plugin process, or an in-process stand-in. */

/**
 * A property value in Pulumi's wire form: what `google.protobuf.Struct` can hold. A secret is an object with {@link SIGNATURE} =
 * {@link SECRET} and `value`; a value not known yet is the string {@link UNKNOWN}.
 */
export type Value = null | boolean | number | string | Value[] | { [key: string]: Value };

/** Properties of a resource, in wire form. */
export type Properties = { [key: string]: Value };

/** The key that marks secrets, assets, archives, outputs and resource references inside a struct. */
export const SIGNATURE = "4dabf18193072939515e22adb298388d";
/** The signature of a secret. */
export const SECRET = "1b47061264138c4ac30d75fd1eb44270";
/** A string, number, … that is not known during a preview. */
export const UNKNOWN = "04da6b54-80e4-46f7-96ec-b56ff0331ba9";

/** A problem that a provider's check found with one property. */
export interface CheckFailure {
    property: string;
    reason: string;
}

export interface CheckResult {
    inputs: Properties;
    failures: CheckFailure[];
}

export interface DiffResult {
    /** "unknown": the provider doesn't say; the engine compares the inputs itself. */
    changes: "none" | "some" | "unknown";
    /** Properties (paths) that force a replacement. */
    replaces: string[];
    deleteBeforeReplace: boolean;
    /** Properties that changed (top-level names or paths). */
    diffs: string[];
    /** Outputs that an update will not change. */
    stables: string[];
    /** Path -> kind, as in the protocol's PropertyDiff.Kind ("ADD", "UPDATE_REPLACE", …). */
    detailed?: Record<string, string>;
}

/** The resource was made (or changed), but did not become ready: its id and outputs are kept in the state, with the reasons. */
export class InitError extends Error {
    override name = "InitError";
    constructor(
        readonly id: string,
        readonly outputs: Properties,
        readonly reasons: string[],
    ) {
        super(reasons.join("; ") || "the resource failed to initialize");
    }
}

export type Severity = "debug" | "info" | "warning" | "error";

/** What the engine offers to a provider. */
export interface ProviderHost {
    project: string;
    stack: string;
    /** The stack program's directory (absolute): providers resolve relative paths against it. */
    programDirectory: string;
    /** HOST:PORT of the engine's own service; plugin processes report to it. */
    engineAddress: string;
    /** Reports progress; `urn` "" is the stack itself, `ephemeral` lines are shown and forgotten. */
    log(urn: string, severity: Severity, message: string, ephemeral: boolean): void;
    /** Aborted when the operation is cancelled (SIGINT, SIGTERM). */
    signal: AbortSignal;
}

/**
 * A provider. Failures are thrown as `Error`; the engine adds the resource's name. Timeouts are seconds, 0 = the provider's default.
 * In a preview, values may be {@link UNKNOWN}; create and update are then only called where {@link Provider.supportsPreview}.
 */
export interface Provider {
    /** True: create and update may be called with `preview` and then act on nothing. */
    readonly supportsPreview: boolean;
    /** True: inputs arrive with secrets marked; false: in the clear. Valid once configured. */
    readonly acceptSecrets: boolean;
    configure(inputs: Properties): Promise<void>;
    check(urn: string, olds: Properties, news: Properties): Promise<CheckResult>;
    diff(
        urn: string,
        id: string,
        oldInputs: Properties,
        oldOutputs: Properties,
        news: Properties,
        ignoreChanges: string[],
    ): Promise<DiffResult>;
    /** Throws {@link InitError} where the resource exists but isn't ready. A preview may return the id "". */
    create(
        urn: string,
        news: Properties,
        timeout: number,
        preview: boolean,
    ): Promise<{ id: string; outputs: Properties }>;
    update(
        urn: string,
        id: string,
        oldInputs: Properties,
        oldOutputs: Properties,
        news: Properties,
        timeout: number,
        preview: boolean,
        ignoreChanges: string[],
    ): Promise<{ outputs: Properties }>;
    /** The id is "" when the resource is gone. */
    read(
        urn: string,
        id: string,
        inputs: Properties,
        outputs: Properties,
    ): Promise<{ id: string; inputs: Properties; outputs: Properties }>;
    delete(urn: string, id: string, inputs: Properties, outputs: Properties, timeout: number): Promise<void>;
    /** Calls a function of the provider; absent where it has none. */
    invoke?(token: string, args: Properties): Promise<{ result: Properties; failures: CheckFailure[] }>;
    /** Asks operations under way to stop; they still settle. */
    cancel(): void;
    /** Ends the provider's process, if it has one. */
    close(): void;
}

/** Makes the provider of a package; `version` is what the program asked for ("" = any). */
export type ProviderFactory = (host: ProviderHost, version: string) => Promise<Provider>;
