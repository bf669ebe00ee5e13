import * as pulumi from "@pulumi/pulumi";
import { Unresolved } from "../core/settings";

/** Whether an input is a value, and not the output of a resource or a promise. */
export const isPlain = <T>(input: pulumi.Input<T>): input is T =>
    !pulumi.Output.isInstance(input) && !(input instanceof Promise);

/** Values of other resources are not known while the program runs; a schema lets a mark for them pass. */
export function withoutOutputs(value: unknown): unknown {
    if (!isPlain(value)) return new Unresolved();
    if (Array.isArray(value)) return value.map(withoutOutputs);
    if (typeof value !== "object" || value === null) return value;
    return Object.fromEntries(Object.entries(value).map(([key, item]) => [key, withoutOutputs(item)]));
}
