/** What an operation did, as lines for people and as a result for programs. */
import { nameOf, STACK_TYPE, typeOf } from "./goal";
import type { Properties, Severity } from "./provider";

export type Operation = "same" | "create" | "update" | "replace" | "delete" | "refresh" | "read";

export interface EngineResult {
    result: "succeeded" | "failed";
    changes: { create: number; update: number; delete: number; replace: number; same: number };
    /** The stack's outputs; secrets as "[secret]" unless asked for. */
    outputs: Properties;
    errors: { urn: string; message: string }[];
    durationMs: number;
    /** Steps taken (planned, in a preview) in the order they ended; resources that stayed the same are left out. */
    steps: { op: Operation; urn: string }[];
}

const SIGN: Record<Operation, string> = {
    same: "   ",
    create: " + ",
    update: " ~ ",
    replace: "+- ",
    delete: " - ",
    refresh: " ~ ",
    read: " > ",
};
const DONE: Record<string, string> = {
    creating: "created",
    updating: "updated",
    deleting: "deleted",
    replacing: "replaced",
    refreshing: "refreshed",
    reading: "read",
};

export class Report {
    readonly changes = { create: 0, update: 0, delete: 0, replace: 0, same: 0 };
    readonly errors: { urn: string; message: string }[] = [];
    readonly steps: { op: Operation; urn: string }[] = [];

    constructor(
        readonly preview: boolean,
        private readonly print: (line: string) => void,
    ) {}

    get failed(): boolean {
        return this.errors.length > 0;
    }

    /** A step that was taken or, in a preview, would be. */
    count(op: Operation, urn: string): void {
        if (op in this.changes) this.changes[op as keyof Report["changes"]] += 1;
        if (op === "same") return;
        this.steps.push({ op, urn });
        if (this.preview) this.print(`${SIGN[op]} ${typeOf(urn)} ${nameOf(urn)} ${op}`);
    }

    /** Announces work on a resource ("creating", "deleting original", …) and, when it settles, its end and duration. */
    async time<T>(op: Operation, urn: string, doing: string, work: () => Promise<T>): Promise<T> {
        const label = `${SIGN[op]} ${typeOf(urn)} ${nameOf(urn)}`;
        const started = performance.now();
        const [verb = "", ...rest] = doing.split(" ");
        if (op !== "refresh") this.print(`${label} ${doing}`);
        try {
            const result = await work();
            const took = ((performance.now() - started) / 1000).toFixed(2);
            if (op !== "refresh") this.print(`${label} ${[DONE[verb] ?? verb, ...rest].join(" ")} (${took}s)`);
            return result;
        } catch (error) {
            this.print(`${label} **${doing} failed**`);
            throw error;
        }
    }

    log(urn: string, severity: Severity, message: string): void {
        if (severity === "debug") return;
        const who = urn === "" || typeOf(urn) === STACK_TYPE ? "" : `${typeOf(urn)} ${nameOf(urn)}: `;
        const prefix = severity === "info" ? "" : `${severity}: `;
        for (const line of message.trimEnd().split("\n")) this.print(`    ${who}${prefix}${line}`);
    }

    error(urn: string, message: string): void {
        this.errors.push({ urn, message });
        this.log(urn, "error", message);
    }

    summary(verb: string, seconds: number): void {
        const { same, ...changed } = this.changes;
        const parts = Object.entries(changed).filter(([, count]) => count > 0);
        const words = parts.map(([op, count]) => `${count} ${this.preview ? `to ${op}` : `${op}d`}`);
        this.print(`Resources: ${[...words, `${same} unchanged`].join(", ")}`);
        this.print(
            `${verb} ${this.failed ? `failed, ${this.errors.length} error(s)` : "succeeded"} in ${seconds.toFixed(1)}s`,
        );
    }
}
