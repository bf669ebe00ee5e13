import { SESSION_CHANNELS } from "../../core/aws/policies";
import type { Declared } from "./declared";

interface Statement {
    Effect: string;
    Action?: string | string[];
    Resource?: string | string[];
    NotAction?: unknown;
    NotResource?: unknown;
    NotPrincipal?: unknown;
    Principal?: string | Record<string, string | string[]>;
}

const list = (value: string | string[] | undefined) => (value === undefined ? [] : [value].flat());

/** Actions that only look; everything else writes. */
const READS = /^[a-z0-9-]+:(?:Get|List|Describe|BatchGet|BatchCheck|Lookup|Search|View)[A-Za-z]*$/;

/** Writes on more than one thing, each with its reason. */
const WIDE: Record<string, string> = {
    // The role is there before its instance; the action tells only that an agent is alive.
    "ssm:UpdateInstanceInformation": "instance/*",
};

/** Every policy document among the inputs, wherever it stands: a text that is one, or a table of its shape. */
function documentsIn(value: unknown): Statement[][] {
    if (typeof value === "string") {
        return value.trimStart().startsWith("{") && value.includes('"Statement"') ? documentsIn(JSON.parse(value)) : [];
    }
    if (typeof value !== "object" || value === null) return [];
    if (!("Statement" in value)) return Object.values(value).flatMap(documentsIn);
    return [[(value as { Statement: Statement | Statement[] }).Statement].flat()];
}

/**
 * What is too wide in any policy document that was declared: a write on `*`, or on all things of a kind; all actions of a
 * service; whatever is said by exception.
 *
 * @param sessions lets the channels of Session Manager pass, for which IAM has no resource types.
 */
export function tooWide(resources: Declared[], { sessions = false } = {}): { documents: number; problems: string[] } {
    const found = resources.flatMap(({ name, type, inputs }) =>
        // In a key's or a repository's own policy, `*` is that key or repository.
        documentsIn(inputs).map((statements) => ({
            name,
            onItself: /:(?:Key|KeyPolicy|RepositoryPolicy)$/.test(type),
            statements,
        })),
    );
    const problems = found.flatMap(({ name, onItself, statements }) =>
        statements.flatMap((statement) => {
            if (statement.NotAction || statement.NotResource || statement.NotPrincipal)
                return [`${name}: by exception`];
            if (statement.Effect === "Deny") return [];
            if (principalsOf(statement).includes("*")) return [`${name}: for everybody`];
            if (onItself)
                return list(statement.Action)
                    .filter((one) => one.includes("*"))
                    .map((one) => `${name}: ${one}`);
            return list(statement.Action).flatMap((action) =>
                isTooWide(action, list(statement.Resource), sessions)
                    ? [`${name}: ${action} on ${list(statement.Resource)}`]
                    : [],
            );
        }),
    );
    return { documents: found.length, problems };
}

const principalsOf = ({ Principal = {} }: Statement) =>
    typeof Principal === "string" ? [Principal] : Object.values(Principal).flat();

function isTooWide(action: string, resources: string[], sessions: boolean): boolean {
    if (action.includes("*")) return true;
    if (READS.test(action) || resources.length === 0) return false;
    if (sessions && (SESSION_CHANNELS as readonly string[]).includes(action)) return false;
    return resources.some((resource) => resource.includes("*") && !resource.endsWith(`:${WIDE[action] ?? "-"}`));
}
