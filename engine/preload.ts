/**
 * Loaded into the program before the SDK. The SDK reports an uncaught error through a coloured `util.inspect`, which in Node 20.20 never
 * returns for a stack that names a scoped package's top-level file (`node_modules/@pulumi/resource.ts`). Without colours it does.
 */
import util = require("node:util");

const inspect = util.inspect;
const plain = (value: unknown, options?: unknown, ...rest: unknown[]) =>
    (inspect as (...args: unknown[]) => string)(
        value,
        typeof options === "object" ? { ...options, colors: false } : options,
        ...rest,
    );
util.inspect = Object.assign(plain, inspect) as typeof inspect;
