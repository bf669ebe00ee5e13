/** Tags, by the grammar of distribution/reference. */

const LABEL = "[a-zA-Z0-9](?:[a-zA-Z0-9-]*[a-zA-Z0-9])?";
const HOST = `(?:${LABEL}(?:\\.${LABEL})*|\\[[a-fA-F0-9:]+\\])(?::[0-9]+)?`;
const PART = "[a-z0-9]+(?:(?:\\.|_|__|-+)[a-z0-9]+)*";
const DIGEST = "[A-Za-z][A-Za-z0-9]*(?:[-_+.][A-Za-z][A-Za-z0-9]*)*:[0-9a-fA-F]{32,}";
const REFERENCE = new RegExp(`^(?:(${HOST})/)?(${PART}(?:/${PART})*)(?::(\\w[\\w.-]{0,127}))?(?:@${DIGEST})?$`);

/** What is wrong with a tag, in the parser's words. */
export function tagProblem(text: string): string | undefined {
    const path = REFERENCE.exec(text)?.[2];
    if (path && path.length > 255) return "repository name must not be more than 255 characters";
    if (path) return undefined;
    if (REFERENCE.test(text.toLowerCase())) return "invalid reference format: repository name must be lowercase";
    return "invalid reference format";
}

/** `host/repository:tag` of a tag that names its registry; undefined for the others, which are Docker Hub's. */
export function fullTag(text: string): string | undefined {
    const [, host = "", repository = "", tag = "latest"] = REFERENCE.exec(text) ?? [];
    const isHost = /[.:]/.test(host) || host === "localhost" || host !== host.toLowerCase();
    return isHost ? `${host}/${repository}:${tag}` : undefined;
}
