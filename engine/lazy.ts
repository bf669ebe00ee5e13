/**
 * Loaded into the program and into the provider of dynamic resources before the SDK, which has work done in every run that few runs need.
 *
 * It loads more with itself than all the rest of it: npm's resolver (for functions that are sent with their dependencies), TypeScript's
 * parser (for functions that are serialized), the Automation API and OpenTelemetry's exporters. Here each is loaded when something of it is
 * first asked for. And it notes with each promise the stack that made it, looked up in source maps, for a message that only
 * `PULUMI_DEBUG_PROMISE_LEAKS` asks for.
 */
import Module = require("node:module");

type Load = (request: string, parent?: { filename?: string | null }, ...rest: unknown[]) => unknown;

const LATER = /^@npmcli\/arborist$|\/typescript-shim$|^\.\/automation$|^@opentelemetry\/(?!api$)/;

const loader = Module as unknown as { _load: Load };
const load = loader._load;
loader._load = (request, parent, ...rest) => {
    const now = () => load.call(Module, request, parent, ...rest) as object;
    if (!/[\\/]@pulumi[\\/]pulumi[\\/]/.test(parent?.filename ?? "")) return now();
    if (LATER.test(request)) return later(now);
    const loaded = now();
    if (/\/debuggable$/.test(request) && !process.env.PULUMI_DEBUG_PROMISE_LEAKS) forgetStacks(loaded as Debuggable);
    return loaded;
};

/** Stands for a module, and loads it when something of it is first asked for. */
function later(load: () => object): object {
    let loaded: object | undefined;
    const target = (): object => {
        loaded ??= load();
        return loaded;
    };
    return new Proxy(
        {},
        {
            // An ES module's namespace is handed on as it is, where the compiler's helpers would copy another's properties.
            get: (_, key) => key === "__esModule" || Reflect.get(target(), key),
            has: (_, key) => Reflect.has(target(), key),
        },
    );
}

interface Debuggable {
    debuggablePromise: ((promise: Promise<unknown>, context: string) => Promise<unknown>) & { stackless?: true };
}

function forgetStacks(module: Debuggable): void {
    const original = module.debuggablePromise;
    if (original.stackless) return;
    const stackless: Debuggable["debuggablePromise"] = (promise, context) => {
        const { stackTraceLimit } = Error;
        Error.stackTraceLimit = 0;
        try {
            return original(promise, context);
        } finally {
            Error.stackTraceLimit = stackTraceLimit;
        }
    };
    stackless.stackless = true;
    module.debuggablePromise = stackless;
}
