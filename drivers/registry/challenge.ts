/** One challenge of a `WWW-Authenticate` header (RFC 9110, 11.6.1). */
export interface Challenge {
    /** In lower case: `basic`, `bearer`. */
    scheme: string;
    /** Names in lower case. */
    parameters: Record<string, string>;
}

const TOKEN = /[!#$%&'*+.^_`|~0-9A-Za-z-]+/y;
const QUOTED = /"((?:[^"\\]|\\.)*)"/y;
const SEPARATORS = /[\s,]*/y;
const EQUALS = /\s*=\s*/y;
/** What follows a scheme that uses neither parameters nor us, e.g. the base64 of Negotiate. */
const TOKEN68 = /\s+[A-Za-z0-9._~+/-]+=*(?=\s*(?:,|$))/y;

/** Reads every challenge of one or more headers. What does not follow the grammar ends the reading of that header. */
export function parseChallenges(header: string | string[] | undefined): Challenge[] {
    return [header ?? []].flat().flatMap(parseOne);
}

function parseOne(text: string): Challenge[] {
    const challenges: Challenge[] = [];
    let position = 0;
    const take = (pattern: RegExp): RegExpExecArray | null => {
        pattern.lastIndex = position;
        const match = pattern.exec(text);
        if (match) position = pattern.lastIndex;
        return match;
    };
    for (;;) {
        take(SEPARATORS);
        const name = take(TOKEN)?.[0];
        if (name === undefined) return challenges;
        const current = challenges.at(-1);
        if (take(EQUALS)) {
            const value = take(QUOTED)?.[1]?.replace(/\\(.)/g, "$1") ?? take(TOKEN)?.[0];
            if (value === undefined || !current) return challenges;
            current.parameters[name.toLowerCase()] ??= value;
        } else {
            challenges.push({ scheme: name.toLowerCase(), parameters: {} });
            take(TOKEN68);
        }
    }
}

/**
 * Joins token scopes (`repository:app:pull`) of the same resource: sorted, each resource once, its actions together.
 * https://distribution.github.io/distribution/spec/auth/scope/
 */
export function mergeScopes(scopes: string[]): string[] {
    const byResource = new Map<string, Set<string>>();
    for (const scope of scopes.flatMap((text) => text.split(" ")).filter(Boolean)) {
        const cut = scope.lastIndexOf(":");
        const resource = scope.slice(0, cut);
        const actions = byResource.get(resource) ?? new Set<string>();
        for (const action of scope.slice(cut + 1).split(",")) actions.add(action);
        byResource.set(resource, actions);
    }
    return [...byResource].map(([resource, actions]) => `${resource}:${[...actions].sort().join(",")}`).sort();
}
